import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { AdminConfig, AdminListen } from "../config/config.ts"
import { Logger } from "../log/logger.ts"
import type { Address } from "../net/address.ts"
import { AdminServer } from "./driver.ts"
import { SampleBackend } from "./fixtures/sample-backend.ts"

const LOOPBACK = "127.0.0.1" as Address
const ANY = "0.0.0.0" as Address

let folder = ""
let backend: SampleBackend
let server: AdminServer

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-admin-"))
  backend = new SampleBackend()
  server = new AdminServer(backend, silentLogger())
})

afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

describe("a Unix socket", () => {
  test("is there with mode 0660, and gone after close()", async () => {
    const path = join(folder, "admin.sock")
    await server.configure(listening(unix(path)))
    expect((statSync(path).mode & 0o7777).toString(8)).toBe("660")
    expect(await ask("/healthz", path)).toBe("ok\n")
    await server.close()
    expect(existsSync(path)).toBe(false)
  })

  test("of a dead process is replaced", async () => {
    const path = join(folder, "admin.sock")
    const script = "Bun.serve({unix:process.env.AT,fetch(){}});process.kill(process.pid,'SIGKILL')"
    await Bun.spawn([process.execPath, "-e", script], { env: { AT: path } }).exited
    expect(existsSync(path)).toBe(true)
    await server.configure(listening(unix(path)))
    expect(await ask("/healthz", path)).toBe("ok\n")
  })

  test("of a living process is left alone", async () => {
    const path = join(folder, "admin.sock")
    await server.configure(listening(unix(path)))
    const second = new AdminServer(backend, silentLogger())
    await expect(second.configure(listening(unix(path)))).rejects.toThrow(
      `Cannot bind unix:${path}: EADDRINUSE (another causeway is running)`,
    )
    expect(await ask("/healthz", path)).toBe("ok\n")
  })

  test("does not replace a file", async () => {
    const path = join(folder, "admin.sock")
    writeFileSync(path, "precious")
    await expect(server.configure(listening(unix(path)))).rejects.toThrow(
      `Cannot bind unix:${path}: EADDRINUSE (there is a file that is no socket)`,
    )
    expect(await Bun.file(path).text()).toBe("precious")
  })

  test("in a missing folder says who makes it", async () => {
    const path = join(folder, "run", "admin.sock")
    await expect(server.configure(listening(unix(path)))).rejects.toThrow(
      `Cannot bind unix:${path}: ENOENT (create ${folder}/run, ` +
        "or let systemd do it with RuntimeDirectory=)",
    )
  })

  test("carries events, and close() ends them", async () => {
    const path = join(folder, "admin.sock")
    await server.configure(listening(unix(path)))
    const response = await fetch("http://edge/v1/events", { unix: path })
    expect(response.headers.get("content-type")).toBe("text/event-stream")
    const reader = response.body?.getReader()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(": causeway\n\n")
    backend.emit({ time: "t", type: "thread", message: "m", fields: {} })
    expect(new TextDecoder().decode((await reader?.read())?.value)).toStartWith("event: thread\n")
    await server.close()
    expect((await reader?.read())?.done).toBe(true)
  })

  test("whose file was removed is made again", async () => {
    const path = join(folder, "admin.sock")
    await server.configure(listening(unix(path)))
    rmSync(path)
    await server.configure(listening(unix(path)))
    expect(await ask("/healthz", path)).toBe("ok\n")
  })
})

describe("a TCP port", () => {
  test("that is taken is named", async () => {
    const port = await freePort()
    await server.configure(listening(tcp(LOOPBACK, port)))
    const second = new AdminServer(backend, silentLogger())
    await expect(second.configure(listening(tcp(LOOPBACK, port)))).rejects.toThrow(
      `Cannot bind 127.0.0.1:${port}: EADDRINUSE`,
    )
  })

  test("of an address that the host does not have is named", async () => {
    await expect(server.configure(listening(tcp("192.0.2.1" as Address, 9180)))).rejects.toThrow(
      "Cannot bind 192.0.2.1:9180: EADDRNOTAVAIL (this host has no such address)",
    )
  })

  test("on loopback is read-only without a token", async () => {
    const port = await freePort()
    await server.configure(listening(tcp(LOOPBACK, port)))
    expect((await fetch(`http://127.0.0.1:${port}/v1/status`)).status).toBe(200)
    expect((await reload(port)).status).toBe(403)
    expect(backend.asked).toEqual([])
  })

  test("obeys the token, and a new one after configure()", async () => {
    const port = await freePort()
    const tokenFile = join(folder, "token")
    writeFileSync(tokenFile, "first\n")
    await server.configure(listening(tcp(ANY, port), { tokenFile }))
    expect((await fetch(`http://127.0.0.1:${port}/v1/status`)).status).toBe(401)
    expect((await reload(port, "first")).status).toBe(200)
    writeFileSync(tokenFile, "second\n")
    await server.configure(listening(tcp(ANY, port), { tokenFile }))
    expect((await reload(port, "first")).status).toBe(401)
    expect((await reload(port, "second")).status).toBe(200)
  })

  test("takes no body over the limit", async () => {
    const port = await freePort()
    await server.configure(listening(tcp(LOOPBACK, port)))
    const request = { method: "POST", body: "x".repeat(20_000) }
    expect((await fetch(`http://127.0.0.1:${port}/v1/reload`, request)).status).toBe(413)
  })
})

