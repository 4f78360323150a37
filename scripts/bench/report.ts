/**
 * Rows of results and how they are shown. A row compares one figure over the programs, lower being
 * better. Its ratio is against the better of the two peers: the one a user would choose instead.
 * What no peer does is a figure by itself.
 */
import { COLUMNS, type Column } from "./contender.ts"
import { median, spread } from "./statistics.ts"

/** One program in one setting; `label` is empty for its ordinary one. */
export interface Series {
  readonly column: Column
  readonly label: string
  readonly samples: number[]
}

export interface Row {
  /** For machines, such as `stream.small.cpu`. */
  readonly id: string
  readonly title: string
  readonly unit: string
  /** The ratio that is accepted; absent: shown for information. */
  readonly ratioMax?: number
  /** Whom the target is about; absent: the better peer. */
  readonly peer?: "haproxy" | "nginx"
  readonly series: readonly Series[]
}

/** Of Causeway alone. Lower is better; the median of the samples counts. */
export interface Figure {
  /** For machines, such as `kubernetes.sync`. */
  readonly id: string
  readonly title: string
  readonly unit: string
  /** What is accepted; absent: shown for information. */
  readonly max?: number
  readonly samples: number[]
}

export interface PartResult {
  readonly title: string
  readonly rows: readonly Row[]
  readonly figures?: readonly Figure[]
  /** Lines to print under the table. */
  readonly notes: readonly string[]
}

export interface Verdict {
  /** The best series of each program. */
  readonly best: Readonly<Record<Column, Series>>
  readonly ratio: number
  readonly passed: boolean | undefined
}

/** A row without samples for those who take part in it. */
export function newRow(
  entrants: readonly { readonly contender: { readonly column: Column }; readonly label: string }[],
  row: Omit<Row, "series">,
): Row {
  const series = entrants.map(({ contender, label }): Series => {
    return { column: contender.column, label, samples: [] }
  })
  return { ...row, series }
}

export function judge(row: Row): Verdict {
  const best = {
    causeway: bestOf(row, "causeway"),
    haproxy: bestOf(row, "haproxy"),
    nginx: bestOf(row, "nginx"),
  }
  const peers = row.peer === undefined ? (["haproxy", "nginx"] as const) : [row.peer]
  const peer = Math.min(...peers.map((column) => median(best[column].samples)))
  const ratio = median(best.causeway.samples) / peer
  return { best, ratio, passed: row.ratioMax === undefined ? undefined : ratio <= row.ratioMax }
}

/** The tables and the notes of a part, as lines. */
export function formatPart({ title, rows, figures = [], notes }: PartResult): string[] {
  const columns = [...COLUMNS.map((column) => column.padStart(CELL)), "  ratio  target"].join("")
  const table = rows.flatMap((row) => [formatRow(row), ...formatSettings(row)])
  const header = title.padEnd(TITLE)
  return [
    ...(rows.length === 0 ? [] : ["", header + columns, ...table]),
    ...(figures.length === 0 ? [] : ["", `${header}${"causeway".padStart(CELL)}  target`]),
    ...figures.map(formatFigure),
    "",
    ...notes,
  ]
}

export function newFigure(figure: Omit<Figure, "samples">): Figure {
  return { ...figure, samples: [] }
}

/** Undefined where there is no target. */
export function isWithin({ samples, max }: Figure): boolean | undefined {
  return max === undefined ? undefined : median(samples) <= max
}

/** The same for a figure. */
export function figureToJson(figure: Figure): object {
  return { ...figure, median: median(figure.samples), passed: isWithin(figure) }
}

/** Everything, for `--json`. */
export function toJson(row: Row): object {
  const { ratio, passed } = judge(row)
  const series = row.series.map((each) => ({ ...each, median: median(each.samples) }))
  return { ...row, series, ratio, passed }
}

function formatRow(row: Row): string {
  const { best, ratio, passed } = judge(row)
  const cells = COLUMNS.map((column) => formatSeries(best[column]).padStart(CELL))
  const target = row.ratioMax === undefined ? "" : `  ≤ ${row.ratioMax.toFixed(2)}`
  const verdict = passed === undefined ? "" : passed ? "  pass" : "  MISS"
  const label = `${row.title}, ${row.unit}`.padEnd(TITLE)
  return `${label}${cells.join("")}  ${ratio.toFixed(2).padStart(5)}${target}${verdict}`
}

function formatFigure(figure: Figure): string {
  const { title, unit, samples, max } = figure
  const label = `${title}, ${unit}`.padEnd(TITLE)
  const target = max === undefined ? "" : `  ≤ ${max}`
  const verdict = max === undefined ? "" : isWithin(figure) ? "  pass" : "  MISS"
  return `${label}${formatSamples(samples).padStart(CELL)}${target}${verdict}`
}

/** Programs that were measured in several settings: all of them; the row above has the best. */
function formatSettings({ series }: Row): string[] {
  const columns = COLUMNS.filter((column) => series.some((each) => isTuned(each, column)))
  if (columns.length === 0) return []
  const texts = columns.map((column) => {
    const settings = series.filter((each) => each.column === column)
    const list = settings.map((each) => `${each.label || "default"} ${formatSeries(each)}`)
    return `${column} ${list.join(", ")}`
  })
  return [`  best of: ${texts.join("; ")}`]
}

function isTuned(series: Series, column: Column): boolean {
  return series.column === column && series.label !== ""
}

function formatSeries({ samples }: Series): string {
  return formatSamples(samples)
}

function formatSamples(samples: readonly number[]): string {
  return `${significant(median(samples))} ±${(100 * spread(samples)).toFixed(0)}%`
}

function significant(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)
}

function bestOf(row: Row, column: Column): Series {
  const [first, ...others] = row.series.filter((each) => each.column === column)
  if (first === undefined) throw new Error(`${row.id}: nothing measured for ${column}`)
  const better = (a: Series, b: Series) => (median(b.samples) < median(a.samples) ? b : a)
  return others.reduce(better, first)
}

const TITLE = 46
const CELL = 15
