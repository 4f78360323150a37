import { describe, expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import type { ApiFailure } from "./api-failure.ts"
import { ruleOf, WriteQueue } from "./write-queue.ts"
import type { Json, Write } from "./writes.ts"

function patchOf(name: string, patch: Json = {}): Write {
  return {
    type: "patch",
    resource: "services",
    namespace: "shop",
    name,
    subresource: "status",
    resourceVersion: "1",
    patch,
  }
}

function eventOf(name: string): Write {
  const about = { kind: "Service" as const, namespace: "shop", name, uid: name }
  return { type: "event", about, severity: "Normal", reason: "IPAllocated", message: "" }
}

function status(code: number, retryAfterMs?: number): ApiFailure {
  return { kind: "status", code, reason: "Reason", message: "words", retryAfterMs }
}

const START = instant(0)

function take(queue: WriteQueue, now = START): string[] {
  const names: string[] = []
  for (;;) {
    const outgoing = queue.next(now)
    if (outgoing === undefined) return names
    const { write } = outgoing
    names.push(write.type === "event" ? `event ${write.about.name}` : write.name)
  }
}

describe("WriteQueue", () => {
  test("sends eight at a time, Events last", () => {
    const queue = new WriteQueue()
    queue.push([eventOf("e"), ...Array.from({ length: 9 }, (_, at) => patchOf(`s${at}`))])
    expect(take(queue)).toEqual(["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"])
    expect(queue.deadline(START)).toBeUndefined()
    queue.finish(1, undefined, START)
    queue.finish(2, undefined, START)
    expect(take(queue)).toEqual(["s8", "event e"])
  })

  test("replaces an older wish for the same object, and waits for the one under way", () => {
    const queue = new WriteQueue()
    queue.push([patchOf("a", 1), patchOf("a", 2)])
    expect(queue.next(START)).toMatchObject({ id: 1, write: { patch: 2 } })
    queue.push([patchOf("a", 3), patchOf("a", 4)])
    expect(queue.next(START)).toBeUndefined()
    queue.finish(1, undefined, START)
    expect(queue.next(START)).toMatchObject({ id: 2, write: { patch: 4 } })
    expect(queue.status()).toMatchObject({ queued: 0, inFlight: 1, written: 1 })
  })

  test("sends a burst of 100, then 50 a second", () => {
    const queue = new WriteQueue()
    queue.push(Array.from({ length: 200 }, (_, at) => patchOf(`s${at}`)))
    const sendAll = (at: number) => {
      let count = 0
      for (;;) {
        const outgoing = queue.next(instant(at))
        if (outgoing === undefined) return count
        queue.finish(outgoing.id, undefined, instant(at))
        count += 1
      }
    }
    expect(sendAll(0)).toBe(100)
    expect<unknown>(queue.deadline(START)).toBe(20)
    expect(sendAll(1000)).toBe(50)
  })

  test.each([
    [status(429), 1000],
    [status(429, 7000), 7000],
    [status(503), 1000],
    [{ kind: "timeout", afterMs: 3000 } as const, 1000],
    [{ kind: "connection", reason: "ECONNREFUSED", message: "" } as const, 1000],
  ])("keeps the wish and waits when the server is busy or away (%j)", (failure, inMs) => {
    const queue = new WriteQueue()
    queue.push([patchOf("a"), patchOf("b")])
    queue.next(START)
    expect(queue.finish(1, failure, START)).toEqual({ type: "retry", inMs })
    expect(queue.next(instant(inMs - 1))).toBeUndefined()
    expect<unknown>(queue.deadline(START)).toBe(inMs)
    // One request finds out whether it is back.
    expect(take(queue, instant(inMs))).toEqual(["b"])
  })

  test("goes on with the others where the server fails for one object (500)", () => {
    const queue = new WriteQueue()
    queue.push([patchOf("a"), patchOf("b")])
    queue.next(START)
    expect(queue.finish(1, status(500), START)).toMatchObject({ type: "refused" })
    expect(take(queue, START)).toEqual(["b"])
  })

  test("waits longer with each failure, until one succeeds", () => {
    const queue = new WriteQueue()
    queue.push([patchOf("a")])
    const waits: number[] = []
    let now = 0
    for (let at = 0; at < 7; at++) {
      const id = queue.next(instant(now))?.id ?? 0
      const outcome = queue.finish(id, status(503), instant(now))
      waits.push(outcome.type === "retry" ? outcome.inMs : 0)
      now += 60_000
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
    queue.finish(queue.next(instant(now))?.id ?? 0, undefined, instant(now))
    queue.push([patchOf("a")])
    expect(queue.finish(queue.next(instant(now))?.id ?? 0, status(503), instant(now))).toEqual({
      type: "retry",
      inMs: 1000,
    })
  })

  test("a newer wish replaces the one that is to be repeated", () => {
    const queue = new WriteQueue()
    queue.push([patchOf("a", 1)])
    queue.next(START)
    queue.push([patchOf("a", 2)])
    queue.finish(1, status(503), START)
    expect(queue.next(instant(1000))).toMatchObject({ write: { patch: 2 } })
  })

  test.each([404, 409, 410])("ends a wish that is contradicted (%i)", (code) => {
    const queue = new WriteQueue()
    queue.push([patchOf("a")])
    queue.next(START)
    expect(queue.finish(1, status(code), START)).toEqual({ type: "outdated" })
    expect(queue.status()).toMatchObject({ queued: 0, outdated: 1, problem: "" })
  })

  test("names the RBAC rule that is missing until it is there", () => {
    const queue = new WriteQueue()
    queue.push([patchOf("a")])
    queue.next(START)
    expect(queue.finish(1, status(403), START)).toEqual({
      type: "refused",
      message:
        "Cannot patch services/status for shop/a: 403 Reason: words; " +
        'the role lacks "patch services/status"',
    })
    expect(queue.status()).toMatchObject({ queued: 0, missingRules: ["patch services/status"] })
    queue.push([patchOf("a")])
    queue.next(START)
    queue.finish(2, undefined, START)
    expect(queue.status().missingRules).toEqual([])
  })

  test("does not repeat an Event that may have arrived", () => {
    const queue = new WriteQueue()
    queue.push([eventOf("a")])
    queue.next(START)
    queue.finish(1, { kind: "timeout", afterMs: 3000 }, START)
    expect(queue.status().queued).toBe(0)
  })

  test("has room for 1,000 Events, and forgets the oldest", () => {
    const queue = new WriteQueue()
    queue.push(Array.from({ length: 1001 }, (_, at) => eventOf(`s${at}`)))
    expect(queue.status()).toMatchObject({ queued: 1000, dropped: 1 })
    expect(take(queue)[0]).toBe("event s1")
  })

  test("clear() forgets what has not left", () => {
    const queue = new WriteQueue()
    queue.push([patchOf("a"), eventOf("a")])
    queue.next(START)
    queue.push([patchOf("b")])
    queue.clear()
    expect(queue.status()).toMatchObject({ queued: 0, inFlight: 1 })
  })
})

test.each([
  [patchOf("a"), "patch services/status"],
  [eventOf("a"), "create events"],
  [
    { type: "delete", resource: "endpointslices", namespace: "n", name: "x", uid: "u" } as const,
    "delete endpointslices",
  ],
])("ruleOf() names the rule", (write, rule) => expect(ruleOf(write)).toBe(rule))
