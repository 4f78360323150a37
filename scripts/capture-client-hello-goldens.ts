/**
 * Captures the first bytes that real TLS clients send, and rewrites the fixture that the
 * ClientHello parser is tested against. Needs openssl, curl and chromium; loopback only.
 *
 *     bun scripts/capture-client-hello-goldens.ts
 *
 * Random, session id and key shares differ from capture to capture, and chromium shuffles its
 * extensions and picks other GREASE values.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const FIXTURE = join(import.meta.dir, "../src/wire/fixtures/client-hellos.ts")
const WAIT_MS = 20_000
const BYTES_PER_LINE = 48

interface Case {
  readonly name: string
  /** Without the program's name; PORT and DIRECTORY stand for what they say. */
  readonly command: string
}

const CASES: readonly Case[] = [
  {
    name: "opensslTls13",
    command:
      "openssl s_client -connect 127.0.0.1:PORT -servername www.example.com -alpn h2,http/1.1",
  },
  {
    name: "opensslTls12",
    command: "openssl s_client -connect 127.0.0.1:PORT -tls1_2 -servername www.example.com",
  },
  { name: "opensslNoName", command: "openssl s_client -connect 127.0.0.1:PORT -noservername" },
  {
    name: "opensslFragmented",
    command:
      "openssl s_client -connect 127.0.0.1:PORT -servername www.example.com -max_send_frag 512" +
      ` -alpn ${Array.from({ length: 40 }, (_, index) => `made-up-protocol-${index}`).join()}`,
  },
  {
    name: "curl",
    command: "curl -s -k --resolve shop.example.com:PORT:127.0.0.1 https://shop.example.com:PORT/",
  },
  {
    name: "chromium",
    command:
      "chromium --headless --no-sandbox --disable-gpu --user-data-dir=DIRECTORY --dump-dom" +
      ' --host-resolver-rules="MAP app.example.com 127.0.0.1" https://app.example.com:PORT/',
  },
]

async function capture({ command }: Case): Promise<Buffer> {
  const directory = mkdtempSync(join(tmpdir(), "causeway-hello-"))
  const heard = Promise.withResolvers<Buffer>()
  const received: Buffer[] = []
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(_socket, data) {
        received.push(Buffer.from(data))
        const bytes = Buffer.concat(received)
        if (isWhole(bytes)) heard.resolve(bytes)
      },
    },
  })
  const line = command.replaceAll("PORT", `${server.port}`).replaceAll("DIRECTORY", directory)
  const client = Bun.spawn(["sh", "-c", `exec ${line}`], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  })
  const timer = setTimeout(() => heard.reject(new Error(`Nothing heard of: ${line}`)), WAIT_MS)
  try {
    return await heard.promise
  } finally {
    clearTimeout(timer)
    client.kill()
    await client.exited
    server.stop(true)
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Whether the records so far hold the whole message; written apart from the parser under test. */
function isWhole(bytes: Buffer): boolean {
  let joined = Buffer.alloc(0)
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    joined = Buffer.concat([joined, bytes.subarray(at + 5, at + 5 + bytes.readUInt16BE(at + 3))])
  }
  return joined.length >= 4 && joined.length >= 4 + joined.readUIntBE(1, 3)
}

function literal(bytes: Buffer): string {
  const lines = bytes.toString("hex").match(new RegExp(`.{1,${BYTES_PER_LINE * 2}}`, "g")) ?? []
  return lines.map((line) => `\n    "${line}"`).join(" +")
}

async function versions(): Promise<string> {
  const commands = ["openssl version", "curl --version", "chromium --version"]
  const outputs = await Promise.all(commands.map((each) => Bun.$`sh -c ${each}`.text()))
  return outputs.map((text) => ` * ${(text.split("\n")[0] ?? "").split(" (")[0]}`).join("\n")
}

const goldens: string[] = []
for (const each of CASES) {
  const shown = each.command.replace(/(made-up-protocol-0,).*/, "$1…")
  goldens.push(`  /** ${shown} */\n  ${each.name}:${literal(await capture(each))},\n`)
}
await Bun.write(
  FIXTURE,
  `/**
 * First bytes of TLS connections, from real clients. Written by
 * scripts/capture-client-hello-goldens.ts, never by hand, with
 *
${await versions()}
 */
export const CLIENT_HELLOS = {
${goldens.join("")}} as const
`,
)
await Bun.$`${join(import.meta.dir, "../node_modules/.bin/biome")} check --write ${FIXTURE}`.quiet()
