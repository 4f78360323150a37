/**
 * How long and how much to load. Every load is bounded, so that a whole run with the default rounds
 * ends within eight minutes on two cores, and a quick one (a smoke test) within half a minute.
 */
export interface Settings {
  readonly rounds: number
  /** Of one closed-loop load, in whole seconds (wrk knows no others). */
  readonly loadSeconds: number
  readonly bulkFileMib: number
  /** Files per bulk sample, one after another over one connection. */
  readonly bulkFiles: number
  /** Requests of one sample at a fixed rate. */
  readonly pacedSeconds: number
  /** Idle connections opened for the memory figure. */
  readonly idleConnections: number
  /** Fresh processes the memory figure is the median of. */
  readonly memoryRounds: number
  /** Untimed rounds of every load before the first that counts. */
  readonly warmUpRounds: number
  /** Samples taken again, over the whole part, because other programs were busy. */
  readonly repeatsMax: number
}

export const FULL: Settings = {
  rounds: 7,
  loadSeconds: 2,
  bulkFileMib: 100,
  bulkFiles: 8,
  pacedSeconds: 4,
  idleConnections: 2_000,
  memoryRounds: 3,
  warmUpRounds: 1,
  repeatsMax: 30,
}

export const QUICK: Settings = {
  rounds: 1,
  loadSeconds: 1,
  bulkFileMib: 16,
  bulkFiles: 2,
  pacedSeconds: 0.5,
  idleConnections: 100,
  memoryRounds: 1,
  warmUpRounds: 0,
  repeatsMax: 0,
}
