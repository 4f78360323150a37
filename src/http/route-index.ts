/**
 * Routes by host and path. Hosts from the most specific on (exact, then "*.example.com" for one
 * label, then any); in a host exact paths, then prefixes by whole segments from the longest to the
 * shortest, then regular expressions in the order of the file; routes with the same path in the
 * order they are given in.
 */
import {
  HASH_SEED,
  hashOf,
  hashStep,
  KeyRegions,
  type RegionKey,
  RegionWriter,
} from "./key-regions.ts"
import { configuredForm } from "./path-form.ts"
import { hasMatch, routePattern } from "./pattern.ts"
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
  readonly #keys: KeyRegions
  /** Regions of `#keys`: by host name, by what follows its first label, and of any host. */
  readonly #names: number
  readonly #wildcards: number
  readonly #anyHost: number
  readonly #hasWildcards: boolean
  readonly #patterns: readonly RegExp[]
  /** What is looked for in `#keys`. */
  readonly #wanted: Wanted = { bytes: new Uint8Array(0), start: 0, end: 0 }
  readonly #hostBytes = new Uint8Array(HOST_BYTES_MAX)

  constructor(entries: readonly IndexEntry<Route>[]) {
    const layout = new Layout(entries)
    this.#anyHost = layout.anyHost
    this.#names = layout.writer.region([], layout.names)
    this.#wildcards = layout.writer.region([], layout.wildcards)
    this.#hasWildcards = layout.wildcards.length > 0
    this.#keys = new KeyRegions(layout.writer)
    this.#flags = Uint8Array.from(layout.flags)
    this.#patterns = layout.patterns.map(({ path }) => routePattern(path))
    this.routes = [...layout.entries, ...layout.patterns].map(({ route }) => route)
  }

  /** Index of the first route for the request's host and path that `accepts` takes, or -1. */
  find<Request extends Lookup>(request: Request, accepts: Accepts<Route, Request>): number {
    const { host } = request.head
    // "k8s.com." is the same name, said to be complete (RFC 1034 §3.1).
    const end = host.charCodeAt(host.length - 1) === DOT ? host.length - 1 : host.length
    if (end > 0 && end <= HOST_BYTES_MAX) {
      const exact = this.#hostAt(this.#names, { text: host, start: 0, end })
      const found = exact < 0 ? -1 : this.#findIn(exact, request, accepts)
      if (found >= 0) return found
      const dot = this.#hasWildcards ? host.indexOf(".") : -1
      const wild = dot < 1 ? -1 : this.#hostAt(this.#wildcards, { text: host, start: dot + 1, end })
      const other = wild < 0 ? -1 : this.#findIn(wild, request, accepts)
      if (other >= 0) return other
    }
    return this.#findIn(this.#anyHost, request, accepts)
  }

  /** The region of the host that is called `text[start … end)`, or -1. */
  #hostAt(names: number, { text, start, end }: Span): number {
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
    return this.#keys.find(names, hash, wanted)
  }

  #findIn<Request extends Lookup>(
    host: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    if (this.#keys.header(host, DEPTHS) !== 0) {
      const found = this.#findPath(host, request, accepts)
      if (found >= 0) return found
    }
    const root = this.#accepted(this.#keys.header(host, ROOT), request, accepts)
    return root >= 0 ? root : this.#findPattern(host, request, accepts)
  }

  /** Exact paths and prefixes but "/". */
  #findPath<Request extends Lookup>(
    host: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    const { path } = request
    const depths = this.#keys.header(host, DEPTHS)
    const wanted = this.#wanted
    wanted.bytes = path.bytes
    wanted.start = path.start
    if ((depths & EXACT_BIT) !== 0) {
      wanted.end = path.end
      const exact = this.#keys.find(host, exactHash(path.hash), wanted)
      const accepted = this.#accepted(exact, request, accepts)
      if (accepted >= 0) return accepted
    }
    for (let count = path.segmentCount; count > 0; count--) {
      if ((depths & depthBit(count)) === 0) continue
      wanted.end = path.ends[count - 1] as number
      const prefix = this.#keys.find(host, path.hashes[count - 1] as number, wanted)
      const accepted = this.#accepted(prefix, request, accepts)
      if (accepted >= 0) return accepted
    }
    return -1
  }

  #findPattern<Request extends Lookup>(
    host: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    const start = this.#keys.header(host, PATTERNS_START)
    const end = this.#keys.header(host, PATTERNS_END)
    if (start === end) return -1
    const { text } = request.path
    const first = this.routes.length - this.#patterns.length
    for (let index = start; index < end; index++) {
      if (!hasMatch(this.#patterns[index] as RegExp, text)) continue
      if (accepts(this.routes[first + index] as Route, request)) return first + index
    }
    return -1
  }

  /** The first route that `accepts` takes of those that a `reference` stands for. */
  #accepted<Request>(
    reference: number,
    request: Request,
    accepts: Accepts<Route, Request>,
  ): number {
    if (reference < 0) return -1
    let flags = reference & FLAGS
    for (let at = reference >> FLAG_BITS; ; flags = this.#flags[++at] as number) {
      if ((flags & UNCONDITIONAL) !== 0 || accepts(this.routes[at] as Route, request)) return at
      if ((flags & LAST) !== 0) return -1
    }
  }
}