describe("AdminServer.configure()", () => {
  test("leaves the connections of an unchanged listener open", async () => {
    const [kept, old, next] = [await freePort(), await freePort(), await freePort()]
    await server.configure(listening(tcp(LOOPBACK, kept), tcp(LOOPBACK, old)))
    const connection = await openConnection(kept)
    expect(await connection.ask()).toStartWith("HTTP/1.1 200 OK")
    await server.configure(listening(tcp(LOOPBACK, kept), tcp(LOOPBACK, next)))
    expect(await connection.ask()).toStartWith("HTTP/1.1 200 OK")
    connection.socket.destroy()
    expect(await get(next)).toBe(200)
    expect(await get(old)).toBe("ECONNREFUSED")
  })

  test("can widen a listener from loopback to all addresses", async () => {
    const port = await freePort()
    await server.configure(listening(tcp(LOOPBACK, port)))
    await server.configure(listening(tcp(ANY, port)))
    expect(await get(port)).toBe(401)
  })

  test("leaves everything as it was when a listener cannot be opened", async () => {
    const [kept, free] = [await freePort(), await freePort()]
    const path = join(folder, "admin.sock")
    await server.configure(listening(tcp(LOOPBACK, kept), unix(path)))
    const wrong = listening(tcp(LOOPBACK, free), unix(join(folder, "no", "admin.sock")))
    await expect(server.configure(wrong)).rejects.toThrow("ENOENT")
    expect(await get(kept)).toBe(200)
    expect(await ask("/healthz", path)).toBe("ok\n")
    expect(await get(free)).toBe("ECONNREFUSED")
  })

  test.each([
    ["missing", () => {}, "Cannot read the token file TOKEN: ENOENT"],
    [
      "empty",
      (path: string) => writeFileSync(path, "\n"),
      "Cannot use the token in TOKEN: it is empty",
    ],
    [
      "of two words",
      (path: string) => writeFileSync(path, "a b"),
      "Cannot use the token in TOKEN: it contains blanks",
    ],
  ])("refuses a token file that is %s", async (_, make, message) => {
    const tokenFile = join(folder, "token")
    make(tokenFile)
    await expect(server.configure(listening(tcp(LOOPBACK, 1), { tokenFile }))).rejects.toThrow(
      message.replace("TOKEN", tokenFile),
    )
  })
})

function listening(
  ...parts: readonly (AdminListen | { readonly tokenFile: string })[]
): AdminConfig {
  const listen = parts.filter((part) => "type" in part)
  const tokenFile = parts.find((part) => "tokenFile" in part)?.tokenFile ?? ""
  return { listen, tokenFile }
}

function unix(path: string): AdminListen {
  return { type: "unix", path }
}

function tcp(address: Address, port: number): AdminListen {
  return { type: "tcp", endpoint: { address, port } }
}

async function ask(path: string, socket: string): Promise<string> {
  return (await fetch(`http://edge${path}`, { unix: socket, keepalive: false })).text()
}

async function get(port: number): Promise<number | string> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/v1/status`, { keepalive: false })).status
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "?"
  }
}

function reload(port: number, token?: string): Promise<Response> {
  const headers = token === undefined ? undefined : { authorization: `Bearer ${token}` }
  return fetch(`http://127.0.0.1:${port}/v1/reload`, {
    method: "POST",
    ...(headers === undefined ? {} : { headers }),
  })
}

interface Connection {
  readonly socket: Socket
  readonly ask: () => Promise<string>
}

/** One connection for several requests, which `fetch` does not promise. */
function openConnection(port: number): Promise<Connection> {
  const socket = connect(port, "127.0.0.1")
  const ask = async () => {
    const answer = Promise.withResolvers<string>()
    socket.once("data", (bytes) => answer.resolve(String(bytes)))
    socket.once("close", () => answer.resolve("closed"))
    socket.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return answer.promise
  }
  const opened = Promise.withResolvers<Connection>()
  socket.once("connect", () => opened.resolve({ socket, ask }))
  socket.once("error", opened.reject)
  return opened.promise
}

/** Freed at once: another program could take it, but does not within the test. */
function freePort(): Promise<number> {
  const found = Promise.withResolvers<number>()
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const address = probe.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    probe.close(() => found.resolve(port))
  })
  return found.promise
}

function silentLogger(): Logger {
  return new Logger({
    settings: { level: "error", format: "text" },
    write: () => {},
    now: () => new Date(0),
    isJournal: false,
  })
}
