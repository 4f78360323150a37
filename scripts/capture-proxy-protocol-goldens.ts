/**
 * Captures PROXY protocol headers that a real HAProxy sends, and rewrites the fixture that the
 * parser is tested against. Needs haproxy; loopback only.
 *
 *     bun scripts/capture-proxy-protocol-goldens.ts
 *
 * Ports differ from capture to capture; the fixture says between whom each connection was.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const FIXTURE = join(import.meta.dir, "../src/wire/fixtures/haproxy.ts")
const WAIT_MS = 10_000
/** Sent through HAProxy, to see where the header ends. */
const FIRST_BYTES = "GET / HTTP/1.1\r\n"

interface Case {
  readonly name: string
  readonly what: string
  /** Of the bind line, before and after the port. */
  readonly bind: readonly [address: string, options: string]
  readonly connectTo: string
  readonly connectFrom: string
  /** Of the server line. */
  readonly server: string
}

const V4 = { bind: ["127.0.0.1", ""], connectTo: "127.0.0.1", connectFrom: "127.0.0.2" } as const
const V6 = { bind: ["::1", ""], connectTo: "::1", connectFrom: "::1" } as const
const MIXED = { bind: ["::", "v4v6"], connectTo: "127.0.0.1", connectFrom: "127.0.0.3" } as const

const CASES: readonly Case[] = [
  { name: "v1Ipv4", what: "send-proxy", ...V4, server: "send-proxy" },
  { name: "v1Ipv6", what: "send-proxy", ...V6, server: "send-proxy" },
  { name: "v1Mixed", what: "send-proxy, IPv4 on a socket of both", ...MIXED, server: "send-proxy" },
  { name: "v2Ipv4", what: "send-proxy-v2", ...V4, server: "send-proxy-v2" },
  { name: "v2Ipv6", what: "send-proxy-v2", ...V6, server: "send-proxy-v2" },
  {
    name: "v2Mixed",
    what: "send-proxy-v2, IPv4 on a socket of both",
    ...MIXED,
    server: "send-proxy-v2",
  },
  {
    name: "v2Fields",
    what: "send-proxy-v2 proxy-v2-options unique-id,crc32c",
    ...V4,
    server: "send-proxy-v2 proxy-v2-options unique-id,crc32c",
  },
]

/** Health checks speak for HAProxy itself. */
const CHECKS: readonly Case[] = [
  {
    name: "v1Check",
    what: "check send-proxy check-send-proxy",
    ...V4,
    server: "check inter 200ms send-proxy check-send-proxy",
  },
  {
    name: "v2Check",
    what: "check send-proxy-v2 check-send-proxy",
    ...V4,
    server: "check inter 200ms send-proxy-v2 check-send-proxy",
  },
]

interface Captured {
  readonly header: Buffer
  /** Empty for a check. */
  readonly source: string
  readonly destination: string
}

async function capture(each: Case, isCheck: boolean): Promise<Captured> {
  const directory = mkdtempSync(join(tmpdir(), "causeway-proxy-"))
  const heard = Promise.withResolvers<Buffer>()
  const timer = setTimeout(() => heard.reject(new Error(`Nothing heard: ${each.name}`)), WAIT_MS)
  const server = captureServer((bytes) => {
    const end = isCheck ? bytes.length : bytes.indexOf(FIRST_BYTES)
    if (end > 0) heard.resolve(bytes.subarray(0, end))
  })
  const port = freePort()
  const path = join(directory, "haproxy.cfg")
  writeFileSync(path, configuration(each, port, server.port))
  const proxy = Bun.spawn(["haproxy", "-db", "-f", path], { stdout: "ignore", stderr: "ignore" })
  try {
    const source = isCheck ? "" : await speak(each, port)
    const header = await heard.promise
    const destination = isCheck ? "" : endpoint(each.connectTo, port)
    return { header, source, destination }
  } finally {
    clearTimeout(timer)
    proxy.kill()
    await proxy.exited
    server.stop(true)
    rmSync(directory, { recursive: true, force: true })
  }
}

function captureServer(heard: (bytes: Buffer) => void) {
  return Bun.listen<{ received: Buffer }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { received: Buffer.alloc(0) }
      },
      data(socket, data) {
        socket.data.received = Buffer.concat([socket.data.received, data])
        heard(socket.data.received)
      },
    },
  })
}

function configuration({ bind, server }: Case, port: number, serverPort: number): string {
  return `
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  unique-id-format causeway-%[src]
frontend f
  bind ${bind[0]}:${port} ${bind[1]}
  default_backend b
backend b
  server s 127.0.0.1:${serverPort} ${server}
`
}

/** Connects as soon as HAProxy listens and says something; returns from where. */
async function speak(each: Case, port: number): Promise<string> {
  const giveUpAt = performance.now() + WAIT_MS
  for (;;) {
    const localPort = await tryToSpeak(each, port)
    if (localPort !== undefined) return endpoint(each.connectFrom, localPort)
    if (performance.now() > giveUpAt) throw new Error(`No connection: ${each.name}`)
    await Bun.sleep(50)
  }
}

function tryToSpeak(each: Case, port: number): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<number | undefined>()
  const socket = connect({ host: each.connectTo, port, localAddress: each.connectFrom })
  socket.once("error", () => resolve(undefined))
  socket.once("connect", () => {
    socket.write(FIRST_BYTES)
    resolve(socket.localPort)
  })
  return promise
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "::", port: 0, socket: { data() {} } })
  const { port } = probe
  probe.stop(true)
  return port
}

function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
}

const goldens: string[] = []
for (const each of [...CASES, ...CHECKS]) {
  const { header, source, destination } = await capture(each, CHECKS.includes(each))
  goldens.push(
    `  /** ${each.what} */\n  ${each.name}: { source: "${source}", ` +
      `destination: "${destination}", hex: "${header.toString("hex")}" },\n`,
  )
}
const version = (await Bun.$`haproxy -v`.text()).split("\n")[0]?.replace(/ - .*/, "")
await Bun.write(
  FIXTURE,
  `/**
 * PROXY protocol headers of ${version},
 * and between whom the connections were ("" for its health checks). Written by
 * scripts/capture-proxy-protocol-goldens.ts; do not edit.
 */
export const HAPROXY = {
${goldens.join("")}} as const
`,
)
await Bun.$`${join(import.meta.dir, "../node_modules/.bin/biome")} check --write ${FIXTURE}`.quiet()
