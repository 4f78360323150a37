export interface Tracking {
  /** Whether everything tracked is known. */
  readonly settled: boolean
  readonly weightSum: number
  /** Why the router must be in Fault; undefined: it need not. */
  readonly fault: string | undefined
}
