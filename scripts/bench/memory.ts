/**
 * Memory of idle connections: how much a fresh process grows while a number of clients, each having
 * had one request answered, sit on their connections and say nothing.
 *
 * Each sample has a process of its own: allocators keep what they once had, so that a second growth
 * of the same process would show next to nothing. The kernel's part (socket buffers) is the same
 * for all and not counted.
 */
import { pssBytes } from "./accounting.ts"
import type { Arena } from "./arena.ts"
import { COLUMNS, type Column, startContender } from "./contender.ts"
import { holdIdle, SMALL_REQUEST, wrk } from "./load.ts"
import { newRow, type Row } from "./report.ts"
import type { Settings } from "./settings.ts"
import { endpointOf, STREAM_CONFIGURATIONS } from "./stream-configurations.ts"

export async function measureMemory(arena: Arena, settings: Settings): Promise<Row[]> {
  const columns = COLUMNS.map((column) => ({ contender: { column }, label: "" }))
  const growth = newRow(columns, {
    id: "stream.idle.memory",
    title: "memory per idle connection",
    unit: "KiB",
  })
  const rest = newRow(columns, {
    id: "stream.rest.memory",
    title: "memory without connections",
    unit: "MiB",
  })
  for (let round = 0; round < settings.memoryRounds; round += 1) {
    for (const [index, column] of COLUMNS.entries()) {
      const sample = await measureOne(arena, column, settings.idleConnections)
      growth.series[index]?.samples.push(sample.growthBytes / settings.idleConnections / 1024)
      rest.series[index]?.samples.push(sample.restBytes / 1024 ** 2)
    }
  }
  return [growth, rest]
}

async function measureOne(
  { client, edge }: Arena,
  column: Column,
  connections: number,
): Promise<{ restBytes: number; growthBytes: number }> {
  const contender = await startContender(edge, column, STREAM_CONFIGURATIONS)
  const target = endpointOf(column, "web")
  // What a first load allocates once (code, pools, heap) is not the connections'.
  await wrk(client, target, { seconds: 1, connections: 50 })
  await Bun.sleep(SETTLE_MS)
  const restBytes = pssBytes(contender.pids)
  const holder = await holdIdle(client, { target, connections, request: SMALL_REQUEST })
  await Bun.sleep(SETTLE_MS)
  if (!holder.running) throw new Error(`${column} did not keep ${connections} idle connections`)
  const growthBytes = pssBytes(contender.pids) - restBytes
  await holder.stop()
  await contender.stop()
  return { restBytes, growthBytes }
}

const SETTLE_MS = 500
