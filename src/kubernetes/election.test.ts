import { describe, expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import {
  Election,
  type ElectionAction,
  type LeaseAnswer,
  type LeaseRecord,
  leaseObject,
  leaseRecord,
} from "./election.ts"

function leaseOf(more: Partial<LeaseRecord> = {}): LeaseRecord {
  return {
    resourceVersion: "7",
    holderIdentity: "edge-b_x",
    leaseDurationSeconds: 15,
    acquireTime: "2026-01-01T00:00:00.000000Z",
    renewTime: "2026-01-01T00:00:10.000000Z",
    leaseTransitions: 3,
    ...more,
  }
}

const found = (more: Partial<LeaseRecord> = {}): LeaseAnswer => ({ ok: true, lease: leaseOf(more) })
const failed = (reason: "not_found" | "conflict" | "forbidden" | "unreachable"): LeaseAnswer => {
  return { ok: false, reason, message: reason }
}

class Bench {
  readonly election = new Election({ identity: "edge-a_y", random: () => 0.5 })
  now = 0
  #request = 0

  start(): ElectionAction[] {
    return this.#note(this.election.handle({ type: "start" }, instant(this.now)))
  }

  stop(): ElectionAction[] {
    return this.#note(this.election.handle({ type: "stop" }, instant(this.now)))
  }

  /** To the last request. */
  answer(answer: LeaseAnswer, at = this.now): ElectionAction[] {
    this.now = at
    const input = { type: "answer", request: this.#request, answer } as const
    return this.#note(this.election.handle(input, instant(at)))
  }

  timeout(at: number): ElectionAction[] {
    this.now = at
    return this.#note(this.election.handle({ type: "timeout" }, instant(at)))
  }

  /** Holds the Lease since 0, version 8. */
  lead(): this {
    this.start()
    this.answer(found({ holderIdentity: "" }))
    this.answer(found({ holderIdentity: "edge-a_y", resourceVersion: "8", leaseTransitions: 4 }))
    return this
  }

  #note(actions: ElectionAction[]): ElectionAction[] {
    for (const action of actions) if ("request" in action) this.#request = action.request
    return actions
  }
}

describe("Election", () => {
  test("creates the Lease where there is none", () => {
    const bench = new Bench()
    expect(bench.start()).toEqual([{ type: "get", request: 1, timeoutMs: 3000 }])
    expect(bench.answer(failed("not_found"))).toEqual([
      {
        type: "create",
        request: 2,
        timeoutMs: 3000,
        spec: {
          holderIdentity: "edge-a_y",
          leaseDurationSeconds: 15,
          leaseTransitions: 0,
          acquireTime: undefined,
        },
      },
    ])
    expect(bench.answer(found({ holderIdentity: "edge-a_y" }))).toEqual([
      { type: "needsFreshView", term: "edge-a_y/1" },
    ])
    expect(bench.election.mayWrite(instant(9999))).toBe(true)
    expect(bench.election.mayWrite(instant(10_000))).toBe(false)
  })

  test("takes a Lease that was given back, and counts the transition", () => {
    const bench = new Bench()
    bench.start()
    const [update] = bench.answer(found({ holderIdentity: "" }))
    expect(update).toMatchObject({
      type: "update",
      resourceVersion: "7",
      spec: { holderIdentity: "edge-a_y", leaseTransitions: 4 },
    })
  })

  test("takes another's Lease only 15 s after it last saw it change", () => {
    const bench = new Bench()
    bench.start()
    expect(bench.answer(found(), 100)).toEqual([])
    // 2 s with a jitter of 0.5 × 1.2.
    expect<unknown>(bench.election.deadline()).toBe(3300)
    bench.timeout(3300)
    expect(bench.answer(found({ renewTime: "changed", resourceVersion: "8" }), 3400)).toEqual([])
    bench.timeout(18_000)
    expect(bench.answer(found({ renewTime: "changed", resourceVersion: "9" }), 18_399)).toEqual([])
    bench.timeout(22_000)
    expect(
      bench.answer(found({ renewTime: "changed", resourceVersion: "9" }), 22_001),
    ).toMatchObject([{ type: "update", resourceVersion: "9" }])
  })

  test("waits for the other's whole duration even if the Lease was deleted", () => {
    const bench = new Bench()
    bench.start()
    bench.answer(found(), 0)
    bench.timeout(5000)
    expect(bench.answer(failed("not_found"))).toEqual([])
    bench.timeout(15_000)
    expect(bench.answer(failed("not_found"))).toMatchObject([{ type: "create" }])
  })

  test("is no leader when the server had somebody else first", () => {
    const bench = new Bench()
    bench.start()
    bench.answer(found({ holderIdentity: "" }))
    expect(bench.answer(failed("conflict"))).toEqual([])
    expect(bench.election.status()).toMatchObject({ state: "following", problem: "conflict" })
    expect(bench.election.mayWrite(instant(1))).toBe(false)
  })

  test("renews every 2 s, with the version it has and the same acquireTime", () => {
    const bench = new Bench().lead()
    expect<unknown>(bench.election.deadline()).toBe(2000)
    expect(bench.timeout(2000)).toEqual([
      {
        type: "update",
        request: 3,
        timeoutMs: 3000,
        resourceVersion: "8",
        spec: {
          holderIdentity: "edge-a_y",
          leaseDurationSeconds: 15,
          leaseTransitions: 4,
          acquireTime: "2026-01-01T00:00:00.000000Z",
        },
      },
    ])
    expect(bench.answer(found({ holderIdentity: "edge-a_y", resourceVersion: "9" }), 2500)).toEqual(
      [],
    )
    // It counts from when the renewal was sent.
    expect(bench.election.mayWrite(instant(11_999))).toBe(true)
    expect(bench.election.mayWrite(instant(12_000))).toBe(false)
  })

  test("stops writing 10 s after the last renewal, though its request is still under way", () => {
    const bench = new Bench().lead()
    bench.timeout(2000)
    expect(bench.answer(failed("unreachable"), 5000)).toEqual([])
    bench.timeout(7000)
    expect<unknown>(bench.election.deadline()).toBe(10_000)
    expect(bench.timeout(10_000)).toEqual([{ type: "lost", reason: "deadline" }])
    expect(bench.answer(found({ holderIdentity: "edge-a_y" }), 10_001)).toEqual([])
    expect(bench.election.status().state).toBe("following")
  })

  test("takes its own Lease again as another term", () => {
    const bench = new Bench().lead()
    bench.timeout(10_000)
    bench.timeout(13_200)
    expect(bench.answer(found({ holderIdentity: "edge-a_y", resourceVersion: "8" }))).toMatchObject(
      [{ type: "update", resourceVersion: "8" }],
    )
    expect(bench.answer(found({ holderIdentity: "edge-a_y", resourceVersion: "9" }))).toEqual([
      { type: "needsFreshView", term: "edge-a_y/2" },
    ])
  })

  test("looks at once when a renewal conflicts: taken, or only touched", () => {
    const taken = new Bench().lead()
    taken.timeout(2000)
    expect(taken.answer(failed("conflict"))).toMatchObject([{ type: "get" }])
    expect(taken.answer(found({ resourceVersion: "9" }))).toEqual([
      { type: "lost", reason: "taken" },
    ])
    const touched = new Bench().lead()
    touched.timeout(2000)
    touched.answer(failed("conflict"))
    expect(
      touched.answer(found({ holderIdentity: "edge-a_y", resourceVersion: "9" })),
    ).toMatchObject([{ type: "update", resourceVersion: "9" }])
  })

  test("gives the Lease back when it stops", () => {
    const bench = new Bench().lead()
    expect(bench.stop()).toMatchObject([
      { type: "lost", reason: "stopped" },
      { type: "update", spec: { holderIdentity: "", leaseDurationSeconds: 1 } },
    ])
    expect(bench.election.mayWrite(instant(0))).toBe(false)
    expect(bench.answer(failed("unreachable"))).toEqual([{ type: "stopped" }])
    expect(bench.election.deadline()).toBeUndefined()
  })

  test("stops at once when it does not hold it", () => {
    const bench = new Bench()
    bench.start()
    expect(bench.stop()).toEqual([{ type: "stopped" }])
    expect(bench.stop()).toEqual([])
  })

  test("an acquisition that is answered too late is none", () => {
    const bench = new Bench()
    bench.start()
    bench.answer(found({ holderIdentity: "" }))
    expect(bench.answer(found({ holderIdentity: "edge-a_y" }), 10_000)).toEqual([])
    expect(bench.election.status().state).toBe("following")
  })
})

test("leaseObject() and leaseRecord() speak of one Lease", () => {
  const spec = {
    holderIdentity: "edge-a_y",
    leaseDurationSeconds: 15,
    leaseTransitions: 4,
    acquireTime: undefined,
  }
  const place = { namespace: "kube-system", name: "causeway" }
  const object = leaseObject(place, spec, { epochMs: Date.UTC(2026, 0, 1), resourceVersion: "7" })
  expect(object).toEqual({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { namespace: "kube-system", name: "causeway", resourceVersion: "7" },
    spec: {
      holderIdentity: "edge-a_y",
      leaseDurationSeconds: 15,
      leaseTransitions: 4,
      acquireTime: "2026-01-01T00:00:00.000000Z",
      renewTime: "2026-01-01T00:00:00.000000Z",
    },
  })
  expect(leaseRecord(object)).toEqual({
    resourceVersion: "7",
    holderIdentity: "edge-a_y",
    leaseDurationSeconds: 15,
    leaseTransitions: 4,
    acquireTime: "2026-01-01T00:00:00.000000Z",
    renewTime: "2026-01-01T00:00:00.000000Z",
  })
})

test.each([undefined, null, "", {}, { metadata: {} }, { metadata: { resourceVersion: 7 } }])(
  "leaseRecord() refuses %j",
  (object) => expect(leaseRecord(object)).toBeUndefined(),
)

test("leaseRecord() takes a Lease that nobody holds", () => {
  expect(
    leaseRecord({ metadata: { resourceVersion: "1" }, spec: { holderIdentity: null } }),
  ).toMatchObject({
    holderIdentity: "",
    leaseDurationSeconds: 0,
  })
})
