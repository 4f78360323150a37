/**
 * A probe's connection: open, write, read, close, over TCP or TLS, with the probe's abort built in.
 *
 * `close` and an abort both release the descriptor at once; the kernel then sends FIN, not RST, as
 * long as everything received was read. Reading pauses the socket between chunks, so a server that
 * talks without end fills its own buffers and not ours.
 */
import { connect as connectTcp, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { EHOSTUNREACH, SystemError } from "../../linux/errno.ts"
import { encodeSockaddr } from "../../linux/sockaddr.ts"
import { closeFd, startConnect } from "../../linux/tcp.ts"
import { type Endpoint, formatEndpoint } from "../../net/address.ts"
import type { ProbeRun } from "./probe.ts"

export interface ConnectionTls {
  /** Name for SNI and to verify; empty: none is sent, and the address is verified. */
  readonly serverName: string
  readonly verify: boolean
  /** PEM texts of trusted authorities. */
  readonly ca: readonly string[]
}

export interface ConnectionOptions {
  readonly tls?: ConnectionTls | undefined
  /** Sent before anything else, in clear text also where TLS follows. */
  readonly preface?: Uint8Array | undefined
}

export class Connection {
  /** Written before the connection is given up by an abort. */
  lastWords: Uint8Array | undefined
  readonly #socket: Socket
  /** That carries it, where TLS was put on a connection that was open already. */
  #under: Socket | undefined
  readonly #run: ProbeRun
  readonly #chunks: Uint8Array[] = []
  #isEnded = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  /** Rejects with the system's error, a TLS error, or the abort's reason. */
  static async open(
    endpoint: Endpoint,
    run: ProbeRun,
    { tls, preface }: ConnectionOptions = {},
  ): Promise<Connection> {
    run.signal.throwIfAborted()
    run.phase = "connecting"
    const startedAt = performance.now()
    try {
      if (preface !== undefined)
        return await Connection.#introduced(endpoint, run, { tls, preface })
      const connection = new Connection(openSocket(endpoint, tls), run)
      await connection.#opened(tls === undefined ? "connect" : "secureConnect")
      return connection
    } catch (error) {
      throw explainRefusal(error, endpoint, performance.now() - startedAt)
    }
  }

  static async #introduced(
    endpoint: Endpoint,
    run: ProbeRun,
    { tls, preface }: { readonly tls: ConnectionTls | undefined; readonly preface: Uint8Array },
  ): Promise<Connection> {
    const socket = openSocket(endpoint, undefined)
    const connection = new Connection(socket, run)
    await connection.#opened("connect")
    connection.write(preface)
    if (tls === undefined) return connection
    connection.#leave()
    const secured = new Connection(connectTls({ socket, ...tlsOptions(tls) }), run)
    secured.#under = socket
    run.phase = "in the TLS handshake"
    await secured.#opened("secureConnect")
    return secured
  }

  private constructor(socket: Socket, run: ProbeRun) {
    this.#socket = socket
    this.#run = run
    socket.on("data", (chunk: Uint8Array) => {
      socket.pause()
      this.#chunks.push(chunk)
      this.#notify()
    })
    socket.on("end", () => this.#end(undefined))
    socket.on("close", () => this.#end(undefined))
    socket.on("error", (error) => this.#end(error))
    run.signal.addEventListener("abort", this.#onAbort, { once: true })
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** The next bytes, or undefined when the server has closed. Rejects as `open` does. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) return chunk
      if (this.#error !== undefined) throw this.#error
      if (this.#isEnded) return undefined
      this.#socket.resume()
      await this.#event()
    }
  }

  /** The socket goes on with another. */
  #leave(): void {
    this.#run.signal.removeEventListener("abort", this.#onAbort)
    this.#socket.removeAllListeners()
    this.#socket.on("error", () => {}) // the other hears of it too
  }

  close(): void {
    this.#run.signal.removeEventListener("abort", this.#onAbort)
    this.#destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async #opened(event: "connect" | "secureConnect"): Promise<void> {
    let isOpen = false
    this.#socket.once("connect", () => {
      if (event === "secureConnect") this.#run.phase = "in the TLS handshake"
    })
    this.#socket.once(event, () => {
      isOpen = true
      this.#notify()
    })
    while (!isOpen && !this.#isEnded) await this.#event()
    if (isOpen) return
    this.close()
    throw this.#error ?? new Error("connection closed")
  }

  #event(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #notify(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  #end(error: Error | undefined): void {
    this.#isEnded = true
    this.#error ??= error
    this.#notify()
  }

  readonly #onAbort = (): void => {
    if (this.lastWords !== undefined) this.#socket.write(this.lastWords)
    this.#end(new Error("given up"))
    this.#destroy()
  }

  #destroy(): void {
    this.#socket.destroy()
    this.#under?.destroy()
  }
}

/**
 * The runtime reports nearly every connect that fails as ECONNREFUSED, the want of a descriptor or
 * of a free port included, which are no fault of the server. So the kernel is asked once more; what
 * it refuses at once is the true reason. An answer that took long was no RST: ARP had none.
 */
function explainRefusal(error: unknown, endpoint: Endpoint, elapsedMs: number): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  if (code !== "ECONNREFUSED") return error
  const operation = `connect to ${formatEndpoint(endpoint)}`
  if (elapsedMs > REFUSAL_MS_MAX) return new SystemError(operation, EHOSTUNREACH)
  const fd = startConnect(encodeSockaddr(endpoint), undefined)
  if (fd < 0) return new SystemError(operation, -fd)
  closeFd(fd)
  return error
}

function openSocket({ address, port }: Endpoint, tls: ConnectionTls | undefined): Socket {
  if (tls === undefined) return connectTcp({ host: address, port })
  return connectTls({ host: address, port, ...tlsOptions(tls) })
}

function tlsOptions({ serverName, verify, ca }: ConnectionTls) {
  return { servername: serverName, rejectUnauthorized: verify, ca: [...ca] }
}

/** ARP and NDP give up after 3 s, a reset takes one round trip. */
const REFUSAL_MS_MAX = 1000
