/**
 * Routes by host and path. Hosts from the most specific on (exact, then "*.example.com" for one
 * label, then any); in a host exact paths, then prefixes by whole segments from the longest to the
 * shortest, then regular expressions in the order of the file; routes with the same path in the
 * order they are given in.
 */
import { HASH_SEED, hashStep, KeyTable, type ScopedKey } from "./key-table.ts"
import { configuredForm } from "./path-form.ts"
import type { RequestPath } from "./request-path.ts"

export interface IndexEntry<Route> {
  /** Exact, "*.example.com", or empty: any. */
  readonly host: string
  readonly path: string
  readonly match: "prefix" | "exact" | "regex"
  /** `accepts` need not be asked. */
  readonly isUnconditional: boolean
  readonly route: Route
}

interface Span {
  readonly text: string
  readonly start: number
  readonly end: number
}

interface Lookup {
  readonly head: { readonly host: string }
  readonly path: RequestPath
}

interface Wanted {
  bytes: Uint8Array
  start: number
  end: number
}

type Accepts<Route, Request> = (route: Route, request: Request) => boolean

export class RouteIndex<Route> {
  /** Those with the same host and path follow each other; patterns are at the end. */
  readonly routes: readonly Route[]
  readonly #flags: Uint8Array
  readonly #keys: KeyTable
  /** `HOST_CELLS` numbers of each host. */
  readonly #hosts: Int32Array
  readonly #patterns: readonly RegExp[]
  readonly #hasWildcards: boolean
  /** What is looked for in `#keys`. */
  readonly #wanted: Wanted = { bytes: new Uint8Array(0), start: 0, end: 0 }
  readonly #hostBytes = new Uint8Array(HOST_BYTES_MAX)

  constructor(entries: readonly IndexEntry<Route>[]) {
    const layout = new Layout(entries)
    const ordered = [...layout.entries, ...layout.patterns]
    this.routes = ordered.map(({ route }) => route)
    this.#keys = new KeyTable(layout.keys)
    this.#hosts = Int32Array.from(layout.hosts)
    this.#patterns = layout.patterns.map(({ path }) => routePattern(path))
    this.#hasWildcards = entries.some(({ host }) => isWildcard(host))
    this.#flags = Uint8Array.from(ordered, ({ isUnconditional }, index) => {
      const isLast = layout.ends.has(index + 1)
      return (isLast ? LAST : 0) | (isUnconditional ? UNCONDITIONAL : 0)
    })
  }

  /** Index of the first route for the request's host and path that `accepts` takes, or -1. */
  find<Request extends Lookup>(request: Request, accepts: Accepts<Route, Request>): number {
    const { host } = request.head
    // "k8s.com." is the same name, said to be complete (RFC 1034 §3.1).
    const length = host.charCodeAt(host.length - 1) === DOT ? host.length - 1 : host.length
    if (length > 0 && length <= HOST_BYTES_MAX) {
      const name = { text: host, start: 0, end: length }
      const exact = this.#findIn(this.#hostAt(HOST_NAMES, name), request, accepts)
      if (exact >= 0) return exact
      const dot = this.#hasWildcards ? host.indexOf(".") : -1
      if (dot > 0) {
        const name = { text: host, start: dot + 1, end: length }
        const wild = this.#findIn(this.#hostAt(WILDCARD_NAMES, name), request, accepts)
        if (wild >= 0) return wild
      }
    }
    return this.#findIn(ANY_HOST, request, accepts)
  }

  /** The host that is called `text[start … end)`, or -1. */
  #hostAt(scope: number, { text, start, end }: Span): number {
    const bytes = this.#hostBytes
    let hash = HASH_SEED
    for (let at = start; at < end; at++) {
      const byte = text.charCodeAt(at)
      bytes[at - start] = byte
      hash = hashStep(hash, byte)
    }
    const wanted = this.#wanted
    wanted.bytes = bytes
    wanted.start = 0
    wanted.end = end - start
    return this.#keys.find(scope, hash, wanted)
  }

  #findIn<Request extends Lookup>(
    host: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    if (host < 0) return -1
    const cells = host * HOST_CELLS
    const depths = this.#hosts[cells + DEPTHS_CELL] as number
    if (depths !== 0) {
      const found = this.#findPath(host, request, accepts)
      if (found >= 0) return found
    }
    const root = this.#accepted(this.#hosts[cells + ROOT_CELL] as number, request, accepts)
    return root >= 0 ? root : this.#findPattern(cells, request, accepts)
  }

  /** Exact paths and prefixes but "/". */
  #findPath<Request extends Lookup>(
    host: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    const { path } = request
    const depths = this.#hosts[host * HOST_CELLS + DEPTHS_CELL] as number
    const wanted = this.#wanted
    wanted.bytes = path.bytes
    wanted.start = path.start
    if ((depths & EXACT_BIT) !== 0) {
      wanted.end = path.end
      const exact = this.#keys.find(exactPathsOf(host), path.hash, wanted)
      const accepted = this.#accepted(exact, request, accepts)
      if (accepted >= 0) return accepted
    }
    for (let count = path.segmentCount; count > 0; count--) {
      if ((depths & depthBit(count)) === 0) continue
      wanted.end = path.ends[count - 1] as number
      const hash = path.hashes[count - 1] as number
      const prefix = this.#keys.find(prefixesOf(host), hash, wanted)
      const accepted = this.#accepted(prefix, request, accepts)
      if (accepted >= 0) return accepted
    }
    return -1
  }

  #findPattern<Request extends Lookup>(
    cells: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    const start = this.#hosts[cells + PATTERNS_START_CELL] as number
    const end = this.#hosts[cells + PATTERNS_END_CELL] as number
    if (start === end) return -1
    const { text } = request.path
    const first = this.routes.length - this.#patterns.length
    for (let index = start; index < end; index++) {
      if (!(this.#patterns[index] as RegExp).test(text)) continue
      if (accepts(this.routes[first + index] as Route, request)) return first + index
    }
    return -1
  }

  /** The first of those with the same path, from `index` on, that `accepts` takes. */
  #accepted<Request>(index: number, request: Request, accepts: Accepts<Route, Request>): number {
    if (index < 0) return -1
    for (let at = index; ; at++) {
      const flags = this.#flags[at] as number
      if ((flags & UNCONDITIONAL) !== 0 || accepts(this.routes[at] as Route, request)) return at
      if ((flags & LAST) !== 0) return -1
    }
  }
}

