/** The analysis by which other tests judge captures: it must see two Active Routers at once. */
import { describe, expect, test } from "bun:test"
import { type Advert, overlaps, tenures, transitions } from "./adverts.ts"

const INTERVAL_MS = 100

/** Adverts of `source` every 100 ms from `fromMs` to `toMs`, and a farewell at `farewellMs`. */
function series(source: string, fromMs: number, toMs: number, farewellMs?: number): Advert[] {
  const adverts: Advert[] = []
  for (let atMs = fromMs; atMs <= toMs; atMs += INTERVAL_MS) {
    adverts.push({ atMs, source, priority: 100 })
  }
  if (farewellMs === undefined) return adverts
  return [...adverts, { atMs: farewellMs, source, priority: 0 }]
}

function judge(...all: readonly Advert[][]) {
  const found = tenures(all.flat(), INTERVAL_MS)
  return { transitions: transitions(found), overlapsMs: overlaps(found).map(({ ms }) => ms) }
}

describe("overlaps() of tenures() is nothing when", () => {
  test.each([
    ["one crashes and the other takes over", series("a", 0, 500), series("b", 860, 2_000)],
    ["one says farewell", series("a", 0, 500, 540), series("b", 600, 2_000)],
    ["one is preempted", series("a", 0, 500), series("b", 510, 2_000)],
  ])("%s", (_, first, second) => {
    expect(judge(first, second)).toEqual({ transitions: 1, overlapsMs: [] })
  })

  test("each takes its turn several times", () => {
    const all = [
      series("a", 0, 500),
      series("b", 860, 1_500),
      series("a", 1_510, 2_000, 2_040),
      series("b", 2_100, 3_000),
    ]
    expect(judge(...all)).toEqual({ transitions: 3, overlapsMs: [] })
  })
})

describe("overlaps() of tenures() is how long both were Active when", () => {
  test.each([
    [
      "the last advert crosses the preemptor's first",
      [series("a", 0, 500), series("b", 450, 900)],
      [50],
    ],
    ["both go on for three intervals", [series("a", 0, 800), series("b", 450, 2_000)], [350]],
    [
      "one comes and goes within the other's time",
      [series("a", 0, 2_000), series("b", 450, 750)],
      [300],
    ],
    [
      "the farewell comes long after the successor",
      [series("a", 0, 500, 690), series("b", 510, 900)],
      [180],
    ],
    [
      "one wakes after the takeover and fights",
      [series("a", 0, 500), series("b", 860, 2_000), series("a", 1_200, 1_500)],
      [300],
    ],
  ])("%s", (_, all, expectedMs) => {
    expect(judge(...all).overlapsMs).toEqual(expectedMs)
  })
})

test("tenures() breaks a series at a silence of two intervals", () => {
  expect(tenures([...series("a", 0, 200), ...series("a", 399, 500)], INTERVAL_MS)).toEqual([
    { source: "a", fromMs: 0, toMs: 499 },
  ])
  expect(tenures([...series("a", 0, 200), ...series("a", 400, 500)], INTERVAL_MS)).toEqual([
    { source: "a", fromMs: 0, toMs: 200 },
    { source: "a", fromMs: 400, toMs: 500 },
  ])
})
