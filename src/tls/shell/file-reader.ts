/**
 * Reads the files of TLS settings and gathers what is wrong with them, so that all of it is told at
 * once and with the file's name.
 */
import { readFileSync, statSync } from "node:fs"
import type { FileStamp } from "../file-changes.ts"

export interface TlsFileProblem {
  /** The file; "" when it is about the host. */
  readonly file: string
  /** Follows the file's name: "is not the key of the certificate". */
  readonly reason: string
}

/** A file as it was when it was read. */
export interface ReadFile {
  readonly path: string
  readonly stamp: FileStamp
}

/** Far more than the largest chain or bundle of authorities. */
const FILE_BYTES_MAX = 4 * 1024 * 1024

export class FileReader {
  readonly problems: TlsFileProblem[] = []
  readonly warnings: TlsFileProblem[] = []
  readonly files: ReadFile[] = []

  report(file: string, reason: string): void {
    this.problems.push({ file, reason })
  }

  warn(file: string, reason: string): void {
    this.warnings.push({ file, reason })
  }

  /** A key that every user of the host can read. */
  warnIfPublic(file: string): void {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0
    if ((mode & 0o004) !== 0) this.warn(file, "can be read by every user of this host")
  }

  /** Bytes as characters; undefined: reported. */
  text(file: string): string | undefined {
    return this.bytes(file)?.toString("latin1")
  }

  /** Undefined: reported. */
  bytes(file: string): Buffer | undefined {
    // Before it is read: what is written meanwhile counts as a change.
    const stamp = stampOf(file)
    this.files.push({ path: file, stamp })
    if (stamp !== undefined && stamp.bytes > FILE_BYTES_MAX) {
      this.report(file, `is larger than ${FILE_BYTES_MAX / 1024 / 1024} MiB`)
      return undefined
    }
    try {
      return readFileSync(file)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      this.report(file, `cannot be read: ${code}`)
      return undefined
    }
  }
}

export function stampOf(path: string): FileStamp {
  try {
    const { mtimeMs, size, ino } = statSync(path)
    return { modifiedMs: mtimeMs, bytes: size, inode: ino }
  } catch {
    return undefined
  }
}
