import { describe, expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import { EventSeries } from "./event-series.ts"
import type { Write } from "./writes.ts"

function eventOf(message: string, name = "web"): Write & { type: "event" } {
  const about = { kind: "Service" as const, namespace: "shop", name, uid: "u-1" }
  return { type: "event", about, severity: "Warning", reason: "AllocationFailed", message }
}

const times = { epochMs: Date.UTC(2026, 0, 1), suffix: "4f2a" }

describe("EventSeries", () => {
  test("makes an Event that kubectl describe shows with the Service", () => {
    expect(new EventSeries("edge-a").request(eventOf("full"), instant(0), times)).toEqual({
      type: "create",
      namespace: "shop",
      object: {
        apiVersion: "v1",
        kind: "Event",
        metadata: { namespace: "shop", name: "web.4f2a1" },
        involvedObject: {
          apiVersion: "v1",
          kind: "Service",
          namespace: "shop",
          name: "web",
          uid: "u-1",
        },
        type: "Warning",
        reason: "AllocationFailed",
        message: "full",
        source: { component: "causeway", host: "edge-a" },
        reportingComponent: "causeway",
        reportingInstance: "edge-a",
        firstTimestamp: "2026-01-01T00:00:00Z",
        lastTimestamp: "2026-01-01T00:00:00Z",
        count: 1,
      },
    })
  })

  test("counts the same Event for ten minutes, then makes another", () => {
    const series = new EventSeries("edge-a")
    series.request(eventOf("full"), instant(0), times)
    const later = { ...times, epochMs: times.epochMs + 1000 }
    expect(series.request(eventOf("full"), instant(1000), later)).toEqual({
      type: "patch",
      namespace: "shop",
      name: "web.4f2a1",
      patch: { count: 2, lastTimestamp: "2026-01-01T00:00:01Z" },
    })
    expect(series.request(eventOf("full"), instant(600_000), times).type).toBe("create")
  })

  test("makes 25 about one object in that time and no more", () => {
    const series = new EventSeries("edge-a")
    const types = Array.from({ length: 26 }, (_, at) => {
      return series.request(eventOf(`${at}`), instant(0), times).type
    })
    expect(types.filter((type) => type === "create")).toHaveLength(25)
    expect(types[25]).toBe("dropped")
  })

  test("has a valid name for an object whose own is as long as can be", () => {
    const name = `${"a".repeat(199)}-${"b".repeat(53)}`
    const request = new EventSeries("edge-a").request(eventOf("x", name), instant(0), times)
    const object = request.type === "create" ? request.object : undefined
    const { metadata } = object as { readonly metadata: { readonly name: string } }
    expect(metadata.name).toBe(`${"a".repeat(199)}.4f2a1`)
  })
})
