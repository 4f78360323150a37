import { describe, expect, test } from "bun:test"
import { type Instant, instant } from "../../net/time.ts"
import type { Json, Write } from "../writes.ts"
import type { ApiResult } from "./api-client.ts"
import { Writer } from "./writer.ts"

const DONE: ApiResult = { ok: true, value: {} }

class Bench {
  readonly calls: unknown[][] = []
  readonly refusals: string[] = []
  isHolder = true
  now: Instant = instant(0)
  readonly #answers: ((result: ApiResult) => void)[] = []
  readonly writer = new Writer({
    client: {
      create: async (path, object) => await this.#call("create", path, object),
      patch: async (path, patch, options) =>
        await this.#call(options?.type ?? "merge", path, patch),
      delete: async (path, options) => await this.#call("delete", path, options?.uid),
    },
    mayWrite: () => this.isHolder,
    onRefused: (message) => this.refusals.push(message),
    node: "edge-a",
    suffix: "f",
    now: () => this.now,
    epochMs: () => Date.UTC(2026, 0, 1),
  })

  async #call(...call: unknown[]): Promise<ApiResult> {
    this.calls.push(call)
    const { promise, resolve } = Promise.withResolvers<ApiResult>()
    this.#answers.push(resolve)
    return await promise
  }

  /** Answers the oldest request and lets the writer act on it. */
  async answer(result: ApiResult = DONE): Promise<void> {
    this.#answers.shift()?.(result)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function patchOf(name: string, patch: Json, format?: "strategic"): Write {
  const place = { resource: "services", namespace: "shop", name, subresource: "status" } as const
  return { type: "patch", ...place, resourceVersion: "7", patch, ...(format ? { format } : {}) }
}

describe("Writer", () => {
  test("puts the version into the patch and sends it where it belongs", async () => {
    const bench = new Bench()
    bench.writer.push([
      patchOf("web", { status: {} }, "strategic"),
      { type: "create", resource: "services", namespace: "shop", name: "x", object: { a: 1 } },
      { type: "delete", resource: "endpointslices", namespace: "shop", name: "y", uid: "u" },
    ])
    expect(bench.calls).toEqual([
      [
        "strategic",
        "/api/v1/namespaces/shop/services/web/status",
        { status: {}, metadata: { resourceVersion: "7" } },
      ],
      ["create", "/api/v1/namespaces/shop/services", { a: 1 }],
      ["delete", "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/y", "u"],
    ])
    for (const _ of bench.calls) await bench.answer()
    expect(bench.writer.status()).toMatchObject({ written: 3, inFlight: 0 })
  })

  test("creates an Event once and then counts it", async () => {
    const bench = new Bench()
    const about = { kind: "Service" as const, namespace: "shop", name: "web", uid: "u" }
    const event: Write = { type: "event", about, severity: "Normal", reason: "R", message: "m" }
    bench.writer.push([event, event])
    expect(bench.calls.map(([verb, path]) => [verb, path])).toEqual([
      ["create", "/api/v1/namespaces/shop/events"],
      ["merge", "/api/v1/namespaces/shop/events/web.f1"],
    ])
    await bench.answer()
    await bench.answer()
  })

  test("sends nothing when it does not hold the Lease, and forgets what it had", async () => {
    const bench = new Bench()
    bench.writer.push([patchOf("a", {})])
    bench.writer.push([patchOf("a", { second: true })])
    bench.isHolder = false
    await bench.answer()
    bench.isHolder = true
    bench.writer.push([])
    expect(bench.calls).toHaveLength(1)
    expect(bench.writer.status().queued).toBe(0)
    bench.isHolder = false
    bench.writer.push([patchOf("b", {})])
    expect(bench.calls).toHaveLength(1)
  })

  test("tells of what the server refuses", async () => {
    const bench = new Bench()
    bench.writer.push([patchOf("a", {})])
    const failure = { kind: "status", code: 403, reason: "Forbidden", message: "" } as const
    await bench.answer({ ok: false, failure: { ...failure, retryAfterMs: undefined } })
    expect(bench.refusals).toEqual([
      "Cannot patch services/status for shop/a: 403 Forbidden; " +
        'the role lacks "patch services/status"',
    ])
  })
})
