/** What the exchange reads of a route: filters, fields, limits. */
import { describe, expect, test } from "bun:test"
import { decide, forwarded, requestHead, route, routeTable } from "./fixtures/routing.ts"
import type { Route } from "./route.ts"

function compiled(keys: string): Route {
  return forwarded(decide(routeTable(route("a", keys)), "/")).route
}

/** Names of fields that go on to the server. */
function kept({ requestFilter }: Route, fields: readonly string[]): string[] {
  const head = requestHead("/", fields)
  const indexes = Array.from({ length: head.fieldCount }, (_, index) => index)
  return indexes
    .filter((index) => requestFilter.keeps(head, index, undefined))
    .map((index) => head.name(index))
}

test("a bare route adds nothing, and leaves out Host and forwarding fields, which others write", () => {
  const bare = compiled("")
  expect(bare).toMatchObject({
    host: undefined,
    requestFields: "",
    responseFields: "",
    firstByteMs: 60_000,
    maxBodyBytes: 0,
    retryStatuses: [],
    retryAttempts: 0,
    mirror: "",
    stickyFields: undefined,
  })
  const fields = [
    "X-Forwarded-For: 1",
    "X-Request-ID: 2",
    "Forwarded: for=x",
    "X-A: 1",
    "Cookie: a",
  ]
  expect(kept(bare, fields)).toEqual(["x-a", "cookie"])
})

describe("headers", () => {
  const changed = compiled(
    'set_headers = { X-A = "1", Cookie = "c=1" }; add_headers = { X-B = ["2", "3"] }; ' +
      'remove_headers = ["X-C", "Origin"]; set_response_headers = { X-D = "4" }; ' +
      'remove_response_headers = ["Server"]',
  )

  test("that are set replace those of the client; those that are added do not", () => {
    const fields = ["x-a: 0", "X-B: 0", "X-C: 0", "Origin: x", "Cookie: x", "X-Other: 0"]
    expect(kept(changed, fields)).toEqual(["x-b", "x-other"])
    expect(changed.requestFields).toBe("X-A: 1\r\nCookie: c=1\r\nX-B: 2\r\nX-B: 3\r\n")
    expect(changed.responseFields).toBe("X-D: 4\r\n")
  })

  test("Host is said apart, because the exchange writes it", () => {
    const one = compiled('set_headers = { host = "internal:81", X-A = "1" }')
    expect([one.host, one.requestFields]).toEqual(["internal:81", "X-A: 1\r\n"])
  })

  test("copied by forward_auth never come from the client", () => {
    const config = 'forward_auth = { pool = "b", copy_headers = ["X-User"] }'
    const table = routeTable(route("a", config))
    const decision = decide(table, "/")
    if (decision.type !== "respond" || decision.route === undefined) throw new Error("No question")
    expect(kept(decision.route, ["X-User: admin", "X-A: 1"])).toEqual(["x-a"])
  })
})

test("limits and time limits are the route's", () => {
  const limited = compiled(
    'timeout = "3s"; max_body = "1KiB"; mirror = "b"; retry = { on = [502, 503], attempts = 2 }',
  )
  expect(limited).toMatchObject({
    firstByteMs: 3000,
    maxBodyBytes: 1024,
    mirror: "b",
    retryStatuses: [502, 503],
    retryAttempts: 2,
  })
})
