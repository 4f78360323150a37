/** Flows as sessions use them: integrity, back-pressure, turns, pipes. */
import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test"
import { NativeBytes } from "../linux/bytes.ts"
import { EAGAIN, ECONNRESET } from "../linux/errno.ts"
import { libc } from "../linux/libc.ts"
import type { Pipe } from "../linux/pipe.ts"
import type { Endpoint } from "../net/address.ts"
import { mix } from "../pool/hash.ts"
import { Harness, type Peer, type Server, unreadBytes, unsentBytes } from "./fixtures/harness.ts"

const KIB = 1024
const MIB = 1024 * KIB

let harness: Harness
let server: Server
let endpoint: Endpoint

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
  harness.pool([server.endpoint])
  endpoint = harness.listen()
})

afterEach(() => {
  expect(harness.close()).toEqual([])
})

function connectedPair(): { readonly client: Peer; readonly server: Peer } {
  const both = harness.pair(endpoint, server)
  both.client.send("hello")
  both.server.expectText("hello")
  return both
}

function untilBalanced(): void {
  harness.until("all to be over", () => harness.sessions().length === 0)
  expect(harness.unbalanced()).toEqual([])
}

/** As a thread whose user has used up the kernel's quota of pipe pages. */
function withoutPipes(): void {
  const pipes: Pipe[] = []
  for (let pipe = harness.pipes.take(); pipe !== undefined; pipe = harness.pipes.take()) {
    pipes.push(pipe)
  }
  expect(pipes).toHaveLength(48)
}

/** Random but the same in every run. */
class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  below(limit: number): number {
    this.#state = mix(this.#state + 0x9e3779b9)
    return this.#state % limit
  }
}

/** Bytes that do not repeat with any period a bug could have. */
const noise = new NativeBytes(4 * MIB)
{
  const dice = new Dice(1)
  const words = new Uint32Array(noise.bytes.buffer)
  for (let at = 0; at < words.length; at++) words[at] = dice.below(2 ** 32)
}

interface TransferOptions {
  readonly bytes: number
  readonly dice: Dice
  /** Sizes of single writes and reads are below these. */
  readonly writeMax: number
  readonly readMax: number
  /** The reader looks only in one of so many passes. */
  readonly readEvery: number
}

/** One direction of a connection, moved a bit at each `step`. */
class Transfer {
  readonly #from: Peer
  readonly #to: Peer
  readonly #options: TransferOptions
  readonly #sentHash = new Bun.CryptoHasher("sha1")
  readonly #gotHash = new Bun.CryptoHasher("sha1")
  #sent = 0
  #got = 0
  #hasEnded = false

  constructor(from: Peer, to: Peer, options: TransferOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
  }

