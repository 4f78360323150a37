/**
 * Streams of the configuration → listening sockets the data threads are to have. A listener is the
 * same from one configuration to the next when stream and endpoint are; its counters are the
 * stream's, one row for all its endpoints.
 */
import type { StreamConfig } from "../config/config.ts"
import type { HttpConfig } from "../config/http-config.ts"
import type { DataHttpService } from "../dataplane/messages.ts"
import type { HttpColumn } from "../http/counters.ts"
import { EADDRINUSE, SystemError } from "../linux/errno.ts"
import { isEndpointTaken } from "../linux/tcp.ts"
import type { CounterTable } from "../metrics/counter-table.ts"
import { type Address, ANY_IPV4, ANY_IPV6, type Endpoint, formatEndpoint } from "../net/address.ts"
import { SlotAllocator } from "../pool/slot-allocator.ts"
import type { ServerTlsSpec } from "../tls/tls-spec.ts"
import type { ListenerTemplate } from "./data-threads.ts"

/** Hands out the counter rows of named things, such as streams: the same one while it is named. */
export class CounterRows<Column extends string> {
  readonly #tables: readonly CounterTable<Column>[]
  readonly #slots: SlotAllocator
  readonly #isIdle: (row: number) => boolean
  readonly #rows = new Map<string, number>()
  readonly #rowsMax: number

  /** `gauge`: a row in which it is not 0 is still in use, whatever the configuration says. */
  constructor(
    tables: readonly CounterTable<Column>[],
    { rowsMax, gauge }: { readonly rowsMax: number; readonly gauge: Column },
  ) {
    this.#tables = tables
    this.#rowsMax = rowsMax
    this.#slots = new SlotAllocator(rowsMax)
    this.#isIdle = (row) => tables.every((table) => table.get(row, gauge) === 0)
  }

  /** Throws when all rows are taken. */
  row(name: string): number {
    const known = this.#rows.get(name)
    if (known !== undefined) return known
    const row = this.#slots.allocate(this.#isIdle)
    if (row === undefined) throw new Error(`Cannot count "${name}": all counter rows are taken`)
    for (const table of this.#tables) table.clearRow(row)
    this.#rows.set(name, row)
    return row
  }

  /** The same for one of very many: `spare` once most rows are taken, so that others find some. */
  rowOr(name: string, spare: number): number {
    const known = this.#rows.get(name)
    if (known !== undefined) return known
    return this.#rows.size < this.#rowsMax * MANY_SHARE ? this.row(name) : spare
  }

  /** Gives up the rows of everything else. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue
      this.#rows.delete(name)
      this.#slots.free(row)
    }
  }
}

const MANY_SHARE = 7 / 8

export type HttpRows = CounterRows<HttpColumn>

/** Counts the routes for which no row of their own is left. */
export const OTHER_ROUTES = "other routes"

/** Names of the rows of a service: its own, then one for each route. No name has a blank in it. */
export function httpRowNames({ name, routes }: HttpConfig): [string, ...string[]] {
  return [name, ...routes.map((route) => `${name} ${route.name}`)]
}

export function httpService(
  config: HttpConfig,
  rows: HttpRows,
  tls: ServerTlsSpec | undefined,
): DataHttpService {
  const [name, ...routes] = httpRowNames(config)
  const row = rows.row(name)
  const other = rows.row(OTHER_ROUTES)
  return { config, row, routeRows: routes.map((route) => rows.rowOr(route, other)), tls }
}

export function httpTemplates({ name, bind }: HttpConfig): ListenerTemplate[] {
  return bind.map(({ endpoint, tls }) => ({
    kind: "http",
    id: listenerId(`http ${name}`, endpoint),
    service: name,
    endpoint,
    isTls: tls,
  }))
}

export function listenerTemplates(stream: StreamConfig, row: number): ListenerTemplate[] {
  return stream.bind.map((endpoint) => ({
    kind: "stream",
    id: listenerId(stream.name, endpoint),
    stream: stream.name,
    row,
    endpoint,
    pool: stream.pool,
    idleTimeoutMs: stream.idleTimeoutMs,
    maxConnections: stream.maxConnections,
    acceptProxyProtocol: stream.acceptProxyProtocol,
    allow: stream.allow,
    deny: stream.deny,
  }))
}

export function listenerId(stream: string, endpoint: Endpoint): string {
  return `${stream} ${formatEndpoint(endpoint)}`
}

/**
 * Throws when another program listens where `added` wants to: sockets of the same user would share
 * the port silently. Where sockets of our own are in the way it cannot be told, and is left out: an
 * address of a Service goes to the next one while the listener of the first is still there.
 */
export function refuseTakenEndpoints(
  added: readonly Endpoint[],
  own: () => readonly Endpoint[],
): void {
  for (const endpoint of added) {
    if (!isEndpointTaken(endpoint) || own().some((each) => areInTheWay(each, endpoint))) continue
    const find = `ss -ltnp sport = :${endpoint.port}`
    throw new SystemError(
      `bind ${formatEndpoint(endpoint)}`,
      EADDRINUSE,
      `another program listens on port ${endpoint.port}; find it with: ${find}`,
    )
  }
}

/** Whether sockets that share nothing cannot listen on both. */
function areInTheWay(left: Endpoint, right: Endpoint): boolean {
  if (left.port !== right.port) return false
  return left.address === right.address || isWildcard(left.address) || isWildcard(right.address)
}

function isWildcard(address: Address): boolean {
  return address === ANY_IPV4 || address === ANY_IPV6
}
