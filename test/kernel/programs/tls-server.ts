/**
 * A TLS server of src/tls alone: a Worker that blocks in the reactor, as a data thread does,
 * answers each request with what it knows of the connection, and a main thread that reads the files
 * and brings new ones in. `test/kernel/tls.test.ts` compiles it, for what works from source may not
 * work in an executable.
 *
 *     tls-server '{"tls": …TlsConfig, "handshakeMs": 1000, "watchMs": 50}'
 *
 * Prints "port N", and a line for each client that did not come through its handshake.
 */
import type { TlsConfig } from "../../../src/config/http-config.ts"
import { NativeBytes } from "../../../src/linux/bytes.ts"
import { EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../../../src/linux/epoll.ts"
import { EAGAIN } from "../../../src/linux/errno.ts"
import { type Handler, Reactor } from "../../../src/linux/reactor.ts"
import { accept, boundPort, listenTcp } from "../../../src/linux/tcp.ts"
import type { Address } from "../../../src/net/address.ts"
import { loadServerTls } from "../../../src/tls/shell/certificate-files.ts"
import { FileWatch } from "../../../src/tls/shell/file-watch.ts"
import { TlsHandshake } from "../../../src/tls/shell/handshake.ts"
import { ServerTls } from "../../../src/tls/shell/server-tls.ts"
import type { TlsTransport } from "../../../src/tls/shell/transport.ts"
import type { ServerTlsSpec } from "../../../src/tls/tls-spec.ts"

interface Options {
  readonly tls: TlsConfig
  readonly handshakeMs: number
  readonly watchMs: number
}

declare const self: Worker

interface ThreadStart {
  readonly spec: ServerTlsSpec
  readonly handshakeMs: number
  /** The next settings are put here as JSON, their length first. */
  readonly next: SharedArrayBuffer
}

const NEXT_BYTES_MAX = 1024 * 1024

function control({ tls, handshakeMs, watchMs }: Options): void {
  const ticketKeys = crypto.getRandomValues(new Uint8Array(80))
  const next = new SharedArrayBuffer(NEXT_BYTES_MAX)
  const load = () => loadServerTls(tls, { listener: "test", ticketKeys })
  const first = load()
  if (!first.ok) {
    for (const { file, reason } of first.problems) process.stdout.write(`${file} ${reason}\n`)
    process.exit(1)
  }
  const worker = new Worker(import.meta.url)
  worker.onmessage = ({ data }) => process.stdout.write(`${data}\n`)
  worker.postMessage({ spec: first.spec, handshakeMs, next } satisfies ThreadStart)
  new FileWatch(first.files, () => {
    const again = load()
    if (again.ok) publish(next, again.spec)
    process.stdout.write(again.ok ? "renewed\n" : `kept: ${again.problems[0]?.reason}\n`)
  }).start(watchMs)
  setInterval(() => {}, 1_000_000) // FileWatch alone does not keep a process alive
}

function publish(next: SharedArrayBuffer, spec: ServerTlsSpec): void {
  const bytes = Buffer.from(
    JSON.stringify(spec, (_key, value) =>
      value instanceof Uint8Array ? { bytes: [...value] } : value,
    ),
  )
  new Uint8Array(next, 4).set(bytes)
  Atomics.store(new Int32Array(next, 0, 1), 0, bytes.length)
}

function take(next: SharedArrayBuffer): ServerTlsSpec | undefined {
  const length = Atomics.exchange(new Int32Array(next, 0, 1), 0, 0)
  if (length === 0) return undefined
  const text = Buffer.from(new Uint8Array(next, 4, length).slice()).toString()
  return JSON.parse(text, (_key, value) => (value?.bytes ? Uint8Array.from(value.bytes) : value))
}

class Server implements Handler {
  readonly #reactor = new Reactor()
  readonly #listener = listenTcp({ address: "127.0.0.1" as Address, port: 0 }, { reusePort: true })
  readonly #start: ThreadStart
  #tls: ServerTls

  constructor(start: ThreadStart) {
    this.#start = start
    this.#tls = new ServerTls(start.spec)
    this.#reactor.add(this.#listener.number, EPOLLIN | EPOLLET, this)
  }

  run(): void {
    say(`port ${boundPort(this.#listener)}`)
    for (;;) {
      this.#reactor.pass(20)
      const spec = take(this.#start.next)
      if (spec === undefined) continue
      this.#tls.close()
      this.#tls = new ServerTls(spec)
    }
  }

  handle(): void {
    for (;;) {
      const fd = accept(this.#listener.number)
      if (fd < 0) return
      new TlsHandshake(this.#reactor, {
        fd,
        tls: this.#tls,
        timeoutMs: this.#start.handshakeMs,
        user: {
          secured: (transport) => new Connection(this.#reactor, transport).handle(),
          handshakeFailed: (_fd, failure, detail) => say(`failed ${failure}: ${detail}`),
          fault: (error) => say(`fault ${error}`),
        },
      })
    }
  }

  fail(error: unknown): void {
    throw error
  }
}

const buffer = new NativeBytes(256 * 1024)

/** Answers each read that ends with a head; "/big/N" with N bytes. */
class Connection implements Handler {
  readonly #reactor: Reactor
  readonly #transport: TlsTransport
  #rest: NativeBytes | undefined = undefined
  #requests = 0
  #closesAfterwards = false
  #isClosed = false

  constructor(reactor: Reactor, transport: TlsTransport) {
    this.#reactor = reactor
    this.#transport = transport
    reactor.add(transport.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this)
  }

  handle(): void {
    while (!this.#isClosed && this.#flush()) {
      const length = buffer.bytes.length
      const count = this.#transport.read(buffer, 0, length)
      if (count === -EAGAIN) return
      if (count <= 0) return this.#close(count === 0 ? "finish" : "reset")
      const text = Buffer.from(buffer.bytes.subarray(0, count)).toString("latin1")
      if (text.endsWith("\r\n\r\n")) this.#answer(text)
      if (this.#rest === undefined && count < length && this.#transport.isDrainedByShortRead) return
    }
  }

  fail(error: unknown): void {
    say(`fault ${error}`)
    this.#close("reset")
  }

  #answer(request: string): void {
    const { tlsVersion, cipher, alpn, peerSubject, isResumed } = this.#transport
    const requests = ++this.#requests
    this.#closesAfterwards = request.includes("Connection: close")
    const facts = { tlsVersion, cipher, alpn, peerSubject, isResumed, requests }
    const big = Number(/^GET \/big\/(\d+)/.exec(request)?.[1] ?? 0)
    const body = big > 0 ? "0123456789".repeat(big / 10) : `${JSON.stringify(facts)}\n`
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`
    this.#rest = NativeBytes.of(Buffer.from(head + body))
  }

  /** False: the rest has to wait, or nobody wants it. */
  #flush(): boolean {
    const rest = this.#rest
    if (rest === undefined) return true
    const count = this.#transport.write(rest, 0, rest.bytes.length)
    if (count === rest.bytes.length) {
      this.#rest = undefined
      if (this.#closesAfterwards) this.#close("finish")
      return !this.#isClosed
    }
    if (count > 0) this.#rest = NativeBytes.of(rest.bytes.subarray(count))
    if (count < 0 && count !== -EAGAIN) this.#close("reset")
    return false
  }

  #close(how: "finish" | "reset"): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#reactor.forget(this.#transport.fd)
    this.#transport.close(how)
  }
}

function say(text: string): void {
  self.postMessage(text)
}

if (Bun.isMainThread) control(JSON.parse(process.argv[2] ?? "{}"))
else self.onmessage = ({ data }: MessageEvent<ThreadStart>) => new Server(data).run()