/** Where each route goes. */
class Layout<Route> {
  readonly entries: IndexEntry<Route>[] = []
  readonly flags: number[] = []
  readonly patterns: IndexEntry<Route>[] = []
  readonly writer = new RegionWriter()
  readonly names: RegionKey[] = []
  readonly wildcards: RegionKey[] = []
  readonly anyHost: number

  constructor(entries: readonly IndexEntry<Route>[]) {
    const byHost = Map.groupBy(entries, ({ host }) => host)
    this.anyHost = this.#addHost(byHost.get("") ?? [])
    for (const [host, ofHost] of byHost) {
      if (host === "") continue
      const isWildcard = host.startsWith("*.")
      const name = isWildcard ? host.slice(2) : host
      const key = { hash: hashOf(name), text: this.writer.text(name), value: this.#addHost(ofHost) }
      if (isWildcard) this.wildcards.push(key)
      else this.names.push(key)
    }
  }

  /** Its region: header, keys of exact paths and of prefixes. */
  #addHost(entries: readonly IndexEntry<Route>[]): number {
    const patternsStart = this.patterns.length
    const keys: RegionKey[] = []
    let depths = 0
    let root = -1
    for (const [key, same] of Map.groupBy(entries, keyOf)) {
      if (key === PATTERN) {
        for (const entry of same) this.patterns.push(entry)
        continue
      }
      const value = this.#addPath(same)
      const isExact = key.startsWith("=")
      const text = isExact ? key.slice(1) : key
      depths |= isExact ? EXACT_BIT : depthBit(depthOf(text))
      if (text === "") {
        root = value
        continue
      }
      const hash = isExact ? exactHash(hashOf(text)) : hashOf(text)
      keys.push({ hash, text: this.writer.text(text), value })
    }
    return this.writer.region([depths, root, patternsStart, this.patterns.length], keys)
  }

  /** A reference to the routes of one path: index and flags of the first. */
  #addPath(entries: readonly IndexEntry<Route>[]): number {
    const index = this.entries.length
    for (const [place, entry] of entries.entries()) {
      const isLast = place === entries.length - 1
      this.entries.push(entry)
      this.flags.push((isLast ? LAST : 0) | (entry.isUnconditional ? UNCONDITIONAL : 0))
    }
    return (index << FLAG_BITS) | (this.flags[index] as number)
  }
}

/** Segments of a prefix; 0 for "/". */
export function segmentsOf({ path }: { readonly path: string }): number {
  return depthOf(configuredForm(path).replace(/\/$/, ""))
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

/** Sets an exact path apart from a prefix of the same text. */
function exactHash(hash: number): number {
  return ~hash
}

/** RFC 1035 §2.3.4; a longer one is no route's. */
const HOST_BYTES_MAX = 255

/** Header of a host: bits of the depths that prefixes have, and whether there are exact paths; */
const DEPTHS = 0
/** reference to the routes for "/"; */
const ROOT = 1
/** its part of the patterns. */
const PATTERNS_START = 2
const PATTERNS_END = 3
const EXACT_BIT = 1

/** The last of those with the same path. */
const LAST = 1
const UNCONDITIONAL = 2
const FLAGS = 3
const FLAG_BITS = 2

const DOT = 0x2e
/** No path has it as its key. */
const PATTERN = "~"
