import { expect, test } from "bun:test"
import { CounterTable, doublesIn } from "../metrics/counter-table.ts"
import { countRequest, HTTP_COLUMNS, type HttpColumn, httpCounters } from "./counters.ts"

test("countRequest() counts the status by class and the duration by bound", () => {
  const table = httpCounters(doublesIn(CounterTable.allocate(HTTP_COLUMNS.width, 256)))
  const requests = [
    [200, 1],
    [404, 1.5],
    [503, 10_001],
    [999, 10_000],
    [101, 0],
    [0, 7], // the client has left before there was one
  ] as const
  for (const [status, durationMs] of requests) countRequest(table, 3, { status, durationMs })
  const columns: readonly HttpColumn[] = [
    ...(["requests", "status1xx", "status2xx", "status3xx", "status4xx", "status5xx"] as const),
    ...(["durationMsTotal", "duration0", "duration1", "duration2", "duration11"] as const),
    "duration12",
  ]
  expect(columns.map((column) => table.get(3, column))).toEqual([
    6, 1, 1, 0, 1, 2, 20_010.5, 2, 1, 1, 1, 1,
  ])
  expect(table.get(2, "requests") + table.get(4, "requests")).toBe(0)
})
