/**
 * Counters of one data thread in memory the control thread can read: rows of doubles.
 *
 * One thread writes a table, so counting is a plain addition; who wants a total adds up the tables
 * of all threads. The tables belong to the control thread and outlive the thread that counts: after
 * a restart the totals go on, and the gauges of the dead thread are cleared.
 */
export interface CounterColumns<Column extends string> {
  /** Name → index within the row. */
  readonly index: Readonly<Record<Column, number>>
  readonly width: number
  /** Columns that go up and down; the others only grow. */
  readonly gauges: readonly Column[]
}

export function counterColumns<Column extends string>(
  names: readonly Column[],
  gauges: readonly Column[],
): CounterColumns<Column> {
  const index = Object.fromEntries(names.map((name, at) => [name, at]))
  return { index: index as Record<Column, number>, width: names.length, gauges }
}

export class CounterTable<Column extends string> {
  readonly columns: CounterColumns<Column>
  readonly buffer: SharedArrayBuffer
  /** Row-major; a hot path indexes it as `cells[row * width + column]`. */
  readonly cells: Float64Array

  constructor(columns: CounterColumns<Column>, buffer: SharedArrayBuffer) {
    this.columns = columns
    this.buffer = buffer
    this.cells = new Float64Array(buffer)
  }

  static allocate(width: number, rowsMax: number): SharedArrayBuffer {
    return new SharedArrayBuffer(width * rowsMax * Float64Array.BYTES_PER_ELEMENT)
  }

  get(row: number, column: Column): number {
    return this.cells[row * this.columns.width + this.columns.index[column]] as number
  }

  add(row: number, column: Column, amount: number): void {
    const at = row * this.columns.width + this.columns.index[column]
    this.cells[at] = (this.cells[at] as number) + amount
  }

  /** Over all rows. */
  sumOf(column: Column): number {
    let sum = 0
    for (let at = this.columns.index[column]; at < this.cells.length; at += this.columns.width) {
      sum += this.cells[at] as number
    }
    return sum
  }

  clearRow(row: number): void {
    const { width } = this.columns
    this.cells.fill(0, row * width, (row + 1) * width)
  }

  /** Sets every gauge to 0: the thread that held what they count is gone. */
  clearGauges(): void {
    const { width, gauges, index } = this.columns
    for (const gauge of gauges) {
      for (let at = index[gauge]; at < this.cells.length; at += width) {
        if (this.cells[at] !== 0) this.cells[at] = 0
      }
    }
  }
}
