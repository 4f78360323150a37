/**
 * What every probe promises, asked of each type in the table: it passes on a healthy target, fails
 * with a plain reason on a sick one, ends at once when aborted, and leaves nothing open. A type
 * states for each behaviour of a server what it makes of it; the compiler asks for the entry.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { createServer as createTlsServer } from "node:tls"
import type { CheckConfig, CheckTimingConfig, HttpCheckConfig } from "../../config/config.ts"
import { libc } from "../../linux/libc.ts"
import { boundPort, listenTcp } from "../../linux/tcp.ts"
import type { Address, Endpoint } from "../../net/address.ts"
import { SERVER_CERTIFICATE, SERVER_KEY } from "./fixtures/certificates.ts"
import { ANONYMOUS } from "./fixtures/mysql.ts"
import { type ProbeRun, type ProbeTarget, runProbe } from "./probe.ts"
import { type CheckType, probeOf } from "./probe-table.ts"

const LOOPBACK = "127.0.0.1" as Address
const TIMING: CheckTimingConfig = {
  intervalMs: 1000,
  timeoutMs: 1000,
  rise: 1,
  fall: 1,
  port: undefined,
}
const HTTP: HttpCheckConfig = {
  ...TIMING,
  type: "http",
  method: "GET",
  path: "/",
  host: "",
  expectStatus: [{ from: 200, to: 399 }],
  expectBody: "",
  tls: false,
  tlsVerify: false,
  caFile: "",
}

type Behaviour = "healthy" | "refused" | "silent" | "garbage" | "closed"

interface Subject {
  readonly check: CheckConfig
  /** What stands for the behaviour: a server's endpoint, or a command. */
  readonly targets: Record<Behaviour, () => Promise<Endpoint | readonly string[]>>
  readonly reasons: Record<Exclude<Behaviour, "silent">, string>
  /** Behaviours that are no failure for this type. */
  readonly tolerates?: readonly Behaviour[]
  /** What it was doing when nothing came. */
  readonly silentPhase: string
  readonly abortsAtOnce: number
}

const GARBAGE = "\x02garbage\0\xff\r\n\r\n"

const SUBJECTS: Record<CheckType | "https", Subject> = {
  tcp: {
    check: { ...TIMING, type: "tcp" },
    targets: servers({ healthy: () => {}, silent: fullListener }),
    reasons: {
      healthy: "connected",
      refused: "connection refused, connecting",
      garbage: "connected",
      closed: "connected",
    },
    tolerates: ["garbage", "closed"],
    silentPhase: "connecting",
    abortsAtOnce: 1000,
  },
  http: {
    check: HTTP,
    targets: servers({ healthy: answerHttp }),
    reasons: {
      healthy: "status 200",
      refused: "connection refused, connecting",
      garbage: "not an HTTP response",
      closed: "closed without a response",
    },
    silentPhase: "waiting for the response",
    abortsAtOnce: 1000,
  },
  https: {
    check: { ...HTTP, tls: true },
    targets: servers({ healthy: tlsServer }),
    reasons: {
      healthy: "status 200",
      refused: "connection refused, connecting",
      garbage: "the server does not speak TLS, in the TLS handshake",
      closed: "connection reset, in the TLS handshake",
    },
    silentPhase: "in the TLS handshake",
    abortsAtOnce: 500,
  },
  mysql: {
    check: { ...TIMING, type: "mysql", user: "", passwordFile: "", database: "" },
    targets: servers({ healthy: denyMysql }),
    reasons: {
      healthy: "alive, 10.11.19-MariaDB-0+deb12u1-log",
      refused: "connection refused, connecting",
      garbage: "not MySQL",
      closed: "connection closed, waiting for the greeting",
    },
    silentPhase: "waiting for the greeting",
    abortsAtOnce: 1000,
  },
  command: {
    check: { ...TIMING, type: "command", command: [] },
    targets: {
      healthy: async () => ["/bin/sh", "-c", "echo fine"],
      refused: async () => ["/nonexistent/program"],
      silent: async () => ["/bin/sleep", "1000"],
      garbage: async () => ["/bin/sh", "-c", "printf '\\002gar\\377bage\\000\\n'; exit 3"],
      closed: async () => ["/bin/sh", "-c", "kill -KILL $$"],
    },
    reasons: {
      healthy: "fine",
      refused:
        "ENOENT: no such file or directory, posix_spawn '/nonexistent/program', " +
        "starting the command",
      garbage: "exit code 3: gar\ufffdbage",
      closed: "ended by SIGKILL",
    },
    silentPhase: "running the command",
    abortsAtOnce: 50,
  },
}

const closers: (() => void)[] = []
afterAll(() => {
  for (const close of closers) close()
})

