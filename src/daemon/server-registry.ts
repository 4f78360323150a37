/**
 * Servers as the process knows them: each has a slot in the shared board for as long as a
 * configuration names it, and with the slot its health, the operator's word and its counters.
 *
 * A server is the same from one configuration to the next when pool, name and address are.
 *
 * Who writes EndpointSlices decides how many servers there are. When all slots are taken, a new one
 * is left out and told of; everything else goes on.
 */
import type { PoolConfig, ServerConfig } from "../config/config.ts"
import type { DataPoolSpec } from "../dataplane/messages.ts"
import { formatEndpoint } from "../net/address.ts"
import type { PoolServerSpec } from "../pool/pool.ts"
import type { AdminState, Health, ServerBoard } from "../pool/server-board.ts"
import { SERVER_SLOTS_MAX } from "../pool/server-board.ts"
import type { ServerCounters } from "../pool/server-counters.ts"
import { SlotAllocator } from "../pool/slot-allocator.ts"
import type { ClientTlsSpec } from "../tls/tls-spec.ts"

export interface RegisteredServer {
  readonly pool: string
  readonly config: ServerConfig
  readonly slot: number
  /** Names its check to the health checker. */
  readonly checkId: string
  /** Wall clock of the last change of health or operator state, milliseconds since the epoch. */
  sinceEpochMs: number
  /** As the data threads were told of it last. */
  spec?: PoolServerSpec
}

interface Entry {
  readonly config: PoolConfig
  readonly servers: Map<string, RegisteredServer>
  /** For want of slots; looked at again with every configuration. */
  readonly leftOut: number
  /** Made when first asked for. */
  spec: DataPoolSpec | undefined
}

/** Servers left out because all slots were taken. */
export interface LeftOut {
  readonly pool: string
  readonly servers: number
}

export class ServerRegistry {
  readonly #board: ServerBoard
  readonly #onLeftOut: (leftOut: LeftOut) => void
  readonly #counters: readonly ServerCounters[]
  readonly #slots = new SlotAllocator(SERVER_SLOTS_MAX)
  readonly #byCheckId = new Map<string, RegisteredServer>()
  #pools = new Map<string, Entry>()

  constructor(
    board: ServerBoard,
    counters: readonly ServerCounters[],
    onLeftOut: (leftOut: LeftOut) => void = () => {},
  ) {
    this.#board = board
    this.#onLeftOut = onLeftOut
    this.#counters = counters
  }

  /** Makes `pools` what is known; who stays keeps slot, states and counters. */
  apply(pools: readonly PoolConfig[], nowEpochMs: number): void {
    const previous = this.#pools
    this.#pools = new Map()
    for (const config of pools) {
      const old = previous.get(config.name)
      previous.delete(config.name)
      this.#pools.set(config.name, this.#entry(config, old, nowEpochMs))
    }
    for (const { servers } of previous.values()) this.#drop(servers.values())
  }

  /** The same for one pool that is known already; another is left alone. */
  applyPool(config: PoolConfig, nowEpochMs: number): void {
    const old = this.#pools.get(config.name)
    if (old !== undefined) this.#pools.set(config.name, this.#entry(config, old, nowEpochMs))
  }

