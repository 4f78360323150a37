import { beforeEach, describe, expect, test } from "bun:test"
import type { PoolConfig, ServerConfig, TcpCheckConfig } from "../config/config.ts"
import type { Address } from "../net/address.ts"
import { SERVER_SLOTS_MAX, ServerBoard } from "../pool/server-board.ts"
import {
  allocateServerCounters,
  type ServerCounters,
  serverCounters,
} from "../pool/server-counters.ts"
import { type LeftOut, type RegisteredServer, ServerRegistry } from "./server-registry.ts"

const CHECK: TcpCheckConfig = {
  type: "tcp",
  intervalMs: 2000,
  timeoutMs: 1000,
  rise: 2,
  fall: 3,
  port: undefined,
}

let board: ServerBoard
let counters: readonly ServerCounters[]
let registry: ServerRegistry

beforeEach(() => {
  board = new ServerBoard(ServerBoard.allocate())
  counters = [serverCounters(allocateServerCounters())]
  registry = new ServerRegistry(board, counters)
})

function server(name: string, overrides: Partial<ServerConfig> = {}): ServerConfig {
  const endpoint = { address: "192.0.2.1" as Address, port: 3306 }
  return { name, endpoint, weight: 1, backup: false, maxConnections: 0, ...overrides }
}

function pool(name: string, servers: readonly ServerConfig[], check?: TcpCheckConfig): PoolConfig {
  return {
    name,
    balance: "round_robin",
    servers,
    maxFails: 2,
    failTimeoutMs: 30_000,
    connectTimeoutMs: 1000,
    connectRetries: 1,
    source: [],
    tls: undefined,
    kubernetes: undefined,
    proxyProtocol: "off",
    slowStartMs: 0,
    onDown: "keep",
    check,
  }
}

function known(poolName: string, name: string): RegisteredServer {
  const found = registry.servers(poolName).find(({ config }) => config.name === name)
  if (found === undefined) throw new Error(`no ${poolName}/${name}`)
  return found
}

describe("apply()", () => {
  test("gives a new server a slot of its own; unknown with a check, unchecked without", () => {
    registry.apply([pool("p", [server("a"), server("b")], CHECK), pool("q", [server("a")])], 5)
    const all = [known("p", "a"), known("p", "b"), known("q", "a")]
    expect(new Set(all.map(({ slot }) => slot)).size).toBe(3)
    expect(all.map(({ slot }) => board.health(slot))).toEqual(["unknown", "unknown", "unchecked"])
    expect(all.map(({ checkId }) => checkId)).toEqual(["p/a", "p/b", "q/a"])
    expect(all.map(({ sinceEpochMs }) => sinceEpochMs)).toEqual([5, 5, 5])
    expect(registry.byCheckId("p/b")).toBe(known("p", "b"))
    expect(registry.byCheckId("p/c")).toBeUndefined()
  })

  test("keeps slot, states and counters of a server that stays", () => {
    registry.apply([pool("p", [server("a"), server("b")], CHECK)], 5)
    const before = known("p", "a")
    registry.setHealth(before, "up", { sinceEpochMs: 6 })
    registry.setAdmin(before, "drain", 7)
    counters[0]?.add(before.slot, "connectionsTotal", 9)
    registry.apply([pool("p", [server("c"), server("a", { backup: true })], CHECK)], 8)
    const now = known("p", "a")
    expect(now).toBe(before)
    expect([now.config.backup, now.sinceEpochMs]).toEqual([true, 7])
    expect([board.health(now.slot), board.admin(now.slot)]).toEqual(["up", "drain"])
    expect(counters[0]?.get(now.slot, "connectionsTotal")).toBe(9)
  })

  test("takes a server at another address, or in another pool, for another server", () => {
    registry.apply([pool("p", [server("a")])], 5)
    const { slot } = known("p", "a")
    const moved = server("a", { endpoint: { address: "192.0.2.2" as Address, port: 3306 } })
    registry.apply([pool("p", [moved]), pool("q", [server("a")])], 6)
    expect(known("p", "a").slot).not.toBe(slot)
    expect(known("q", "a").slot).not.toBe(slot)
  })

  test("keeps the operator's weight until the file says another", () => {
    registry.apply([pool("p", [server("a", { weight: 2 })])], 5)
    const { slot } = known("p", "a")
    board.setWeight(slot, 7)
    registry.apply([pool("p", [server("a", { weight: 2 })])], 6)
    expect(board.weight(slot)).toBe(7)
    registry.apply([pool("p", [server("a", { weight: 3 })])], 7)
    expect(board.weight(slot)).toBe(3)
  })

  test("makes health unknown when a check comes, unchecked when it goes", () => {
    registry.apply([pool("p", [server("a")])], 5)
    const { slot } = known("p", "a")
    registry.apply([pool("p", [server("a")], CHECK)], 6)
    expect(board.health(slot)).toBe("unknown")
    registry.setHealth(known("p", "a"), "down", { sinceEpochMs: 7 })
    registry.apply([pool("p", [server("a")], { ...CHECK, fall: 9 })], 8)
    expect(board.health(slot)).toBe("down")
    registry.apply([pool("p", [server("a")])], 9)
    expect(board.health(slot)).toBe("unchecked")
  })

  test("forgets what is gone, and a server that comes back starts anew", () => {
    registry.apply([pool("p", [server("a")], CHECK), pool("q", [server("a")])], 5)
    const before = known("p", "a")
    registry.setAdmin(before, "maintenance", 6)
    registry.apply([pool("q", [server("a")])], 7)
    expect([registry.hasPool("p"), registry.servers("p")]).toEqual([false, []])
    expect(registry.byCheckId("p/a")).toBeUndefined()
    registry.apply([pool("p", [server("a")], CHECK), pool("q", [server("a")])], 8)
    expect(known("p", "a").slot).not.toBe(before.slot)
    expect(board.admin(known("p", "a").slot)).toBe("ready")
  })

  test("does not give a slot to another while connections of its server are open", () => {
    registry.apply([pool("p", [server("leaving")])], 0)
    const { slot } = known("p", "leaving")
    counters[0]?.add(slot, "connections", 1)
    for (let round = 1; round <= 40; round++) {
      const names = Array.from({ length: 1000 }, (_, at) => server(`${round}-${at}`))
      registry.apply([pool("p", names)], round)
      expect(registry.servers("p").some((each) => each.slot === slot)).toBe(false)
    }
    expect(counters[0]?.get(slot, "connections")).toBe(1)
  })

  test("lasts for more reloads than there are slots", () => {
    for (let round = 0; round < 40; round++) {
      const names = Array.from({ length: 1000 }, (_, at) => server(`${round}-${at}`))
      registry.apply([pool("p", names)], round)
    }
    const slots = registry.servers("p").map(({ slot }) => slot)
    expect(new Set(slots).size).toBe(1000)
  })
})

