/**
 * Whose turn it is: walks a list again and again in slices, so that renewing thousands of addresses
 * never blocks the thread, and the kernel's lock, for as long as all of them take. Pure.
 */
export class Rota<Item> {
  readonly #items: readonly Item[]
  #next: number

  /** `previous`: go on about where that one was, or a list that often changes never comes round. */
  constructor(items: readonly Item[], previous?: Rota<Item>) {
    this.#items = items
    this.#next = items.length === 0 ? 0 : (previous?.next ?? 0) % items.length
  }

  /** The position of the item whose turn it is. */
  get next(): number {
    return this.#next
  }

  /** The next `count` items, none of them twice. */
  take(count: number): Item[] {
    const all = this.#items.length
    const end = this.#next + Math.min(count, all)
    const fromStart = this.#items.slice(0, Math.max(0, end - all))
    const taken = [...this.#items.slice(this.#next, end), ...fromStart]
    this.#next = all === 0 ? 0 : end % all
    return taken
  }
}
