import { expect, test } from "bun:test"
import { isStrongHash, isVerifiableHash, passwordHashKind } from "./password-hash.ts"

test.each([
  [`$2b$10$${"x".repeat(53)}`, "bcrypt"],
  [`$2y$05$${"x".repeat(53)}`, "bcrypt"],
  ["$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$aGFzaA", "argon2"],
  ["$apr1$5PDI8eeT$F3v57owYfy5UedBnDF.gM0", "md5-crypt"],
  ["$1$x$fwjfZtMwarkdetsjiQreU1", "md5-crypt"],
  ["{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "sha1"],
  ["{SSHA}8bX4JQDfZqtTfvnQ4ssDmWb17/FTQUxU", "sha1"],
  ["", undefined],
  ["secret", undefined],
  ["rqXexS6ZhobKA", undefined],
  ["$apr1$toolongasalt$F3v57owYfy5UedBnDF.gM0", undefined],
  ["$apr1$x$short", undefined],
  ["{SHA}short=", undefined],
  ["{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ", undefined],
  ["$6$salt$hash", undefined],
] as const)("passwordHashKind() of %s is %s", (hash, kind) => {
  expect(passwordHashKind(hash)).toBe(kind)
  expect(isVerifiableHash(hash)).toBe(kind !== undefined)
  expect(isStrongHash(hash)).toBe(kind === "bcrypt" || kind === "argon2")
})