/** Where each route goes. */
class Layout<Route> {
  readonly entries: IndexEntry<Route>[] = []
  readonly patterns: IndexEntry<Route>[] = []
  readonly keys: ScopedKey[] = []
  /** `HOST_CELLS` numbers of each host; the first is any. */
  readonly hosts: number[] = []
  /** Indexes after the last entry of a path. */
  readonly ends = new Set<number>()

  constructor(entries: readonly IndexEntry<Route>[]) {
    const byHost = Map.groupBy(entries, ({ host }) => host)
    this.#addHost(byHost.get("") ?? [])
    for (const [host, ofHost] of byHost) {
      if (host === "") continue
      const value = this.hosts.length / HOST_CELLS
      if (!isWildcard(host)) this.keys.push({ scope: HOST_NAMES, text: host, value })
      else this.keys.push({ scope: WILDCARD_NAMES, text: host.slice(2), value })
      this.#addHost(ofHost)
    }
  }

  #addHost(entries: readonly IndexEntry<Route>[]): void {
    const host = this.hosts.length / HOST_CELLS
    const patternsStart = this.patterns.length
    for (const entry of entries) if (entry.match === "regex") this.patterns.push(entry)
    let depths = 0
    let root = -1
    for (const [key, same] of Map.groupBy(entries, keyOf)) {
      if (key === PATTERN) continue
      const start = this.#addPath(same)
      const isExact = key.startsWith("=")
      const text = isExact ? key.slice(1) : key
      const scope = isExact ? exactPathsOf(host) : prefixesOf(host)
      if (text === "") root = start
      else this.keys.push({ scope, text, value: start })
      depths |= isExact ? EXACT_BIT : depthBit(depthOf(text))
    }
    this.hosts.push(depths, root, patternsStart, this.patterns.length)
  }

  #addPath(entries: readonly IndexEntry<Route>[]): number {
    const start = this.entries.length
    for (const entry of entries) this.entries.push(entry)
    this.ends.add(this.entries.length)
    return start
  }
}

/** Segments of a prefix; 0 for "/". */
export function segmentsOf({ path }: { readonly path: string }): number {
  return depthOf(configuredForm(path).replace(/\/$/, ""))
}

/** "." matches a line end too: "%0A" in a path must not hide the rest of it. */
export function routePattern(source: string): RegExp {
  return new RegExp(source, "s")
}

/** "=" and an exact path, or a prefix without final slash. */
function keyOf<Route>({ path, match }: IndexEntry<Route>): string {
  if (match === "regex") return PATTERN
  const form = configuredForm(path)
  return match === "exact" ? `=${form}` : form.replace(/\/$/, "")
}

function depthOf(prefix: string): number {
  return prefix.split("/").length - 1
}

/** Depths from 29 on share a bit. */
function depthBit(count: number): number {
  return count === 0 ? 0 : 1 << Math.min(count, 29)
}

function isWildcard(hostPattern: string): boolean {
  return hostPattern.startsWith("*.")
}

function prefixesOf(host: number): number {
  return 2 * host
}

function exactPathsOf(host: number): number {
  return 2 * host + 1
}

const ANY_HOST = 0
const HOST_NAMES = -1
/** What follows the first label. */
const WILDCARD_NAMES = -2
/** RFC 1035 §2.3.4; a longer one is no route's. */
const HOST_BYTES_MAX = 255

/** Bits of the depths that prefixes have, and whether there are exact paths. */
const DEPTHS_CELL = 0
const ROOT_CELL = 1
const PATTERNS_START_CELL = 2
const PATTERNS_END_CELL = 3
const HOST_CELLS = 4
const EXACT_BIT = 1

const LAST = 1
const UNCONDITIONAL = 2

const DOT = 0x2e
/** No path has it as its key. */
const PATTERN = "~"
