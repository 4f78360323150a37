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
import { COLUMNS, type Column, type Configurations, startContender } from "./contender.ts"
import { holdIdle, type WrkOptions, wrk } from "./load.ts"
import { newRow, type Row } from "./report.ts"
import type { Settings } from "./settings.ts"

/** Whose memory: a part of the benchmark. */
export interface MemorySubject {
  /** First word of the rows' ids. */
  readonly id: string
  readonly configurations: Configurations
  readonly targetOf: (column: Column) => string
  /** The first load of a fresh process. */
  readonly load: Pick<WrkOptions, "host" | "path">
  /** What each client has answered. */
  readonly request: string
  readonly growthTarget?: Pick<Row, "ratioMax" | "peer">
}

export async function measureMemory(
  arena: Arena,
  settings: Settings,
  subject: MemorySubject,
): Promise<Row[]> {
  const columns = COLUMNS.map((column) => ({ contender: { column }, label: "" }))
  const growth = newRow(columns, {
    ...subject.growthTarget,
    id: `${subject.id}.idle.memory`,
    title: "memory per idle connection",
    unit: "KiB",
  })
  const rest = newRow(columns, {
    id: `${subject.id}.rest.memory`,
    title: "memory without connections",
    unit: "MiB",
  })
  const connections = settings.idleConnections
  for (let round = 0; round < settings.memoryRounds; round += 1) {
    for (const [index, column] of COLUMNS.entries()) {
      const sample = await measureOne(arena, subject, { ...settings, column, connections })
      growth.series[index]?.samples.push(sample.growthBytes / connections / 1024)
      rest.series[index]?.samples.push(sample.restBytes / 1024 ** 2)
    }
  }
  return [growth, rest]
}

async function measureOne(
  { client, edge }: Arena,
  { configurations, targetOf, load, request }: MemorySubject,
  { column, connections, restMs }: { column: Column; connections: number; restMs: number },
): Promise<{ restBytes: number; growthBytes: number }> {
  const contender = await startContender(edge, column, configurations)
  const target = targetOf(column)
  // What a first load allocates once (code, pools, heap) is not the connections'.
  await wrk(client, target, { seconds: 1, connections: 50, ...load })
  await Bun.sleep(restMs)
  const restBytes = pssBytes(contender.pids)
  const holder = await holdIdle(client, { target, connections, request })
  await Bun.sleep(restMs)
  if (!holder.running) throw new Error(`${column} did not keep ${connections} idle connections`)
  const growthBytes = pssBytes(contender.pids) - restBytes
  await holder.stop()
  await contender.stop()
  return { restBytes, growthBytes }
}
