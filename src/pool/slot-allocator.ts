/**
 * Hands out row numbers of shared tables. A freed row is reused as late as possible and only when
 * `isIdle` says so: a session that outlives the server's configuration still counts in its row.
 */
export class SlotAllocator {
  readonly #slotsMax: number
  readonly #freed: number[] = []
  #next = 0

  constructor(slotsMax: number) {
    this.#slotsMax = slotsMax
  }

  /** Undefined when every slot is taken. */
  allocate(isIdle: (slot: number) => boolean): number | undefined {
    if (this.#next < this.#slotsMax) return this.#next++
    const at = this.#freed.findIndex(isIdle)
    return at < 0 ? undefined : this.#freed.splice(at, 1)[0]
  }

  free(slot: number): void {
    this.#freed.push(slot)
  }
}
