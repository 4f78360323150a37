/**
 * Many clients and servers that do what clients and servers do, at random: pipeline, dawdle, hang
 * up, answer early, late, in pieces or not at all, speak unasked. Whatever happens, a client gets
 * the answers to its own requests, in order and whole, or can tell that one is not; nothing is left
 * over. The name of a failed test has the seed to repeat it.
 */
import { expect, test } from "bun:test"
import { NativeBytes } from "../../linux/bytes.ts"
import { EAGAIN } from "../../linux/errno.ts"
import { forward, Harness, type Peer, type Server } from "../fixtures/harness.ts"
import { readRequests } from "../fixtures/strict-server.ts"
import { randomOf } from "../fixtures/transfer.ts"

const SECONDS = 1_000
const CLIENTS = 14
const REQUESTS_MAX = 12

interface Random {
  /** A whole number below `limit`. */
  below(limit: number): number
  chance(share: number): boolean
  pick<Item>(items: readonly Item[]): Item
}

function randomness(seed: number): Random {
  const next = randomOf(seed)
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    below,
    chance: (share) => next() < share,
    pick: (items) => items[below(items.length)] as (typeof items)[number],
  }
}

interface Asked {
  readonly method: string
  readonly path: string
  readonly bytes: string
}

/** Content of the answer to a path, which says how long it is: "/7-3/2000". */
function contentOf(path: string): string {
  const length = Number(path.split("/").at(-1))
  return path.repeat(Math.ceil(length / path.length)).slice(0, length)
}

function requestOf(random: Random, id: string): Asked {
  const method = random.pick(["GET", "GET", "HEAD", "POST", "PUT"])
  const path = `/${id}/${random.pick([0, 1, 50, 3000, 70_000, 300_000])}`
  const version = random.chance(0.1) ? "1.0\r\nConnection: keep-alive" : "1.1"
  const size = method === "POST" || method === "PUT" ? random.pick([0, 10, 5000, 200_000]) : 0
  const body = "b".repeat(size)
  const isChunked = size > 0 && random.chance(0.5) && version === "1.1"
  const framing = isChunked
    ? "Transfer-Encoding: chunked\r\n"
    : size > 0
      ? `Content-Length: ${size}\r\n`
      : ""
  const half = size >> 1
  const content = isChunked
    ? `${half.toString(16)};x\r\n${body.slice(0, half)}\r\n${(size - half).toString(16)}\r\n${body.slice(half)}\r\n0\r\n\r\n`
    : body
  return {
    method,
    path,
    bytes: `${method} ${path} HTTP/${version}\r\nHost: a\r\n${framing}\r\n${content}`,
  }
}

/** Bytes that go out in pieces, as the kernel and chance have it. */
class Outgoing {
  #bytes = new NativeBytes(0)
  #start = 0