  step(): void {
    if (this.#sent < this.#options.bytes) this.#write()
    if (this.#options.dice.below(this.#options.readEvery) === 0) this.#read()
  }

  #write(): void {
    const { bytes, dice, writeMax } = this.#options
    const start = dice.below(2 * MIB)
    const count = Math.min(1 + dice.below(writeMax), bytes - this.#sent, 2 * MIB)
    const taken = this.#from.sendSome(noise, start, start + count)
    if (taken > 0) {
      this.#sentHash.update(noise.bytes.subarray(start, start + taken))
      this.#sent += taken
    } else if (taken !== -EAGAIN) throw new Error(`send: ${taken}`)
    if (this.#sent === bytes) this.#from.finish()
  }

  #read(): void {
    const some = this.#to.receiveSome(1 + this.#options.dice.below(this.#options.readMax))
    if (some instanceof Uint8Array) {
      this.#gotHash.update(some)
      this.#got += some.length
    } else if (some === "end") this.#hasEnded = true
    else if (some !== -EAGAIN) throw new Error(`receive: ${some}`)
  }

  get isOver(): boolean {
    return this.#hasEnded
  }

  expectIntact(): void {
    expect([this.#sent, this.#got]).toEqual([this.#options.bytes, this.#options.bytes])
    expect(this.#gotHash.digest("hex")).toBe(this.#sentHash.digest("hex"))
  }
}

function moveAll(transfers: readonly Transfer[]): void {
  const giveUpAt = performance.now() + TRANSFER_MS_MAX
  while (transfers.some(({ isOver }) => !isOver)) {
    if (performance.now() > giveUpAt) throw new Error("the transfer got stuck")
    for (const transfer of transfers) transfer.step()
    harness.pass()
  }
}

/** Takes 0.4 s at the most when the machine has nothing else to do. */
const TRANSFER_MS_MAX = 20_000

describe("integrity", () => {
  const slow = { writeMax: 9 * KIB, readMax: 3 * KIB, readEvery: 3 }
  const mixed = { writeMax: 400 * KIB, readMax: 300 * KIB, readEvery: 2 }
  const bulk = { writeMax: 2 * MIB, readMax: MIB, readEvery: 1 }
  const tiny = { writeMax: 20, readMax: 10, readEvery: 2 }

  test.each([
    ["tiny messages", "pipes", 20 * KIB, tiny, "never"],
    ["slow readers", "pipes", MIB, slow, "maybe"],
    ["any sizes", "pipes", 24 * MIB, mixed, "maybe"],
    ["bulk", "pipes", 64 * MIB, bulk, "surely"],
    ["any sizes", "no pipes", 24 * MIB, mixed, "never"],
    ["bulk", "no pipes", 64 * MIB, bulk, "never"],
  ] as const)("of %s with %s, both directions at once", (_, pipes, bytes, pace, spliced) => {
    if (pipes === "no pipes") withoutPipes()
    const { client, server: peer } = connectedPair()
    const splice = spyOn(libc, "splice")
    const transfers = [
      new Transfer(client, peer, { ...pace, bytes, dice: new Dice(bytes) }),
      new Transfer(peer, client, { ...pace, bytes: bytes + 4321, dice: new Dice(bytes + 1) }),
    ]
    moveAll(transfers)
    const wasSpliced = splice.mock.calls.length > 0
    splice.mockRestore()
    for (const transfer of transfers) transfer.expectIntact()
    if (spliced !== "maybe") expect(wasSpliced).toBe(spliced === "surely")
    untilBalanced()
    expect([harness.stream("bytesIn"), harness.stream("bytesOut")]).toEqual([
      bytes + "hello".length,
      bytes + 4321,
    ])
  })
})

/** Sends `noise` over and over until the kernel takes no more, however many passes are made. */
function fill(from: Peer): number {
  let total = 0
  for (let stuck = 0; stuck < 50; ) {
    const taken = from.sendSome(noise, 0, MIB)
    total += Math.max(taken, 0)
    stuck = taken > 0 ? 0 : stuck + 1
    harness.pass()
  }
  return total
}

/** Bytes that are in the proxy's own hands: neither in a socket on either side nor passed on. */
function heldBytes(sent: number, from: Peer, passedOn: number): number {
  const sockets = harness.held().filter((fd) => libc.fcntl(fd, F_GETPIPE_SZ, 0) < 0)
  const unread = sockets.map(unreadBytes).reduce((sum, bytes) => sum + bytes, 0)
  return sent - unsentBytes(from.fd) - unread - passedOn
}

const F_GETPIPE_SZ = 1032

describe("back-pressure", () => {
  test.each([
    ["at most one buffer", "no pipes", 64 * KIB],
    ["at most one pipe", "pipes", MIB],
  ] as const)("a reader that never reads costs %s with %s", (_, pipes, heldMax) => {
    if (pipes === "no pipes") withoutPipes()
    const stalled = connectedPair()
    const sent = fill(stalled.server)
    const held = heldBytes(sent, stalled.server, harness.stream("bytesOut"))
    expect(held).toBeGreaterThan(0)
    expect(held).toBeLessThanOrEqual(heldMax)
    // It costs no turns either, and the others flow.
    const calls = [spyOn(libc, "recv"), spyOn(libc, "send"), spyOn(libc, "splice")]
    harness.settle()
    expect(calls.flatMap(({ mock }) => mock.calls)).toEqual([])
    for (const spy of calls) spy.mockRestore()
    const { client, server: peer } = connectedPair()
    peer.send("others flow")
    client.expectText("others flow")
    // When it reads after all, it gets everything.
    let got = 0
    harness.until("all of it", () => {
      const some = stalled.client.receiveSome()
      if (some instanceof Uint8Array) got += some.length
      return got === sent
    })
    stalled.server.send("and more")
    stalled.client.expectText("and more")
  })

  test("a server that never reads is treated alike, and its answers still pass", () => {
    const { client, server: peer } = connectedPair()
    const sent = fill(client)
    const passedOn = harness.stream("bytesIn") - "hello".length
    expect(heldBytes(sent, client, passedOn)).toBeLessThanOrEqual(MIB)
    peer.send("answer")
    client.expectText("answer")
  })

  test("a client that resets while it is stalled is noticed at once", () => {
    const { client, server: peer } = connectedPair()
    fill(peer)
    client.reset()
    harness.until("the end", () => harness.stream("client_reset") === 1)
    expect(peer.untilEnd().how).toBe(-ECONNRESET)
    untilBalanced()
  })

  test("a server that resets while its client is stalled is noticed at once", () => {
    const { client, server: peer } = connectedPair()
    fill(peer)
    peer.reset()
    harness.until("the end", () => harness.stream("server_reset") === 1)
    expect(client.untilEnd().how).toBe(-ECONNRESET)
    untilBalanced()
  })

  test("a stalled connection ends at the idle time, and the kernel keeps nothing", () => {
    endpoint = harness.listen({ idleTimeoutMs: 50 })
    const { client, server: peer } = connectedPair()
    fill(peer)
    harness.until("the end", () => harness.stream("idle_timeout") === 1)
    expect([client.untilEnd().how, peer.untilEnd().how]).toEqual([-ECONNRESET, -ECONNRESET])
    untilBalanced()
  })

  test("FIN waits for the data before it", () => {
    const { client, server: peer } = connectedPair()
    const sent = fill(peer)
    peer.finish()
    harness.settle()
    let got = 0
    const how = harness.until("the end", () => {
      const some = client.receiveSome()
      if (some instanceof Uint8Array) got += some.length
      else if (some !== -EAGAIN) return some
      return undefined
    })
    expect([got, how]).toEqual([sent, "end"])
    client.close()
    untilBalanced()
    expect(harness.stream("finished")).toBe(1)
  })
})

test("a flow that always has more lets the others have their turn", () => {
  const [bulk, small] = [connectedPair(), connectedPair()]
  let passes = 0
  let turns = 0
  while (turns < 20) {
    for (let taken = 1; taken > 0; ) taken = bulk.server.sendSome(noise, 0, 2 * MIB)
    small.client.send("x")
    small.server.expectText("x")
    harness.pass()
    turns++
    const before = harness.stream("bytesOut")
    for (let some = bulk.client.receiveSome(); some instanceof Uint8Array; ) {
      some = bulk.client.receiveSome()
    }
    harness.pass()
    passes++
    // An edge and a deferred turn may fall into one pass: 2 × 1 MiB, and the rest of the last read.
    expect(harness.stream("bytesOut") - before).toBeLessThanOrEqual(3 * MIB)
  }
  expect(passes).toBe(20)
})

test("urgent data in the middle of bulk does not stop it", () => {
  const { client, server: peer } = connectedPair()
  const splice = spyOn(libc, "splice")
  const bytes = 4 * MIB
  const pour = () => {
    for (let sent = 0; sent < bytes; ) {
      sent += Math.max(0, peer.sendSome(noise, sent, bytes))
      client.receiveSome()
      harness.pass()
    }
  }
  pour()
  peer.sendUrgent("!")
  pour()
  const wasSpliced = splice.mock.calls.length > 0
  splice.mockRestore()
  expect(wasSpliced).toBe(true)
  // The urgent byte itself stands outside the stream, as everywhere without SO_OOBINLINE.
  harness.until("all of it", () => {
    client.receiveSome()
    return harness.stream("bytesOut") === 2 * bytes
  })
})

test("a pipe is borrowed for the turn, and kept only by what is stalled", () => {
  const { client, server: peer } = connectedPair()
  const pace = { writeMax: 2 * MIB, readMax: MIB, readEvery: 1 }
  const transfer = new Transfer(peer, client, { ...pace, bytes: 16 * MIB, dice: new Dice(3) })
  moveAll([transfer])
  const pipes = harness.held().filter((fd) => libc.fcntl(fd, F_GETPIPE_SZ, 0) >= 0)
  expect(pipes).toHaveLength(2)
  client.close()
  untilBalanced()
})

test("a stalled pipe is closed with its connection", () => {
  const pairs = [connectedPair(), connectedPair(), connectedPair()]
  for (const { server: peer } of pairs) fill(peer)
  const pipes = () => harness.held().filter((fd) => libc.fcntl(fd, F_GETPIPE_SZ, 0) >= 0)
  expect(pipes()).toHaveLength(6)
  for (const { client } of pairs) client.reset()
  harness.until("all to be over", () => harness.sessions().length === 0)
  expect(pipes()).toEqual([])
})