  pools(): { config: PoolConfig; servers: RegisteredServer[] }[] {
    return [...this.#pools.values()].map(({ config, servers }) => ({
      config,
      servers: [...servers.values()],
    }))
  }

  servers(pool: string): RegisteredServer[] {
    return [...(this.#pools.get(pool)?.servers.values() ?? [])]
  }

  hasPool(pool: string): boolean {
    return this.#pools.has(pool)
  }

  byCheckId(checkId: string): RegisteredServer | undefined {
    return this.#byCheckId.get(checkId)
  }

  poolConfig(pool: string): PoolConfig | undefined {
    return this.#pools.get(pool)?.config
  }

  setHealth(server: RegisteredServer, health: Health, change: { readonly sinceEpochMs: number }) {
    this.#board.setHealth(server.slot, health)
    server.sinceEpochMs = change.sinceEpochMs
  }

  setAdmin(server: RegisteredServer, admin: AdminState, nowEpochMs: number): void {
    this.#board.setAdmin(server.slot, admin)
    server.sinceEpochMs = nowEpochMs
  }

  /** What the data threads need of each pool; the same object while it is the same. */
  specs(tlsOf: (pool: string) => ClientTlsSpec | undefined): DataPoolSpec[] {
    return [...this.#pools].map(([name, entry]) => specOf(entry, tlsOf(name)))
  }

  specOf(pool: string, tls: ClientTlsSpec | undefined): DataPoolSpec | undefined {
    const entry = this.#pools.get(pool)
    return entry === undefined ? undefined : specOf(entry, tls)
  }

  #entry(config: PoolConfig, old: Entry | undefined, nowEpochMs: number): Entry {
    if (old?.config === config && old.leftOut === 0) return old
    const servers = new Map<string, RegisteredServer>()
    let leftOut = 0
    for (const server of config.servers) {
      const key = keyOf(server)
      const known = old?.servers.get(key)
      old?.servers.delete(key)
      const registered =
        known === undefined
          ? this.#add(config, server, nowEpochMs)
          : this.#keep(known, { config, server })
      if (registered === undefined) leftOut++
      else servers.set(key, registered)
    }
    if (old !== undefined) this.#drop(old.servers.values())
    if (leftOut > 0 && leftOut !== old?.leftOut) {
      this.#onLeftOut({ pool: config.name, servers: leftOut })
    }
    for (const server of servers.values()) this.#byCheckId.set(server.checkId, server)
    return { config, servers, leftOut, spec: undefined }
  }

  #drop(servers: Iterable<RegisteredServer>): void {
    for (const server of servers) {
      this.#slots.free(server.slot)
      if (this.#byCheckId.get(server.checkId) === server) this.#byCheckId.delete(server.checkId)
    }
  }

  /** Undefined: there is no slot for it. */
  #add(config: PoolConfig, server: ServerConfig, nowEpochMs: number): RegisteredServer | undefined {
    const isIdle = (slot: number) =>
      this.#counters.every((table) => table.get(slot, "connections") === 0)
    const slot = this.#slots.allocate(isIdle)
    if (slot === undefined) return undefined
    for (const table of this.#counters) table.clearRow(slot)
    this.#board.reset(slot, server.weight, config.check === undefined ? "unchecked" : "unknown")
    return {
      pool: config.name,
      config: server,
      slot,
      checkId: `${config.name}/${server.name}`,
      sinceEpochMs: nowEpochMs,
    }
  }

  #keep(
    known: RegisteredServer,
    next: { readonly config: PoolConfig; readonly server: ServerConfig },
  ): RegisteredServer {
    // An operator's weight stays until the file says something new.
    if (known.config.weight !== next.server.weight) {
      this.#board.setWeight(known.slot, next.server.weight)
    }
    const isChecked = this.#board.health(known.slot) !== "unchecked"
    if (isChecked !== (next.config.check !== undefined)) {
      this.#board.setHealth(known.slot, isChecked ? "unchecked" : "unknown")
    }
    return Object.assign(known, { config: next.server })
  }
}

function keyOf(server: ServerConfig): string {
  return `${server.name} ${formatEndpoint(server.endpoint)}`
}

/** The same object while it says the same. */
function serverSpec(server: RegisteredServer): PoolServerSpec {
  const { slot, spec: known } = server
  const { name, endpoint, backup, maxConnections } = server.config
  const isSame =
    known?.name === name &&
    known.endpoint === endpoint &&
    known.backup === backup &&
    known.maxConnections === maxConnections
  if (isSame) return known
  server.spec = { name, endpoint, slot, backup, maxConnections }
  return server.spec
}

function specOf(entry: Entry, tls: ClientTlsSpec | undefined): DataPoolSpec {
  if (entry.spec !== undefined && entry.spec.tls === tls) return entry.spec
  const { config } = entry
  const servers = [...entry.servers.values()]
  entry.spec = {
    tls,
    name: config.name,
    balance: config.balance,
    slowStartMs: config.slowStartMs,
    servers: servers.map(serverSpec),
    connectTimeoutMs: config.connectTimeoutMs,
    connectRetries: config.connectRetries,
    maxFails: config.maxFails,
    failTimeoutMs: config.failTimeoutMs,
    closeOnDown: config.onDown === "close",
    source: config.source,
    proxyProtocol: config.proxyProtocol === "off" ? undefined : config.proxyProtocol,
  }
  return entry.spec
}
