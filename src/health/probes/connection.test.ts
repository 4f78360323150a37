import { afterEach, describe, expect, test } from "bun:test"
import { createServer, type Server, type Socket } from "node:net"
import type { Address, Endpoint } from "../../net/address.ts"
import { Connection } from "./connection.ts"
import type { ProbeRun } from "./probe.ts"

const LOOPBACK = "127.0.0.1" as Address

let server: Server | undefined
afterEach(() => {
  server?.close()
})

function serve(onSocket: (socket: Socket) => void): Promise<Endpoint> {
  const started = createServer({ allowHalfOpen: true }, onSocket)
  server = started
  return new Promise((resolve) => {
    started.listen({ port: 0, host: LOOPBACK }, () => {
      const address = started.address()
      const port = typeof address === "object" ? (address?.port ?? 0) : 0
      resolve({ address: LOOPBACK, port })
    })
  })
}

/** A server that reports what one client sent, and how it left. */
async function observe(greeting = ""): Promise<{ endpoint: Endpoint; seen: Promise<string> }> {
  const { promise: seen, resolve } = Promise.withResolvers<string>()
  const endpoint = await serve((socket) => {
    let text = ""
    socket.write(greeting)
    socket.on("data", (bytes) => {
      text += bytes.toString()
    })
    socket.on("error", (error) => resolve(`${text} ${(error as NodeJS.ErrnoException).code}`))
    socket.on("end", () => {
      resolve(`${text} FIN`)
      socket.destroy()
    })
  })
  return { endpoint, seen }
}

function abortable(): { run: ProbeRun; abortion: AbortController } {
  const abortion = new AbortController()
  return { run: { signal: abortion.signal, phase: "" }, abortion }
}

describe("Connection", () => {
  test("close() delivers what was written and sends FIN, not RST", async () => {
    const { endpoint, seen } = await observe()
    const connection = await Connection.open(endpoint, abortable().run)
    connection.write(Buffer.from("hello"))
    connection.close()
    expect(await seen).toBe("hello FIN")
  })

  test("close() sends FIN when everything received was read", async () => {
    const { endpoint, seen } = await observe("welcome")
    const connection = await Connection.open(endpoint, abortable().run)
    expect(Buffer.from((await connection.read()) ?? []).toString()).toBe("welcome")
    connection.close()
    expect(await seen).toBe(" FIN")
  })

  test("an abort writes the last words before it leaves", async () => {
    const { endpoint, seen } = await observe()
    const { run, abortion } = abortable()
    const connection = await Connection.open(endpoint, run)
    connection.lastWords = Buffer.from("farewell")
    const reading = connection.read()
    abortion.abort()
    await expect(reading).rejects.toThrow("given up")
    expect(await seen).toBe("farewell FIN")
  })

  test("read() gives undefined when the server has closed", async () => {
    const endpoint = await serve((socket) => socket.end("bye"))
    using connection = await Connection.open(endpoint, abortable().run)
    expect(Buffer.from((await connection.read()) ?? []).toString()).toBe("bye")
    expect(await connection.read()).toBeUndefined()
    expect(await connection.read()).toBeUndefined()
  })

  test("read() rejects when the server resets the connection", async () => {
    const endpoint = await serve((socket) => socket.resetAndDestroy())
    using connection = await Connection.open(endpoint, abortable().run)
    await expect(connection.read()).rejects.toMatchObject({ code: "ECONNRESET" })
  })

  test("read() holds a server back that sends faster than it is asked", async () => {
    let sentBytes = 0
    const endpoint = await serve((socket) => {
      const block = Buffer.alloc(64 * 1024)
      const fill = () => {
        while (sentBytes < 64 * 1024 * 1024) {
          sentBytes += block.length
          if (!socket.write(block)) return
        }
      }
      socket.on("error", () => {})
      socket.on("drain", fill)
      fill()
    })
    using connection = await Connection.open(endpoint, abortable().run)
    await connection.read()
    for (let last = -1; last < sentBytes; ) {
      last = sentBytes
      for (let turn = 0; turn < 100; turn++) await new Promise((done) => setImmediate(done))
    }
    // Nobody has asked since: what was sent fills the kernel's buffers and goes no further.
    expect(sentBytes).toBeLessThan(24 * 1024 * 1024)
  })

  test("open() reports what it is doing", async () => {
    const { run } = abortable()
    const { endpoint } = await observe()
    const opening = Connection.open(endpoint, run)
    expect(run.phase).toBe("connecting")
    const connection = await opening
    connection.close()
  })
})
