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

/** Zeroed doubles that several threads see. */
export interface SharedDoubles {
  readonly length: number
  /** A view of `count` of them from the `at`-th. */
  doubles(at: number, count: number): Float64Array
}

export function doublesIn(buffer: SharedArrayBuffer): SharedDoubles {
  return {
    length: buffer.byteLength / Float64Array.BYTES_PER_ELEMENT,
    doubles: (at, count) => new Float64Array(buffer, at * Float64Array.BYTES_PER_ELEMENT, count),
  }
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
  readonly #memory: SharedDoubles
  readonly #chunkCells: number
  /** Views of `CHUNK_ROWS` rows each, made when one of them is looked at. */
  readonly #chunks: (Float64Array | undefined)[]

  constructor(columns: CounterColumns<Column>, memory: SharedDoubles) {
    this.columns = columns
    this.#memory = memory
    this.#chunkCells = CHUNK_ROWS * columns.width
    this.#chunks = new Array(Math.ceil(memory.length / this.#chunkCells)).fill(undefined)
  }

  static allocate(width: number, rowsMax: number): SharedArrayBuffer {
    return new SharedArrayBuffer(width * rowsMax * Float64Array.BYTES_PER_ELEMENT)
  }

  /** Where a row is: a hot path writes `cells(row)[baseOf(row) + column]`. */
  cells(row: number): Float64Array {
    return this.#chunks[row >> CHUNK_BITS] ?? this.#open(row >> CHUNK_BITS)
  }

  baseOf(row: number): number {
    return (row & (CHUNK_ROWS - 1)) * this.columns.width
  }

  get(row: number, column: Column): number {
    return this.cells(row)[this.baseOf(row) + this.columns.index[column]] as number
  }

  add(row: number, column: Column, amount: number): void {
    const cells = this.cells(row)
    const at = this.baseOf(row) + this.columns.index[column]
    cells[at] = (cells[at] as number) + amount
  }

  /** Over all rows. */
  sumOf(column: Column): number {
    let sum = 0
    this.#each(column, (cells, at) => {
      sum += cells[at] as number
    })
    return sum
  }

  clearRow(row: number): void {
    const base = this.baseOf(row)
    this.cells(row).fill(0, base, base + this.columns.width)
  }

  /** Sets every gauge to 0: the thread that held what they count is gone. */
  clearGauges(): void {
    for (const gauge of this.columns.gauges) {
      this.#each(gauge, (cells, at) => {
        if (cells[at] !== 0) cells[at] = 0
      })
    }
  }

  /** Visits a column through views that are not kept. */
  #each(column: Column, visit: (cells: Float64Array, at: number) => void): void {
    const { width, index } = this.columns
    for (const chunk of this.#chunks.keys()) {
      const cells = this.#chunks[chunk] ?? this.#view(chunk)
      for (let at = index[column]; at < cells.length; at += width) visit(cells, at)
    }
  }

  #open(chunk: number): Float64Array {
    const cells = this.#view(chunk)
    this.#chunks[chunk] = cells
    return cells
  }

  #view(chunk: number): Float64Array {
    const at = chunk * this.#chunkCells
    return this.#memory.doubles(at, Math.min(this.#chunkCells, this.#memory.length - at))
  }
}

const CHUNK_BITS = 7
const CHUNK_ROWS = 1 << CHUNK_BITS
