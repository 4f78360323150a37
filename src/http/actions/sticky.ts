/**
 * Sticky sessions: a cookie names the server that a client began with. Its value is a hash of pool
 * and endpoint, so it says nothing of the network behind, means the same on both edges of a pair,
 * and outlives reloads and restarts. A name that no server answers to (any more) is ignored.
 */
import type { StickyConfig } from "../../config/http-config.ts"
import { type Endpoint, formatEndpoint } from "../../net/address.ts"
import { cookieIn } from "../cookies.ts"
import type { RouteRequest } from "../route-request.ts"

/** The servers of a thread by the names that cookies give them; follows the pools. */
export class StickyServers {
  readonly #pools = new Map<string, StickyPool>()
  /** By slot. */
  readonly #names = new Map<number, { readonly cookie: string; readonly endpoint: Endpoint }>()

  /**
   * Nobody is named before a route asks for it: most pools are in no sticky route, and a cluster
   * has thousands. Who stays keeps its name without its being worked out again: pools may change
   * often.
   */
  setPool(name: string, servers: readonly StickyServer[]): void {
    const known = this.#pools.get(name)?.slots
    const pool: StickyPool = { servers, slots: undefined }
    const slots = known && this.#named(name, servers, known)
    this.removePool(name)
    this.#pools.set(name, pool)
    if (slots !== undefined) this.#enter(pool, slots)
  }

  removePool(name: string): void {
    for (const slot of this.#pools.get(name)?.slots?.values() ?? []) this.#names.delete(slot)
    this.#pools.delete(name)
  }

  /** Slot of the server in `pool` that a cookie value names, -1: none. */
  slotOf(pool: string, value: string): number {
    const known = this.#pools.get(pool)
    return known === undefined ? -1 : (this.#slotsOf(pool, known).get(value) ?? -1)
  }

  /** Cookie value for a server; undefined: it is in no pool. */
  nameOf(slot: number): string | undefined {
    if (!this.#names.has(slot)) this.#nameAround(slot)
    return this.#names.get(slot)?.cookie
  }

  /** Once for each pool: looks for it. */
  #nameAround(slot: number): void {
    for (const [name, pool] of this.#pools) {
      if (pool.slots !== undefined || !pool.servers.some((each) => each.slot === slot)) continue
      this.#slotsOf(name, pool)
      return
    }
  }

  #slotsOf(name: string, pool: StickyPool): ReadonlyMap<string, number> {
    return pool.slots ?? this.#enter(pool, this.#named(name, pool.servers, NOBODY))
  }

  #named(
    pool: string,
    servers: readonly StickyServer[],
    known: ReadonlyMap<string, number>,
  ): readonly NamedServer[] {
    return servers.map(({ endpoint, slot }) => {
      const before = this.#names.get(slot)
      const isSame =
        before !== undefined &&
        known.get(before.cookie) === slot &&
        formatEndpoint(before.endpoint) === formatEndpoint(endpoint)
      return { slot, endpoint, cookie: isSame ? before.cookie : cookieName(pool, endpoint) }
    })
  }

  #enter(pool: StickyPool, named: readonly NamedServer[]): ReadonlyMap<string, number> {
    const slots = new Map(named.map(({ cookie, slot }) => [cookie, slot]))
    for (const { slot, cookie, endpoint } of named) this.#names.set(slot, { cookie, endpoint })
    pool.slots = slots
    return slots
  }
}

interface StickyPool {
  readonly servers: readonly StickyServer[]
  /** By cookie value; undefined: not worked out yet. */
  slots: ReadonlyMap<string, number> | undefined
}

interface NamedServer extends StickyServer {
  readonly cookie: string
}

const NOBODY: ReadonlyMap<string, number> = new Map()

export interface StickyServer {
  readonly endpoint: Endpoint
  /** Its row in the server board. */
  readonly slot: number
}

/** `sticky` of one route. */
export class StickySession {
  readonly #servers: StickyServers
  readonly #cookie: string
  readonly #attributes: string

  constructor(config: StickyConfig, servers: StickyServers) {
    this.#servers = servers
    this.#cookie = config.cookie
    this.#attributes = [
      `; Path=${config.path}`,
      ...(config.domain === "" ? [] : [`; Domain=${config.domain}`]),
      ...(config.maxAgeMs === undefined ? [] : [`; Max-Age=${Math.floor(config.maxAgeMs / 1000)}`]),
      ...(config.httpOnly ? ["; HttpOnly"] : []),
      ...(config.secure ? ["; Secure"] : []),
      ...(config.sameSite === undefined ? [] : [`; SameSite=${capitalized(config.sameSite)}`]),
    ].join("")
  }

  /** Slot of the server in `pool` that the request's cookie names, -1: none. */
  slotIn({ head }: RouteRequest, pool: string): number {
    const value = cookieIn(head, this.#cookie)
    return value === undefined ? -1 : this.#servers.slotOf(pool, value)
  }

  /** Complete Set-Cookie line that names a server. */
  fieldsFor(slot: number): string {
    const name = this.#servers.nameOf(slot)
    if (name === undefined) return ""
    return `Set-Cookie: ${this.#cookie}=${name}${this.#attributes}\r\n`
  }
}

function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}

function cookieName(pool: string, endpoint: Endpoint): string {
  const hash = new Bun.CryptoHasher("sha256").update(`${pool} ${formatEndpoint(endpoint)}`)
  return hash.digest("hex").slice(0, COOKIE_DIGITS)
}

/** 64 bits: no two servers of a pool share a name. */
const COOKIE_DIGITS = 16
