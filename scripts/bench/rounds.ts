/**
 * Fair turns: in every round each entrant is measured once per case, one directly after another,
 * and the order rotates from round to round. A slow drift of the machine (temperature, a neighbour)
 * meets all alike, and nobody always runs first after another's mess.
 */
import { cpuNsBetween, readCpu } from "./accounting.ts"
import type { Contender } from "./contender.ts"
import type { Disturbance } from "./disturbance.ts"
import type { Row } from "./report.ts"

/** A program in one setting, and where a client finds it. */
export interface Entrant {
  readonly contender: Contender
  /** ADDRESS:PORT */
  readonly target: string
  /** Of the setting; empty for the ordinary one. */
  readonly label: string
}

/** One load; a sample of it gives a figure for each of its rows. */
export interface Case {
  readonly entrants: readonly Entrant[]
  readonly rows: readonly Row[]
  /** Loads one entrant once. `round` is 0, 1, …; negative while warming up. */
  measure(entrant: Entrant, round: number): Promise<readonly number[]>
}

export interface Rounds {
  readonly rounds: number
  /** Before the first that counts. */
  readonly warmUpRounds: number
}

/** Runs all cases and books their figures. `onRound` hears of each round before it starts. */
export async function runRounds(
  cases: readonly Case[],
  { rounds, warmUpRounds }: Rounds,
  disturbance: Disturbance,
  onRound: (round: number) => void,
): Promise<void> {
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    onRound(round)
    for (const each of cases) {
      for (const entrant of rotate(each.entrants, round)) {
        const take = () => each.measure(entrant, round)
        if (round < 0) await take()
        else book(each.rows, entrant, await disturbance.undisturbed(take))
      }
    }
  }
}

/** Runs a load and reads what it cost the proxy, the closing of its connections included. */
export async function withCpu<T>(
  { contender }: Entrant,
  load: () => Promise<T>,
): Promise<{ readonly result: T; readonly cpuNs: number }> {
  const before = readCpu(contender.pids)
  const result = await load()
  await Bun.sleep(SETTLE_MS)
  return { result, cpuNs: cpuNsBetween(before, readCpu(contender.pids)) }
}

function book(rows: readonly Row[], entrant: Entrant, figures: readonly number[]): void {
  const { contender, label } = entrant
  for (const [index, row] of rows.entries()) {
    const isOurs = (column: string, of: string) => column === contender.column && of === label
    const series = row.series.find((each) => isOurs(each.column, each.label))
    series?.samples.push(figures[index] ?? Number.NaN)
  }
}

function rotate<T>(list: readonly T[], by: number): T[] {
  const start = ((by % list.length) + list.length) % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}

const SETTLE_MS = 30
