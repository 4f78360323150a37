/**
 * Streams of the configuration → listening sockets the data threads are to have. A listener is the
 * same from one configuration to the next when stream and endpoint are; its counters are the
 * stream's, one row for all its endpoints.
 */
import type { StreamConfig } from "../config/config.ts"
import { EADDRINUSE, SystemError } from "../linux/errno.ts"
import { isEndpointTaken } from "../linux/tcp.ts"
import { type Endpoint, formatEndpoint } from "../net/address.ts"
import { SlotAllocator } from "../pool/slot-allocator.ts"
import { LISTENER_ROWS_MAX, type ListenerCounters } from "../stream/listener-counters.ts"
import type { ListenerTemplate } from "./data-threads.ts"

export class StreamRows {
  readonly #counters: readonly ListenerCounters[]
  readonly #slots = new SlotAllocator(LISTENER_ROWS_MAX)
  readonly #rows = new Map<string, number>()

  constructor(counters: readonly ListenerCounters[]) {
    this.#counters = counters
  }

  /** The counter row of a stream, handed out at its first mention. */
  row(stream: string): number {
    const known = this.#rows.get(stream)
    if (known !== undefined) return known
    const isIdle = (row: number) =>
      this.#counters.every((table) => table.get(row, "connections") === 0)
    const row = this.#slots.allocate(isIdle)
    if (row === undefined) throw new Error(`Cannot hold more than ${LISTENER_ROWS_MAX} streams`)
    for (const table of this.#counters) table.clearRow(row)
    this.#rows.set(stream, row)
    return row
  }

  /** Gives up the rows of streams that are not in `streams` any more. */
  keepOnly(streams: readonly StreamConfig[]): void {
    const names = new Set(streams.map(({ name }) => name))
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue
      this.#rows.delete(name)
      this.#slots.free(row)
    }
  }
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
    allow: stream.allow,
    deny: stream.deny,
  }))
}

export function listenerId(stream: string, endpoint: Endpoint): string {
  return `${stream} ${formatEndpoint(endpoint)}`
}

/**
 * Throws when another program listens where `added` wants to: sockets of the same user would share
 * the port silently. Ports that our own sockets use already cannot be told apart and are left out.
 */
export function refuseTakenEndpoints(
  added: readonly Endpoint[],
  ownPorts: ReadonlySet<number>,
): void {
  for (const endpoint of added) {
    if (ownPorts.has(endpoint.port) || !isEndpointTaken(endpoint)) continue
    const find = `ss -ltnp sport = :${endpoint.port}`
    throw new SystemError(
      `bind ${formatEndpoint(endpoint)}`,
      EADDRINUSE,
      `another program listens on port ${endpoint.port}; find it with: ${find}`,
    )
  }
}
