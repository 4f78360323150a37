import { describe, expect, test } from "bun:test"
import { formatExposition } from "./exposition.ts"

describe("formatExposition()", () => {
  test("writes help, type and samples of each family", () => {
    const text = formatExposition([
      {
        name: "causeway_stream_bytes_total",
        help: "Payload by direction",
        type: "counter",
        samples: [
          { labels: { stream: "db", direction: "in" }, value: 28_991_029_248 },
          { labels: { stream: "db", direction: "out" }, value: 0.5 },
        ],
      },
      { name: "causeway_ready", help: "Ready", type: "gauge", samples: [{ value: 1 }] },
    ])
    expect(text).toBe(
      [
        "# HELP causeway_stream_bytes_total Payload by direction",
        "# TYPE causeway_stream_bytes_total counter",
        'causeway_stream_bytes_total{stream="db",direction="in"} 28991029248',
        'causeway_stream_bytes_total{stream="db",direction="out"} 0.5',
        "# HELP causeway_ready Ready",
        "# TYPE causeway_ready gauge",
        "causeway_ready 1",
        "",
      ].join("\n"),
    )
  })

  test("escapes backslash, quote and line end", () => {
    const samples = [{ labels: { reason: 'a"b\\c\nd' }, value: 1 }]
    expect(formatExposition([{ name: "m", help: "x\\y\nz", type: "gauge", samples }])).toBe(
      '# HELP m x\\\\y\\nz\n# TYPE m gauge\nm{reason="a\\"b\\\\c\\nd"} 1\n',
    )
  })

  test("writes numbers as Prometheus reads them", () => {
    const samples = [1e21, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map(
      (value, index) => ({ labels: { i: String(index) }, value }),
    )
    const text = formatExposition([{ name: "m", help: "h", type: "gauge", samples }])
    expect(text).toBe(
      '# HELP m h\n# TYPE m gauge\nm{i="0"} 1e+21\nm{i="1"} +Inf\nm{i="2"} -Inf\nm{i="3"} NaN\n',
    )
  })

  test("leaves out a family without samples", () => {
    expect(formatExposition([{ name: "m", help: "h", type: "gauge", samples: [] }])).toBe("")
  })
})
