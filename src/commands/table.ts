/**
 * Text tables that fit the terminal: what is too much is left out column by column, in the order
 * the columns say, and then the widest text is cut.
 */
import type { Tone } from "./tone.ts"

export interface Column {
  readonly title: string
  readonly align?: "left" | "right"
  /** Columns with the lowest number go first when there is no room; without one it stays. */
  readonly dropOrder?: number
  /** Its text may be cut, down to `CUT_WIDTH_MIN`. At most one column, the last. */
  readonly isCuttable?: boolean
}

export interface Cell {
  readonly text: string
  readonly tone?: Tone
}

export interface Row {
  readonly cells: readonly (string | Cell)[]
  /** Lines under the row, indented, as they are. */
  readonly notes?: readonly Cell[]
}

export interface TableOptions {
  /** Characters per line. */
  readonly width: number
  readonly paint: (text: string, tone: Tone) => string
}

/** Lines; none where there are no rows. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly Row[],
  options: TableOptions,
): string[] {
  if (rows.length === 0) return []
  const widths = fit(columns, naturalWidths(columns, rows), options.width)
  const heads = columns.map(({ title }): Cell => ({ text: title, tone: "quiet" }))
  return [
    formatLine(columns, heads, { widths, paint: options.paint }),
    ...rows.flatMap(({ cells, notes = [] }) => [
      formatLine(columns, cells.map(toCell), { widths, paint: options.paint }),
      ...notes.map((note) => {
        const text = cut(`  ${note.text}`, options.width)
        return note.tone === undefined ? text : options.paint(text, note.tone)
      }),
    ]),
  ]
}

function naturalWidths(columns: readonly Column[], rows: readonly Row[]): number[] {
  return columns.map(({ title }, index) =>
    Math.max(
      Bun.stringWidth(title),
      ...rows.map(({ cells }) => Bun.stringWidth(toCell(cells[index] ?? "").text)),
    ),
  )
}

/** The width of each column; 0: left out. */
function fit(columns: readonly Column[], natural: readonly number[], width: number): number[] {
  const widths = [...natural]
  const cuttable = columns.findIndex(({ isCuttable }) => isCuttable)
  const excess = () => lineWidth(widths) - width
  const isTooWide = () => excess() > Math.max(0, (widths[cuttable] ?? 0) - CUT_WIDTH_MIN)
  const droppable = inDropOrder(columns)
  for (const index of droppable) {
    if (isTooWide()) widths[index] = 0
  }
  // The last one dropped may have made more room than was needed.
  for (const index of droppable.toReversed()) {
    const dropped = widths[index] === 0
    if (dropped) widths[index] = natural[index] ?? 0
    if (dropped && isTooWide()) widths[index] = 0
  }
  const cutWidth = widths[cuttable] ?? 0
  if (cutWidth > 0) widths[cuttable] = Math.max(1, cutWidth - Math.max(0, excess()))
  return widths
}

function inDropOrder(columns: readonly Column[]): number[] {
  return columns
    .map(({ dropOrder }, index) => ({ dropOrder, index }))
    .filter(({ dropOrder }) => dropOrder !== undefined)
    .toSorted((a, b) => Number(a.dropOrder) - Number(b.dropOrder))
    .map(({ index }) => index)
}

function lineWidth(widths: readonly number[]): number {
  const shown = widths.filter((width) => width > 0)
  return shown.reduce((sum, width) => sum + width, 0) + GAP.length * (shown.length - 1)
}

function formatLine(
  columns: readonly Column[],
  cells: readonly Cell[],
  { widths, paint }: { widths: readonly number[]; paint: TableOptions["paint"] },
): string {
  const shown = columns.flatMap(({ align }, index) => {
    const width = widths[index] ?? 0
    if (width === 0) return []
    const { text, tone } = cells[index] ?? { text: "" }
    const short = cut(text, width)
    const padding = " ".repeat(width - Bun.stringWidth(short))
    const painted = tone === undefined ? short : paint(short, tone)
    return [align === "right" ? padding + painted : painted + padding]
  })
  return shown.join(GAP).trimEnd()
}

function toCell(cell: string | Cell): Cell {
  return typeof cell === "string" ? { text: cell } : cell
}

/** At most `width` wide; an ellipsis stands for the rest. */
function cut(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text
  let short = ""
  for (const character of text) {
    if (Bun.stringWidth(short + character) > width - 1) break
    short += character
  }
  return `${short}…`
}

const GAP = "  "
const CUT_WIDTH_MIN = 16