  add(text: string): void {
    const rest = Buffer.from(this.#bytes.bytes.subarray(this.#start))
    this.#bytes = NativeBytes.of(Buffer.concat([rest, Buffer.from(text, "latin1")]))
    this.#start = 0
  }

  get isEmpty(): boolean {
    return this.#start === this.#bytes.bytes.length
  }

  /** False: the connection is gone. */
  push(peer: Peer, most: number): boolean {
    const end = Math.min(this.#bytes.bytes.length, this.#start + most)
    const sent = peer.sendSome(this.#bytes, this.#start, end)
    if (sent > 0) this.#start += sent
    return sent >= 0 || sent === -EAGAIN || sent === -107
  }
}

class ChaosClient {
  isOver = false
  /** Met when writing; reading would say "end" then. */
  #isReset = false
  readonly #random: Random
  readonly #peer: Peer
  readonly #asked: Asked[] = []
  readonly #out = new Outgoing()
  readonly #speed: number
  #left: number
  #got = ""
  #count = 0
  readonly #id: string

  constructor(random: Random, peer: Peer, id: string) {
    this.#random = random
    this.#peer = peer
    this.#id = id
    this.#left = 1 + random.below(REQUESTS_MAX)
    this.#speed = random.pick([200_000, 50_000, 1000])
  }

  step(): void {
    if (this.isOver || !this.#random.chance(0.6)) return
    const mayAsk = this.#asked.length === 0 || this.#random.chance(0.1)
    if (this.#left > 0 && mayAsk) {
      const asked = requestOf(this.#random, `${this.#id}-${this.#count++}`)
      this.#left--
      this.#asked.push(asked)
      this.#out.add(asked.bytes)
    }
    const most = 1 + this.#random.below(this.#speed)
    if (!this.#out.isEmpty && !this.#out.push(this.#peer, most)) this.#isReset = true
    this.#read()
    if (this.isOver) return
    if (this.#left === 0 && this.#asked.length === 0) return this.#leave("close")
    if (this.#random.chance(0.003)) this.#leave(this.#random.pick(["close", "reset"] as const))
  }

  #leave(how: "close" | "reset"): void {
    this.#peer[how]()
    this.isOver = true
  }

  #read(): void {
    const some = this.#peer.receiveSome(1 + this.#random.below(this.#speed))
    if (some instanceof Uint8Array) {
      this.#got += Buffer.from(some).toString("latin1")
      while (this.#takeResponse(false)) {}
      return
    }
    if (some === -EAGAIN || some === -115) return
    if (some === "end" && !this.#isReset) {
      this.#takeResponse(true)
      // FIN says: this was all. Then it was.
      expect(this.#got).toBe("")
    }
    this.#leave("close")
  }

  /** Takes one whole response off what was received, and checks that it is the one to expect. */
  #takeResponse(isEnd: boolean): boolean {
    const head = /^HTTP\/1\.1 (\d{3})[^\r\n]*\r\n([\s\S]*?\r\n)?\r\n/.exec(this.#got)
    if (head === null) return false
    const status = Number(head[1])
    if (status < 200) {
      this.#got = this.#got.slice(head[0].length)
      return true
    }
    const asked = this.#asked[0]
    if (asked === undefined) throw new Error(`an answer to nothing: ${this.#got.slice(0, 200)}`)
    const body = bodyOf(asked, head[0], this.#got.slice(head[0].length), isEnd)
    if (body === undefined) return false
    this.#got = this.#got.slice(head[0].length + body.length)
    this.#asked.shift()
    if (status === 200) {
      expect(/^X-Path: (.*)\r$/m.exec(head[0])?.[1]).toBe(asked.path)
      expect(body.content === (asked.method === "HEAD" ? "" : contentOf(asked.path))).toBe(true)
    } else expect([400, 408, 413, 502, 503, 504]).toContain(status)
    return true
  }
}

/** The body that `text` begins with; undefined while it is not whole. */
function bodyOf(
  { method }: Asked,
  head: string,
  text: string,
  isEnd: boolean,
): { readonly content: string; readonly length: number } | undefined {
  if (method === "HEAD") return { content: "", length: 0 }
  if (/^transfer-encoding: chunked\r$/im.test(head)) {
    let content = ""
    for (let at = 0; ; ) {
      const line = /^([0-9a-f]+)\r\n/.exec(text.slice(at, at + 12))
      if (line === null) return undefined
      const size = Number.parseInt(line[1] as string, 16)
      at += line[0].length
      if (text.length < at + size + 2) return undefined
      content += text.slice(at, at + size)
      at += size + 2
      if (size === 0) return { content, length: at }
    }
  }
  const length = /^content-length: (\d+)\r$/im.exec(head)?.[1]
  if (length === undefined) return isEnd ? { content: text, length: text.length } : undefined
  return text.length < Number(length)
    ? undefined
    : { content: text.slice(0, Number(length)), length: Number(length) }
}

class ChaosServerConnection {
  isOver = false
  readonly #random: Random
  readonly #peer: Peer
  readonly #out = new Outgoing()
  readonly #speed: number
  #raw = ""
  #isUntilClose = false
  #closes: "close" | "reset" | "finish" | undefined

  constructor(random: Random, peer: Peer) {
    this.#random = random
    this.#peer = peer
    this.#speed = random.pick([300_000, 40_000, 900])
  }

  step(): void {
    if (this.isOver || !this.#random.chance(0.6)) return
    if (this.#out.isEmpty && this.#closes !== undefined) return this.#end(this.#closes)
    if (!this.#out.isEmpty && !this.#out.push(this.#peer, 1 + this.#random.below(this.#speed))) {
      return this.#end("close")
    }
    const some = this.#peer.receiveSome(1 + this.#random.below(this.#speed))
    if (some instanceof Uint8Array) this.#raw += Buffer.from(some).toString("latin1")
    else if (some !== -EAGAIN) return this.#end("close")
    if (this.#closes === undefined) this.#serve()
    // A FIN within a body that only a FIN ends is a lie that nobody can see through.
    const how = this.#isUntilClose ? "reset" : this.#random.pick(["close", "reset"] as const)
    if (this.#random.chance(0.002)) this.#end(how)
  }

  #serve(): void {
    const early = this.#random.chance(0.03) && /^P[\s\S]*?\r\n\r\n/.exec(this.#raw)
    if (early) return this.#answerEarly(early[0])
    const { requests, rest, problem } = readRequests(this.#raw)
    if (problem !== undefined) throw new Error(`the server cannot tell what it got: ${problem}`)
    this.#raw = rest
    // One at a time: the proxy never pipelines.
    expect(requests.length).toBeLessThan(2)
    const request = requests[0]
    if (request === undefined) return
    const [method = "", path = ""] = request.line.split(" ")
    this.#answer(method, path)
  }

  #answerEarly(head: string): void {
    const path = /^\S+ (\S+)/.exec(head)?.[1] ?? ""
    const content = contentOf(path)
    this.#out.add(
      `HTTP/1.1 200 OK\r\nX-Path: ${path}\r\nContent-Length: ${content.length}\r\n\r\n${content}`,
    )
    this.#closes = this.#random.pick(["close", "finish"] as const)
  }

  #answer(method: string, path: string): void {
    const content = contentOf(path)
    const body = method === "HEAD" ? "" : content
    const start = `HTTP/1.1 200 OK\r\nX-Path: ${path}\r\n`
    const sized = `${start}Content-Length: ${content.length}\r\n\r\n${body}`
    const stray = "HTTP/1.1 200 OK\r\nX-Path: /stray/0\r\nContent-Length: 0\r\n\r\n"
    switch (this.#random.below(16)) {
      case 0:
        this.#closes = this.#random.pick(["close", "reset"] as const)
        return
      case 1:
        this.#out.add(sized.slice(0, this.#random.below(sized.length)))
        this.#closes = "close"
        return
      case 2:
        this.#out.add("garbage\r\n\r\n")
        this.#closes = "finish"
        return
      case 3:
        this.#out.add(sized + stray)
        return
      case 4:
        this.#isUntilClose = true
        this.#out.add(`${start}\r\n${body}`)
        this.#closes = "close"
        return
      case 5:
        this.#out.add(sized)
        this.#closes = this.#random.pick(["close", "finish"] as const)
        return
      case 6:
        this.#out.add(`HTTP/1.1 103 -\r\nLink: x\r\n\r\n${sized}`)
        return
      case 7:
        this.#out.add(sized.replace("X-Path", "Connection: close\r\nX-Path"))
        return
      case 8:
      case 9:
      case 10: {
        const half = content.length >> 1
        const chunks = [content.slice(0, half), content.slice(half)]
          .filter((part) => part !== "")
          .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
          .join("")
        this.#out.add(
          `${start}Transfer-Encoding: chunked\r\n\r\n${method === "HEAD" ? "" : `${chunks}0\r\n\r\n`}`,
        )
        return
      }
      default:
        this.#out.add(sized)
    }
  }

  #end(how: "close" | "reset" | "finish"): void {
    if (how === "finish") {
      this.#peer.finish()
      this.#closes = "close"
      return
    }
    this.#peer[how]()
    this.isOver = true
  }
}

function run(seed: number): void {
  const random = randomness(seed)
  const harness = new Harness()
  const servers: Server[] = [harness.server(), harness.server()]
  const endpoints = servers.map(({ endpoint }) => endpoint)
  if (random.chance(0.3)) endpoints.push(harness.refusing())
  harness.pool(endpoints)
  const at = harness.listen({
    decide: forward({ retryAttempts: random.below(3), retryStatuses: [502] }),
  })
  const connections: ChaosServerConnection[] = []
  const clients = Array.from({ length: CLIENTS }, (_, number) => {
    return new ChaosClient(random, harness.connect(at), `${number}`)
  })
  const giveUpAt = performance.now() + 4 * SECONDS
  // A proxied client is over later than its own end where that is hidden behind pipelined requests.
  while (clients.some(({ isOver }) => !isOver) || harness.clients().length > 0) {
    if (performance.now() > giveUpAt) break
    for (const client of clients) client.step()
    for (const server of servers) {
      const peer = server.tryAccept()
      if (peer !== undefined) connections.push(new ChaosServerConnection(random, peer))
    }
    for (const connection of connections) connection.step()
    harness.pass(0)
  }
  expect(clients.filter(({ isOver }) => !isOver)).toEqual([])
  expect(harness.listener("finished")).toBeGreaterThan(0)
  harness.settle()
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.balance()).toEqual([])
  expect(harness.close()).toEqual([])
}

const FRESH = Math.floor(Math.random() * 1_000_000)
for (const seed of [1, 2, 3, 4, 5, 6, FRESH, FRESH + 1]) {
  test(`clients and servers of all kinds, seed ${seed}`, () => run(seed))
}
