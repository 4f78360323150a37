/**
 * When files have changed and are worth reading again. A renewal writes certificate and key one
 * after the other, so a change counts when a second look finds the same as the first. Machine: the
 * shell looks, at an interval, and hands in what it saw.
 */

/** What tells one version of a file from another; undefined: it cannot be looked at. */
export type FileStamp =
  | { readonly modifiedMs: number; readonly bytes: number; readonly inode: number }
  | undefined

export type FileStamps = readonly FileStamp[]

export type FileChange =
  | "unchanged"
  /** Something is different since the last look. */
  | "settling"
  /** Different from what was read, and the same twice. Told once. */
  | "changed"

export class FileChanges {
  #read: FileStamps
  #last: FileStamps

  /** `stamps` are those of the versions that have been read. */
  constructor(stamps: FileStamps) {
    this.#read = stamps
    this.#last = stamps
  }

  handle(stamps: FileStamps): FileChange {
    const isSettled = isSame(stamps, this.#last)
    this.#last = stamps
    if (isSame(stamps, this.#read)) return "unchanged"
    if (!isSettled) return "settling"
    this.#read = stamps
    return "changed"
  }
}

function isSame(left: FileStamps, right: FileStamps): boolean {
  return left.length === right.length && left.every((stamp, index) => isEqual(stamp, right[index]))
}

function isEqual(left: FileStamp, right: FileStamp): boolean {
  return (
    left?.modifiedMs === right?.modifiedMs &&
    left?.bytes === right?.bytes &&
    left?.inode === right?.inode
  )
}