describe("when all slots are taken", () => {
  const crowd = (count: number) => Array.from({ length: count }, (_, at) => server(`crowd-${at}`))

  test("leaves new servers out, tells of them once, and keeps all others", () => {
    const told: LeftOut[] = []
    registry = new ServerRegistry(board, counters, (leftOut) => told.push(leftOut))
    const mine = pool("mine", [server("a")])
    registry.apply([mine], 0)
    const { slot } = known("mine", "a")
    const hog = pool("hog", crowd(SERVER_SLOTS_MAX + 4))
    registry.apply([hog, mine, pool("late", [server("b")])], 1)
    expect(registry.servers("hog")).toHaveLength(SERVER_SLOTS_MAX - 1)
    expect(registry.servers("mine").map((each) => each.slot)).toEqual([slot])
    registry.apply([hog, mine, pool("late", [server("b")])], 2)
    expect(told).toEqual([
      { pool: "hog", servers: 5 },
      { pool: "late", servers: 1 },
    ])
    registry.applyPool(pool("mine", [server("a"), server("c")]), 3)
    expect(registry.servers("mine").map((each) => each.slot)).toEqual([slot])
  })

  test("takes them in when there are slots again", () => {
    const mine = pool("mine", [server("a")])
    registry.apply([pool("hog", crowd(SERVER_SLOTS_MAX)), mine], 0)
    expect(registry.servers("mine")).toEqual([])
    registry.apply([mine], 1)
    registry.apply([mine], 2)
    expect(registry.servers("mine")).toHaveLength(1)
  })
})

test("spec() is what the data threads need to know", () => {
  const config = {
    ...pool("p", [server("a", { maxConnections: 9, weight: 4 })], CHECK),
    onDown: "close" as const,
    slowStartMs: 500,
  }
  registry.apply([config], 5)
  const [entry] = registry.pools()
  expect(entry && registry.specOf(entry.config.name, undefined)).toEqual({
    name: "p",
    balance: "round_robin",
    slowStartMs: 500,
    servers: [
      {
        name: "a",
        endpoint: { address: "192.0.2.1" as Address, port: 3306 },
        slot: known("p", "a").slot,
        backup: false,
        maxConnections: 9,
      },
    ],
    connectTimeoutMs: 1000,
    connectRetries: 1,
    maxFails: 2,
    failTimeoutMs: 30_000,
    closeOnDown: true,
    source: [],
    proxyProtocol: undefined,
    tls: undefined,
  })
})
