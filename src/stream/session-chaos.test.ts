/**
 * Any order of connects, bytes, FINs, resets, refusals and shortages: at the end every count is
 * balanced and no descriptor is left, and nobody ever got a byte that was not sent to him.
 */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { NativeBytes } from "../linux/bytes.ts"
import { EAGAIN, EINPROGRESS } from "../linux/errno.ts"
import type { Endpoint } from "../net/address.ts"
import { Harness, type Peer, type Server } from "./fixtures/harness.ts"

/** One end as the test plays it; `sent` and `got` are counts into the one sequence all send. */
interface End {
  readonly peer: Peer
  sent: number
  got: number
  isWriting: boolean
}

const LENGTH = 3 * 1024 * 1024
const sequence = new NativeBytes(LENGTH)
{
  const words = new Uint32Array(sequence.bytes.buffer)
  for (let at = 0; at < words.length; at++) words[at] = Math.imul(at + 1, 0x9e3779b1)
}

const pick = fc.nat(1000)
const size = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 600_000 }))
const act = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("connect" as const) }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("send" as const), pick, size }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("receive" as const), pick, size }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("finish" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reset" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("close" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("health" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const), pick }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("pass" as const) }) },
)
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never

class Chaos {
  readonly harness = new Harness({ sessionsMax: 6 })
  readonly #server: Server = this.harness.server()
  readonly #endpoint: Endpoint
  #ends: End[] = []

  constructor() {
    const { harness } = this
    harness.pool([harness.refusing(), this.#server.endpoint], { maxFails: 3, failTimeoutMs: 5 })
    this.#endpoint = harness.listen({ maxConnections: 5 })
  }

  perform(each: Act): void {
    if (each.do === "connect") return this.#adopt(this.harness.connect(this.#endpoint))
    if (each.do === "pass") return this.#pass()
    if (each.do === "health") {
      const slot = each.pick % 2
      const { board } = this.harness
      return board.setHealth(slot, board.health(slot) === "up" ? "down" : "up")
    }
    if (each.do === "sweep") return this.harness.sessions()[each.pick % 4]?.end("server_down")
    const end = this.#ends[each.pick % Math.max(1, this.#ends.length)]
    if (end === undefined) return
    if (each.do === "receive") this.#receive(end, each.size)
    else if (each.do === "send") this.#send(end, each.size)
    else if (each.do === "finish") this.#finish(end)
    else this.#end(end, each.do)
  }

  /** Everybody says that he is done, and reads until the other is: nothing may get stuck. */
  drain(): void {
    for (const end of this.#ends) this.#finish(end)
    this.harness.until("everybody to hear the end", () => {
      this.#pass()
      for (const end of [...this.#ends]) {
        if (end.isWriting) this.#finish(end)
        if (this.#receive(end, LENGTH) === "end") this.#end(end, "close")
      }
      return this.#isQuiet()
    })
  }

  /** Everybody hangs up; the time limit of `until` is the oracle for anything that got stuck. */
  finish(): void {
    for (const end of [...this.#ends]) this.#end(end, "close")
    this.harness.until("all to be over", () => {
      this.#pass()
      for (const end of [...this.#ends]) this.#end(end, "close")
      return this.harness.sessions().length === 0 && this.#isQuiet()
    })
    expect(this.harness.unbalanced()).toEqual([])
  }

  #isQuiet(): boolean {
    const total = this.harness.stream("connectionsTotal")
    this.harness.settle()
    return this.harness.stream("connectionsTotal") === total && this.#ends.length === 0
  }

  #pass(): void {
    // As many as bytes need from end to end, so that the acts between are what is random.
    for (let passes = 0; passes < 3; passes++) this.harness.pass()
    for (let peer = this.#server.tryAccept(); peer !== undefined; ) {
      this.#adopt(peer)
      peer = this.#server.tryAccept()
    }
  }

  #adopt(peer: Peer): void {
    this.#ends.push({ peer, sent: 0, got: 0, isWriting: true })
  }

  #send(end: End, length: number): void {
    if (!end.isWriting) return
    const taken = end.peer.sendSome(sequence, end.sent, Math.min(LENGTH, end.sent + length))
    end.sent += Math.max(0, taken)
  }

  #receive(end: End, length: number): Uint8Array | "end" | number {
    const some = end.peer.receiveSome(length)
    if (some instanceof Uint8Array) {
      const expected = sequence.bytes.subarray(end.got, end.got + some.length)
      expect(Buffer.compare(some, expected)).toBe(0)
      end.got += some.length
    } else if (some !== "end" && some !== -EAGAIN && some !== -EINPROGRESS) this.#end(end, "close")
    return some
  }

  #finish(end: End): void {
    end.peer.finish()
    end.isWriting = false
  }

  #end(end: End, how: "reset" | "close"): void {
    this.#ends = this.#ends.filter((each) => each !== end)
    end.peer[how]()
  }
}

test("whatever clients and servers do, all is given back at the end", () => {
  fc.assert(
    fc.property(
      fc.array(act, { minLength: 50, maxLength: 300 }),
      fc.boolean(),
      (acts, isPatient) => {
        const chaos = new Chaos()
        try {
          for (const each of acts) chaos.perform(each)
          if (isPatient) chaos.drain()
          chaos.finish()
        } finally {
          expect(chaos.harness.close()).toEqual([])
        }
      },
    ),
    { numRuns: 50 },
  )
}, 20_000)
