/**
 * The stream part: TCP through HAProxy (mode tcp), nginx (stream module) and Causeway.
 *
 * Memory first, on fresh processes; then, with all three running, equal answers are asserted, the
 * timed cases take their rounds, and at last system calls are counted in an untimed pass.
 */
import { type Arena, arenaPids, BULK_PATH, ORIGIN_ADDRESS, SMALL_PATH, WEB_PORT } from "./arena.ts"
import { COLUMNS, type Contender, startContender } from "./contender.ts"
import { Disturbance } from "./disturbance.ts"
import { SMALL_REQUEST, wrk } from "./load.ts"
import { measureMemory } from "./memory.ts"
import type { PartResult } from "./report.ts"
import { type Entrant, runRounds } from "./rounds.ts"
import type { Settings } from "./settings.ts"
import { entrantsOf, streamCases } from "./stream-cases.ts"
import { endpointOf, STREAM_CONFIGURATIONS } from "./stream-configurations.ts"
import { countSyscalls, describeSyscalls } from "./syscalls.ts"

export async function runStreamPart(
  arena: Arena,
  settings: Settings,
  say: (line: string) => void,
): Promise<PartResult> {
  say("stream: memory of idle connections")
  const memory = await measureMemory(arena, settings, {
    id: "stream",
    configurations: STREAM_CONFIGURATIONS,
    targetOf: (column) => endpointOf(column, "web"),
    load: {},
    request: SMALL_REQUEST,
  })
  const contenders = await startAll(arena)
  const plain = entrantsOf(contenders, "web")
  await assertEqualAnswers(arena, [...plain, ...entrantsOf(contenders, "web-tuned")])
  const { cases, pacedRate } = streamCases(arena, contenders, settings)
  const disturbance = new Disturbance(() => arenaPids(arena), 1000 * settings.patienceSeconds)
  await runRounds(cases, settings, disturbance, (round) =>
    say(round < 0 ? "stream: warming up" : `stream: round ${round + 1} of ${settings.rounds}`),
  )
  say("stream: counting system calls")
  const notes = [
    `fixed rate: ${pacedRate()} requests/s`,
    disturbance.describe(),
    ...(await syscallNotes(arena, plain)),
  ]
  for (const contender of contenders) await contender.stop()
  return { title: "stream", rows: [...cases.flatMap(({ rows }) => rows), ...memory], notes }
}

async function startAll({ edge }: Arena): Promise<Contender[]> {
  const contenders: Contender[] = []
  for (const column of COLUMNS) {
    contenders.push(await startContender(edge, column, STREAM_CONFIGURATIONS))
  }
  return contenders
}

/** The small answer and the hash of the large one are those of the origin itself. */
async function assertEqualAnswers(arena: Arena, all: readonly Entrant[]): Promise<void> {
  const answer = (target: string) => [
    "bash",
    "-c",
    `curl -sSi http://${target}${SMALL_PATH} | grep -v ^Date:
     curl -sS http://${target}${BULK_PATH} | sha256sum`,
  ]
  const expected = await arena.edge.exec(answer(`${ORIGIN_ADDRESS}:${WEB_PORT}`))
  for (const { contender, target, label } of all) {
    const got = await arena.client.exec(answer(target))
    const who = `${contender.column} ${label}`
    if (got !== expected) throw new Error(`${who} answers\n${got}\ninstead of\n${expected}`)
  }
}

async function syscallNotes(arena: Arena, all: readonly Entrant[]): Promise<string[]> {
  const notes: string[] = []
  for (const [unit, close] of [
    ["request", false],
    ["connection", true],
  ] as const) {
    notes.push(`system calls per ${unit}`)
    for (const { contender, target } of all) {
      let requests = 0
      const counts = await countSyscalls(arena.edge, contender.pids, async () => {
        const result = await wrk(arena.client, target, { seconds: 1, connections: 50, close })
        requests = result.requests
      })
      notes.push(`  ${contender.column.padEnd(10)}${describeSyscalls(counts, requests)}`)
    }
  }
  return notes
}
