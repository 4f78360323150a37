import { describe, expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import type { ApiFailure } from "./api-failure.ts"
import {
  Reflector,
  type ReflectorAction,
  type ReflectorInput,
  type ReflectorOptions,
  type WatchEvent,
} from "./reflector.ts"

type Action = ReflectorAction<string>

/** A reflector on a clock of its own, with the middle of each random span. */
function bench(options: Partial<ReflectorOptions> = {}) {
  const reflector = new Reflector<string>({
    isOptional: false,
    isRestored: false,
    silenceMs: 90_000,
    random: () => 0.5,
    ...options,
  })
  let now = 0
  return {
    reflector,
    /** Hands in `input`, `ms` later. */
    at(ms: number, input: ReflectorInput<string>): Action[] {
      now += ms
      return reflector.handle(input, instant(now))
    },
    /** Lets the time of the next deadline come; how long that took and what was done. */
    wait(): { ms: number; actions: Action[] } {
      const ms = Number(reflector.deadline()) - now
      now += ms
      return { ms, actions: reflector.handle({ type: "timeout" }, instant(now)) }
    },
  }
}

function object(key: string, resourceVersion: string, value: string | undefined = key) {
  return { type: "object", key, object: value, resourceVersion } as const
}

function bookmark(resourceVersion: string, isInitialEnd = false) {
  return { type: "bookmark", resourceVersion, isInitialEnd } as const
}

function events(request: number, ...list: WatchEvent<string>[]): ReflectorInput<string> {
  return { type: "events", request, events: list }
}

function status(code: number, reason = "", retryAfterMs?: number): ApiFailure {
  return { kind: "status", code, reason, message: "", retryAfterMs }
}

const REFUSED: ApiFailure = { kind: "connection", reason: "ECONNREFUSED", message: "" }

function failed(request: number, failure: ApiFailure): ReflectorInput<string> {
  return { type: "failed", request, failure }
}

function page(request: number, keys: string[], resourceVersion: string, next = "") {
  const objects = keys.map((key) => ({ key, object: key }))
  return { type: "page", request, page: { objects, resourceVersion, next } } as const
}

function watch(request: number, resourceVersion: string): Action {
  const query = {
    watch: "true",
    allowWatchBookmarks: "true",
    timeoutSeconds: "450",
    resourceVersion,
  }
  return { type: "watch", request, query }
}

function stream(request: number): Action {
  const query = {
    watch: "true",
    allowWatchBookmarks: "true",
    timeoutSeconds: "450",
    sendInitialEvents: "true",
    resourceVersionMatch: "NotOlderThan",
  }
  return { type: "watch", request, query }
}

function list(request: number, query: Record<string, string> = { limit: "500" }): Action {
  return { type: "list", request, query }
}

/** Synced by a stream (request 1), with "a" at version 10. */
function watching(options: Partial<ReflectorOptions> = {}) {
  const its = bench(options)
  its.at(0, { type: "start" })
  its.at(0, { type: "opened", request: 1 })
  its.at(0, events(1, object("a", "7"), bookmark("10", true)))
  return its
}

describe("Reflector: the first state", () => {
  test("Reflector asks for state and changes in one stream and replaces when it is complete", () => {
    const { at, reflector } = bench()
    expect(at(0, { type: "start" })).toEqual([stream(1)])
    expect(at(5, { type: "opened", request: 1 })).toEqual([])
    expect(at(5, events(1, object("b", "9"), object("a", "7")))).toEqual([])
    expect(reflector.status()).toMatchObject({ state: "listing", isSynced: false })
    const last = events(1, object("c", "8"), bookmark("10", true), object("d", "11"))
    expect(at(5, last)).toEqual([
      {
        type: "replace",
        objects: new Map([
          ["b", "b"],
          ["a", "a"],
          ["c", "c"],
        ]),
      },
      { type: "apply", changes: [object("d", "11")] },
    ])
    expect(reflector.status()).toMatchObject({
      state: "watching",
      isSynced: true,
      resourceVersion: "11",
    })
  })

  test("Reflector does not take an ordinary bookmark for the end of the initial events", () => {
    const { at, reflector } = bench()
    at(0, { type: "start" })
    at(0, { type: "opened", request: 1 })
    expect(at(0, events(1, object("a", "7"), bookmark("8")))).toEqual([])
    expect(reflector.status().isSynced).toBe(false)
  })

  for (const code of [400, 405, 406, 415, 422, 501]) {
    test(`Reflector lists in pages, for good, when the stream is refused with ${code}`, () => {
      const { at } = bench()
      at(0, { type: "start" })
      expect(at(1, failed(1, status(code)))).toEqual([list(2)])
      expect(at(1, page(2, ["a"], "20", "more"))).toEqual([
        list(3, { limit: "500", continue: "more" }),
      ])
      expect(at(1, page(3, ["b"], "20"))).toEqual([
        {
          type: "replace",
          objects: new Map([
            ["a", "a"],
            ["b", "b"],
          ]),
        },
        watch(4, "20"),
      ])
      at(1, { type: "opened", request: 4 })
      expect(at(1, failed(4, status(410, "Expired")))).toEqual([list(5)])
    })
  }

  test("Reflector lists when a stream sends objects but never says that they are all", () => {
    const { at, wait } = bench()
    at(0, { type: "start" })
    at(0, { type: "opened", request: 1 })
    at(0, events(1, object("a", "7")))
    expect(wait()).toEqual({ ms: 20_000, actions: [{ type: "cancel", request: 1 }, list(2)] })
  })

  test("Reflector asks for fewer at a time when a page is too large for an answer", () => {
    const { at } = bench()
    const tooLarge: ApiFailure = { kind: "answer", reason: "too_large", message: "" }
    at(0, { type: "start" })
    at(1, failed(1, status(400)))
    at(1, page(2, ["a"], "20", "more"))
    expect(at(1, failed(3, tooLarge))).toEqual([list(4, { limit: "63" })])
    expect(at(1, failed(4, tooLarge))).toEqual([list(5, { limit: "8" })])
    expect(at(1, failed(5, tooLarge))).toEqual([list(6, { limit: "1" })])
    expect(at(1, failed(6, tooLarge))).toEqual([])
  })

  test("Reflector asks for all of it at once when a later page has expired", () => {
    const { at } = bench()
    at(0, { type: "start" })
    at(0, failed(1, status(422)))
    at(0, page(2, ["a"], "20", "more"))
    expect(at(0, failed(3, status(410, "Expired")))).toEqual([list(4, {})])
    expect(at(0, page(4, ["b"], "30"))[0]).toEqual({
      type: "replace",
      objects: new Map([["b", "b"]]),
    })
  })

  test("Reflector changes nothing when a list fails half-way", () => {
    const { at, wait } = bench()
    at(0, { type: "start" })
    at(0, failed(1, status(422)))
    at(0, page(2, ["a"], "20", "more"))
    expect(at(0, failed(3, status(500)))).toEqual([])
    expect(wait()).toEqual({ ms: 750, actions: [list(5)] })
    expect(at(0, page(5, ["b"], "30"))[0]).toEqual({
      type: "replace",
      objects: new Map([["b", "b"]]),
    })
  })

  test("Reflector lists after two streams that broke before their end", () => {
    const { at, wait } = bench()
    at(0, { type: "start" })
    at(0, { type: "opened", request: 1 })
    at(0, failed(1, { kind: "connection", reason: "ECONNRESET", message: "" }))
    expect(wait().actions).toEqual([stream(3)])
    at(0, failed(3, status(500)))
    expect(wait().actions).toEqual([list(5)])
  })

  test("Reflector goes on asking for a stream while the server is away", () => {
    const { at, wait } = bench()
    at(0, { type: "start" })
    const delays = [1, 3, 5, 7, 9, 11].map((request) => {
      at(0, failed(request, REFUSED))
      const { ms, actions } = wait()
      expect(actions).toEqual([stream(request + 2)])
      return ms
    })
    expect(delays).toEqual([750, 1500, 3000, 6000, 12_000, 12_000])
  })
})

describe("Reflector: a watch", () => {
  test("Reflector resumes from the last version after an orderly end, bookmarks included", () => {
    const { at } = watching()
    at(60_000, events(1, object("b", "12")))
    at(60_000, events(1, bookmark("40")))
    expect(at(60_000, { type: "ended", request: 1 })).toEqual([watch(2, "40")])
  })

  test("Reflector resumes at once after a cut, without a list", () => {
    const { at, reflector } = watching()
    const cut: ApiFailure = { kind: "connection", reason: "ECONNRESET", message: "" }
    expect(at(60_000, failed(1, cut))).toEqual([watch(2, "10")])
    expect(reflector.status()).toMatchObject({ state: "watching", failure: undefined })
  })

  test("Reflector backs off when a watch ends at once", () => {
    const { at, wait } = watching()
    expect(at(999, { type: "ended", request: 1 })).toEqual([])
    expect(wait()).toEqual({ ms: 750, actions: [watch(3, "10")] })
  })

  test("Reflector spreads the length of watches over five to ten minutes", () => {
    const lengths = [0, 0.25, 0.999].map((random) => {
      const [action] = bench({ random: () => random }).at(0, { type: "start" })
      return action?.type === "watch" ? action.query["timeoutSeconds"] : undefined
    })
    expect(lengths).toEqual(["300", "375", "599"])
  })

  test("Reflector applies what came before an expiry, then asks for everything", () => {
    const { at } = watching()
    const actions = at(
      60_000,
      events(1, object("b", "12"), { type: "error", failure: status(410, "Expired") }),
    )
    expect(actions).toEqual([
      { type: "apply", changes: [object("b", "12")] },
      { type: "cancel", request: 1 },
      stream(2),
    ])
  })

  test("Reflector asks for everything when a resumed watch is refused with 410", () => {
    const { at } = watching()
    at(60_000, { type: "ended", request: 1 })
    expect(at(1, failed(2, status(410, "Gone")))).toEqual([stream(3)])
  })

  test("Reflector asks for everything at once when the server that comes back knows no history", () => {
    const { at, wait } = watching()
    at(60_000, { type: "ended", request: 1 })
    at(1, failed(2, REFUSED))
    expect(wait().actions).toMatchObject([{ type: "watch", request: 4 }])
    expect(at(1, failed(4, status(410, "Expired")))).toEqual([stream(5)])
  })

  test("Reflector backs off when everything expires again and again", () => {
    const { at, wait } = watching()
    at(60_000, failed(1, status(410)))
    at(1, { type: "opened", request: 2 })
    at(1, events(2, object("a", "7"), bookmark("20", true)))
    expect(at(1, failed(2, status(410)))).toEqual([])
    expect(wait()).toEqual({ ms: 1500, actions: [stream(4)] })
  })

  const PATIENT: readonly (readonly [string, ApiFailure, number])[] = [
    ["429", status(429, "TooManyRequests"), 750],
    ["429 with Retry-After", status(429, "TooManyRequests", 7000), 7000],
    ["a Retry-After shorter than the back-off", status(429, "TooManyRequests", 100), 750],
    ["500", status(500, "InternalError"), 750],
    ["503", status(503, "ServiceUnavailable"), 750],
    ["401", status(401, "Unauthorized"), 750],
    ["a refused connection", REFUSED, 750],
  ]
  for (const [name, failure, ms] of PATIENT) {
    test(`Reflector backs off without a list after ${name}`, () => {
      const { at, wait, reflector } = watching()
      at(60_000, { type: "ended", request: 1 })
      expect(at(1, failed(2, failure))).toEqual([])
      expect(reflector.status()).toMatchObject({ state: "retrying", isSynced: true, failure })
      expect(wait()).toEqual({ ms, actions: [watch(4, "10")] })
    })
  }

  test("Reflector asks for everything when the server fails the same watch eight times", () => {
    const { at, wait } = watching()
    at(60_000, { type: "ended", request: 1 })
    let request = 2
    for (let count = 1; count < 8; count++) {
      at(1, failed(request, status(500)))
      expect(wait().actions).toEqual([watch(request + 2, "10")])
      request += 2
    }
    at(1, failed(request, status(500)))
    expect(wait().actions).toEqual([stream(request + 2)])
  })

  test("Reflector asks for everything, soon, when its version is not one of this server's", () => {
    const { at, wait } = watching()
    at(60_000, { type: "ended", request: 1 })
    at(1, failed(2, status(400, "BadRequest")))
    expect(wait().actions).toEqual([stream(4)])
  })

  test("Reflector starts its back-off anew when a watch has gone well", () => {
    const { at, wait } = watching()
    at(60_000, failed(1, status(500)))
    expect(wait().ms).toBe(750)
    at(1, failed(3, status(500)))
    expect(wait().ms).toBe(1500)
    at(1, { type: "opened", request: 5 })
    at(1, events(5, bookmark("11")))
    at(1, events(5, bookmark("12")))
    at(1, failed(5, status(500)))
    expect(wait().ms).toBe(750)
  })

  test("Reflector gives up a watch that has been silent too long and resumes", () => {
    const { at, wait } = watching()
    at(50_000, events(1, bookmark("11")))
    expect(wait()).toEqual({
      ms: 90_000,
      actions: [{ type: "cancel", request: 1 }, watch(2, "11")],
    })
  })

  test("Reflector asks for everything when a resumed watch brings nothing at all", () => {
    const { at, wait } = watching()
    expect(wait().actions).toEqual([{ type: "cancel", request: 1 }, watch(2, "10")])
    at(1, { type: "opened", request: 2 })
    expect(wait().actions).toEqual([{ type: "cancel", request: 2 }, stream(3)])
  })

  test("Reflector resumes again when the watch before brought something", () => {
    const { at, wait } = watching()
    wait()
    at(1, { type: "opened", request: 2 })
    at(1, events(2, bookmark("11")))
    expect(wait().actions).toEqual([{ type: "cancel", request: 2 }, watch(3, "11")])
    at(1, { type: "opened", request: 3 })
    expect(wait().actions).toEqual([{ type: "cancel", request: 3 }, stream(4)])
  })

  test("Reflector gives up a watch that is not answered, waiting longer each time", () => {
    const { at, wait, reflector } = watching()
    at(60_000, { type: "ended", request: 1 })
    expect(wait()).toEqual({ ms: 10_000, actions: [{ type: "cancel", request: 2 }] })
    expect(reflector.status().failure).toEqual({ kind: "timeout", afterMs: 10_000 })
    expect(wait()).toEqual({ ms: 750, actions: [watch(4, "10")] })
    expect(wait().ms).toBe(20_000)
  })

  test("Reflector ignores what still comes of a request it gave up", () => {
    const { at, wait } = watching()
    wait()
    expect(at(0, events(1, object("late", "99")))).toEqual([])
    expect(at(0, failed(1, REFUSED))).toEqual([])
    expect(at(0, page(1, [], "99"))).toEqual([])
  })

  test("Reflector asks for everything when the server's versions have gone back", () => {
    const { at } = watching()
    expect(at(60_000, events(1, bookmark("9")))).toEqual([
      { type: "cancel", request: 1 },
      stream(2),
    ])
  })

  test("Reflector asks again at once when told that the server is back", () => {
    const { at } = watching()
    at(60_000, { type: "ended", request: 1 })
    at(1, failed(2, REFUSED))
    expect(at(1, { type: "retry" })).toEqual([watch(4, "10")])
    at(1, failed(4, status(429, "", 7000)))
    expect(at(1, { type: "retry" })).toEqual([])
  })

  test("Reflector cancels its request when stopped, and can start again", () => {
    const { at } = watching()
    expect(at(0, { type: "stop" })).toEqual([{ type: "cancel", request: 1 }])
    expect(at(0, { type: "stop" })).toEqual([])
    expect(at(0, { type: "start" })).toEqual([stream(3)])
  })
})

describe("Reflector: resources that are not there or not allowed", () => {
  test("Reflector takes an optional resource that is not found for empty and looks again", () => {
    const { at, wait, reflector } = bench({ isOptional: true })
    at(0, { type: "start" })
    expect(at(0, failed(1, status(404)))).toEqual([{ type: "replace", objects: new Map() }])
    expect(reflector.status()).toMatchObject({ state: "absent", isSynced: true })
    expect(wait()).toEqual({ ms: 67_500, actions: [stream(3)] })
    expect(at(0, failed(3, status(404)))).toEqual([])
    wait()
    at(0, { type: "opened", request: 5 })
    expect(at(0, events(5, bookmark("3", true)))).toHaveLength(1)
    expect(reflector.status().state).toBe("watching")
  })

  test("Reflector believes that a known resource has gone when it is told so twice", () => {
    const { at, wait, reflector } = watching({ isOptional: true })
    at(60_000, { type: "ended", request: 1 })
    expect(at(0, failed(2, status(404)))).toEqual([])
    expect(reflector.status()).toMatchObject({ state: "retrying" })
    expect(wait()).toEqual({ ms: 10_000, actions: [watch(4, "10")] })
    expect(at(0, failed(4, status(404)))).toEqual([{ type: "replace", objects: new Map() }])
    expect(reflector.status()).toMatchObject({ state: "absent" })
  })

  test("Reflector doubts a first 404 where objects are known from an earlier run", () => {
    const { at, wait } = bench({ isOptional: true, isRestored: true })
    at(0, { type: "start" })
    expect(at(0, failed(1, status(404)))).toEqual([])
    expect(wait()).toEqual({ ms: 10_000, actions: [stream(3)] })
    expect(at(0, failed(3, status(404)))).toEqual([{ type: "replace", objects: new Map() }])
  })

  test("Reflector keeps the state of a needed resource that is not found", () => {
    const { at, wait, reflector } = watching()
    at(60_000, { type: "ended", request: 1 })
    expect(at(0, failed(2, status(404)))).toEqual([])
    expect(reflector.status()).toMatchObject({ state: "retrying" })
    expect(wait().actions).toEqual([stream(4)])
  })

  test("Reflector keeps what it knows when access is denied, and asks slowly", () => {
    const { at, wait, reflector } = watching()
    at(60_000, { type: "ended", request: 1 })
    expect(at(0, failed(2, status(403, "Forbidden")))).toEqual([])
    expect(reflector.status()).toMatchObject({ state: "forbidden", isSynced: true })
    expect(wait()).toEqual({ ms: 45_000, actions: [watch(4, "10")] })
  })

  test("Reflector is not synced while the first state is denied", () => {
    const { at, wait, reflector } = bench()
    at(0, { type: "start" })
    at(0, failed(1, status(403, "Forbidden")))
    expect(reflector.status()).toMatchObject({ state: "forbidden", isSynced: false })
    expect(wait()).toEqual({ ms: 45_000, actions: [stream(3)] })
  })
})