for (const [name, subject] of Object.entries(SUBJECTS)) {
  describe(`probe ${name}`, () => {
    // Whatever the runtime opens once and keeps.
    beforeAll(() => runOnce(subject, "healthy"))

    for (const [behaviour, reason] of Object.entries(subject.reasons)) {
      const ok = behaviour === "healthy" || subject.tolerates?.includes(behaviour as Behaviour)
      test(`runProbe() ${ok ? "passes" : "fails"} when the target is ${behaviour}`, async () => {
        const result = await runOnce(subject, behaviour as Behaviour)
        expect(result).toMatchObject({ ok: ok === true, reason, inconclusive: false })
        expect(result.durationMs).toBeGreaterThan(0)
      })
    }

    test("runProbe() ends at once when it is aborted while nothing comes", async () => {
      const target = await targetOf(subject, "silent")
      const { run, abort } = abortable()
      const result = runProbe(probeOf(subject.check.type), target, run)
      await until(() => run.phase === subject.silentPhase)
      abort()
      expect(await result).toMatchObject({ ok: false })
      expect(run.phase).toBe(subject.silentPhase)
    })

    test("runProbe() fails without opening anything when it was aborted before", async () => {
      const target = await targetOf(subject, "healthy")
      const before = openDescriptors()
      const { run, abort } = abortable()
      abort()
      const result = await runProbe(probeOf(subject.check.type), target, run)
      expect(result).toMatchObject({ ok: false })
      expect(openDescriptors()).toBeLessThanOrEqual(before)
    })

    test(`runProbe() leaves no descriptor when ${subject.abortsAtOnce} are aborted`, async () => {
      const target = await targetOf(subject, "silent")
      const before = openDescriptors()
      const runs = Array.from({ length: subject.abortsAtOnce }, abortable)
      const results = runs.map(({ run }) => runProbe(probeOf(subject.check.type), target, run))
      await until(() => runs.every(({ run }) => run.phase === subject.silentPhase))
      for (const { abort } of runs) abort()
      expect((await Promise.all(results)).filter(({ ok }) => ok)).toEqual([])
      await until(() => openDescriptors() <= before)
    })
  })
}

async function runOnce(subject: Subject, behaviour: Behaviour) {
  return runProbe(probeOf(subject.check.type), await targetOf(subject, behaviour), abortable().run)
}

async function targetOf({ check, targets }: Subject, behaviour: Behaviour): Promise<ProbeTarget> {
  const target = await targets[behaviour]()
  const base = { name: "subject", env: {} }
  if ("port" in target) return { ...base, check, address: target }
  if (check.type !== "command") throw new Error("Only a command check takes a command")
  return { ...base, check: { ...check, command: target }, address: undefined }
}

function abortable(): { run: ProbeRun; abort: () => void } {
  const abortion = new AbortController()
  return { run: { signal: abortion.signal, phase: "" }, abort: () => abortion.abort() }
}

function servers(given: {
  healthy: ((socket: Socket) => void) | typeof tlsServer
  silent?: () => Promise<Endpoint>
}): Subject["targets"] {
  const { healthy } = given
  return {
    healthy: healthy === tlsServer ? tlsServer : () => serve(healthy as (socket: Socket) => void),
    refused: closedPort,
    silent: given.silent ?? (() => serve((socket) => socket.resume())),
    garbage: () => serve((socket) => socket.end(Buffer.from(GARBAGE, "latin1"))),
    closed: () => serve((socket) => socket.destroy()),
  }
}

function serve(onSocket: (socket: Socket) => void): Promise<Endpoint> {
  const server = createServer((socket) => {
    socket.on("error", () => {})
    onSocket(socket)
  })
  return listen(server)
}

function tlsServer(): Promise<Endpoint> {
  return listen(createTlsServer({ key: SERVER_KEY, cert: SERVER_CERTIFICATE }, answerHttp))
}

function answerHttp(socket: Socket): void {
  socket.on("error", () => {})
  socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
}

function denyMysql(socket: Socket): void {
  socket.write(Buffer.from(ANONYMOUS.greeting, "hex"))
  socket.once("data", () => socket.end(Buffer.from(ANONYMOUS.denied, "hex")))
}

function listen(server: Server): Promise<Endpoint> {
  closers.push(() => server.close())
  return new Promise((resolve) => {
    server.listen({ port: 0, host: LOOPBACK }, () => {
      const address = server.address()
      const port = typeof address === "object" ? (address?.port ?? 0) : 0
      resolve({ address: LOOPBACK, port })
    })
  })
}

/** A port that answers with a reset: bound a moment ago, and nobody listens. */
async function closedPort(): Promise<Endpoint> {
  const socket = listenTcp({ address: LOOPBACK, port: 0 }, { reusePort: false })
  const port = boundPort(socket)
  socket.close()
  return { address: LOOPBACK, port }
}

/** A black hole: its queue is full and nobody accepts, so the kernel drops every further SYN. */
async function fullListener(): Promise<Endpoint> {
  const socket = listenTcp({ address: LOOPBACK, port: 0 }, { reusePort: false })
  libc.listen(socket.number, 0)
  const endpoint = { address: LOOPBACK, port: boundPort(socket) }
  const filler = connect({ host: LOOPBACK, port: endpoint.port })
  await new Promise((resolve) => filler.once("connect", resolve))
  closers.push(() => {
    filler.destroy()
    socket.close()
  })
  return endpoint
}

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length
}

async function until(isMet: () => boolean): Promise<void> {
  while (!isMet()) await new Promise((resolve) => setImmediate(resolve))
}
