/**
 * Which data thread holds which descriptor, in memory all threads share.
 *
 * A data thread that dies leaves its descriptors open: they belong to the process. The control
 * thread then reads here what to close. One byte per descriptor, written at open and close.
 */
export const LEDGER_FDS_MAX = 1 << 20

export class FdLedger {
  readonly #owners: Uint8Array

  constructor(buffer: SharedArrayBuffer) {
    this.#owners = new Uint8Array(buffer)
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(LEDGER_FDS_MAX)
  }

  /** `owner` is 1–255. */
  take(fd: number, owner: number): void {
    this.#owners[fd] = owner
  }

  release(fd: number): void {
    this.#owners[fd] = 0
  }

  heldBy(owner: number): number[] {
    const held: number[] = []
    for (let fd = 0; fd < this.#owners.length; fd++) {
      if (this.#owners[fd] === owner) held.push(fd)
    }
    return held
  }
}
