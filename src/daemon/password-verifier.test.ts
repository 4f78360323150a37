import { describe, expect, test } from "bun:test"
import type { PasswordVerdict } from "../http/route.ts"
import { verifyHtpasswd } from "./htpasswd-hash.ts"
import { PasswordVerifier } from "./password-verifier.ts"

const LONG = "a much longer password than sixteen bytes"
const UMLAUT = "pä$$:wörd"

/** From `openssl passwd -apr1`, `openssl passwd -1` and `htpasswd -nbs`. */
const VECTORS: readonly (readonly [password: string, hash: string])[] = [
  ["", "$apr1$5PDI8eeT$F3v57owYfy5UedBnDF.gM0"],
  ["a", "$apr1$5PDI8eeT$8NR3IaVCSG8WGdD1m7thc0"],
  ["secret", "$apr1$5PDI8eeT$2rmiIgABDBRXEgLOEhfZ/1"],
  [LONG, "$apr1$5PDI8eeT$/r5Uqz5HYlMk1qLCqVKLS1"],
  [UMLAUT, "$apr1$5PDI8eeT$tPTVU2iAGgnkhbNIQj7e4/"],
  ["", "$1$x$fwjfZtMwarkdetsjiQreU1"],
  ["secret", "$1$x$0AXOYAuOs.uNCmG2qRI8W."],
  [LONG, "$1$x$Csw7VKF4Pd3clFEHHx7b20"],
  ["secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="],
  [UMLAUT, "{SHA}ftJmBIGeDNe9RtS2Oo+WEDhvm/U="],
  // printf 'secretSALT' | openssl sha1 -binary, then "SALT", in base64
  ["secret", "{SSHA}8bX4JQDfZqtTfvnQ4ssDmWb17/FTQUxU"],
]

describe("verifyHtpasswd()", () => {
  test.each(VECTORS)("knows %j by %s, and nothing else", (password, hash) => {
    expect(verifyHtpasswd(password, hash)).toBe(true)
    expect(verifyHtpasswd(`${password}x`, hash)).toBe(false)
  })

  test.each(["", "secret", "$apr1$", "$apr1$5PDI8eeT$", "{SHA}", "{SSHA}", "$6$salt$x"])(
    "takes %j for nobody's hash",
    (hash) => {
      expect([verifyHtpasswd("", hash), verifyHtpasswd("secret", hash)]).toEqual([false, false])
    },
  )
})

function verdict(verifier: PasswordVerifier, password: string, hash: string) {
  return new Promise<PasswordVerdict>((answer) => verifier.verify({ password, hash, answer }))
}

describe("PasswordVerifier", () => {
  test.each([
    ["secret", "$apr1$5PDI8eeT$2rmiIgABDBRXEgLOEhfZ/1", "right"],
    ["Secret", "$apr1$5PDI8eeT$2rmiIgABDBRXEgLOEhfZ/1", "wrong"],
    ["secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "right"],
    ["secret", "nothing that could be read", "wrong"],
    ["secret", "$2y$04$.vYMJ9sTA/a0l6ZUo2Umo.49FchuIt4Lq6YPpm.u/iac08X9bCVxm", "right"],
  ] as const)("says of %s with %s: %s", async (password, hash, expected) => {
    expect(await verdict(new PasswordVerifier(), password, hash)).toBe(expected)
  })

  test("is busy when 256 wait, and not any more when they had their turn", async () => {
    const verifier = new PasswordVerifier()
    const hash = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
    const asked = Array.from({ length: 300 }, () => verdict(verifier, "secret", hash))
    const said = await Promise.all(asked)
    // Two run, 256 wait.
    expect(Map.groupBy(said, (each) => each).get("right")?.length).toBe(258)
    expect(Map.groupBy(said, (each) => each).get("busy")?.length).toBe(42)
    expect(await verdict(verifier, "secret", hash)).toBe("right")
  })
})
