/**
 * The routes of one host by path: exact paths, then prefixes by whole segments from the longest to
 * the shortest, then regular expressions in the order of the file. Routes with the same path are
 * ordered by their conditions; the first whose conditions hold wins.
 */
import { configuredForm } from "./path-form.ts"
import { hashOfPath, type RequestPath } from "./request-path.ts"

export interface IndexedPath {
  readonly path: string
  readonly match: "prefix" | "exact" | "regex"
}

export class PathIndex<Entry extends IndexedPath> {
  readonly #exact = new Map<number, Bucket<Entry>>()
  readonly #prefixes = new Map<number, Bucket<Entry>>()
  readonly #regexes: { readonly entry: Entry; readonly pattern: RegExp }[] = []
  /** Routes for "/": every path begins with it. */
  #root: Bucket<Entry> | undefined = undefined
  #segmentsMax = 0

  /** `entries` in the order in which those of the same path are to be tried. */
  constructor(entries: readonly Entry[]) {
    for (const entry of entries) this.#add(entry)
  }

  /** The first entry that matches the path and that `accepts` takes. */
  find<Request>(
    path: RequestPath,
    request: Request,
    accepts: (entry: Entry, request: Request) => boolean,
  ): Entry | undefined {
    if (this.#exact.size > 0) {
      const bucket = bucketOf(this.#exact, path.hash, path, path.end)
      const found = bucket === undefined ? undefined : first(bucket, request, accepts)
      if (found !== undefined) return found
    }
    for (let count = Math.min(path.segmentCount, this.#segmentsMax); count > 0; count--) {
      const hash = path.hashes[count - 1] as number
      const bucket = bucketOf(this.#prefixes, hash, path, path.ends[count - 1] as number)
      const found = bucket === undefined ? undefined : first(bucket, request, accepts)
      if (found !== undefined) return found
    }
    const found = this.#root === undefined ? undefined : first(this.#root, request, accepts)
    if (found !== undefined || this.#regexes.length === 0) return found
    return this.#findRegex(path.text, request, accepts)
  }

  #findRegex<Request>(
    text: string,
    request: Request,
    accepts: (entry: Entry, request: Request) => boolean,
  ): Entry | undefined {
    for (const { entry, pattern } of this.#regexes) {
      if (pattern.test(text) && accepts(entry, request)) return entry
    }
    return undefined
  }

  #add(entry: Entry): void {
    if (entry.match === "regex") {
      this.#regexes.push({ entry, pattern: routePattern(entry.path) })
      return
    }
    const form = configuredForm(entry.path)
    if (entry.match === "exact") {
      addTo(this.#exact, form, entry)
      return
    }
    const prefix = form.replace(/\/$/, "")
    if (prefix !== "") {
      addTo(this.#prefixes, prefix, entry)
      this.#segmentsMax = Math.max(this.#segmentsMax, segmentsOf(entry))
      return
    }
    this.#root ??= { text: "", entries: [], next: undefined }
    this.#root.entries.push(entry)
  }
}

/** Segments of a prefix; 0 for "/". */
export function segmentsOf({ path }: IndexedPath): number {
  return configuredForm(path).replace(/\/$/, "").split("/").length - 1
}

/** "." matches a line end too: "%0A" in a path must not hide the rest of it. */
export function routePattern(source: string): RegExp {
  return new RegExp(source, "s")
}

/** Entries of one path, and of other paths with the same hash. */
interface Bucket<Entry> {
  readonly text: string
  readonly entries: Entry[]
  next: Bucket<Entry> | undefined
}

function addTo<Entry>(map: Map<number, Bucket<Entry>>, text: string, entry: Entry): void {
  const hash = hashOfPath(text)
  const head = map.get(hash)
  for (let bucket = head; bucket !== undefined; bucket = bucket.next) {
    if (bucket.text === text) {
      bucket.entries.push(entry)
      return
    }
  }
  map.set(hash, { text, entries: [entry], next: head })
}

/** The bucket of the path up to `end`. */
function bucketOf<Entry>(
  map: ReadonlyMap<number, Bucket<Entry>>,
  hash: number,
  path: RequestPath,
  end: number,
): Bucket<Entry> | undefined {
  let bucket = map.get(hash)
  while (bucket !== undefined && !isText(bucket.text, path, end)) bucket = bucket.next
  return bucket
}

function isText(text: string, { bytes, start }: RequestPath, end: number): boolean {
  if (text.length !== end - start) return false
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) !== bytes[start + at]) return false
  }
  return true
}

function first<Entry, Request>(
  { entries }: Bucket<Entry>,
  request: Request,
  accepts: (entry: Entry, request: Request) => boolean,
): Entry | undefined {
  for (const entry of entries) if (accepts(entry, request)) return entry
  return undefined
}
