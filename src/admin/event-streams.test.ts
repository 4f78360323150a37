import { describe, expect, test } from "bun:test"
import type { StatusEvent } from "./backend.ts"
import { EventStreams, formatEvent } from "./event-streams.ts"
import { SampleBackend } from "./fixtures/sample-backend.ts"

const EVENT: StatusEvent = {
  time: "2026-03-14T09:26:53.000Z",
  type: "vrrp",
  message: "Virtual router changed",
  fields: { name: "edge", state: "active", reason: "line one\nline two" },
}

function openReader(streams: EventStreams) {
  const reader = streams.open()?.body?.getReader()
  if (reader === undefined) throw new Error("no stream")
  return { reader, next: async () => new TextDecoder().decode((await reader.read()).value) }
}

describe("formatEvent()", () => {
  test("puts the event on one data line", () => {
    expect(formatEvent(EVENT)).toBe(
      'event: vrrp\ndata: {"time":"2026-03-14T09:26:53.000Z","type":"vrrp",' +
        '"message":"Virtual router changed",' +
        '"fields":{"name":"edge","state":"active","reason":"line one\\nline two"}}\n\n',
    )
  })
})

describe("EventStreams", () => {
  test("sends a comment at once, then every event to every stream", async () => {
    const backend = new SampleBackend()
    const streams = new EventStreams(backend)
    const first = openReader(streams)
    const second = openReader(streams)
    expect(await first.next()).toBe(": causeway\n\n")
    expect(await second.next()).toBe(": causeway\n\n")
    backend.emit(EVENT)
    expect(await first.next()).toBe(formatEvent(EVENT))
    expect(await second.next()).toBe(formatEvent(EVENT))
    streams.close()
  })

  test("subscribes only while a stream is open", async () => {
    const backend = new SampleBackend()
    const streams = new EventStreams(backend)
    expect(backend.subscribers).toBe(0)
    const { reader } = openReader(streams)
    expect(backend.subscribers).toBe(1)
    await reader.cancel()
    expect(backend.subscribers).toBe(0)
    expect(streams.size).toBe(0)
  })

  test("ends the stream of a client that does not read", async () => {
    const backend = new SampleBackend()
    const streams = new EventStreams(backend)
    const lazy = openReader(streams)
    const big = { ...EVENT, message: "x".repeat(100_000) }
    for (let sent = 0; sent < 3; sent++) backend.emit(big)
    expect(streams.size).toBe(0)
    // What was queued before is still there, then the stream is over.
    let bytes = 0
    for (let part = await lazy.reader.read(); !part.done; part = await lazy.reader.read()) {
      bytes += part.value.length
    }
    expect(bytes).toBeGreaterThan(200_000)
    expect(bytes).toBeLessThanOrEqual(256 * 1024)
  })

  test("opens 32 streams and not one more", () => {
    const streams = new EventStreams(new SampleBackend())
    for (let opened = 0; opened < 32; opened++) expect(streams.open()).toBeDefined()
    expect(streams.open()).toBeUndefined()
    streams.close()
    expect(streams.open()).toBeDefined()
    streams.close()
  })
})
