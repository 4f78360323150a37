import { beforeEach, describe, expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { instant } from "../net/time.ts"
import {
  connectionsOf,
  isServerUsable,
  Pool,
  type PoolServer,
  type PoolServerSpec,
  type PoolSpec,
} from "./pool.ts"
import { ServerBoard } from "./server-board.ts"
import { allocateServerCounters, type ServerCounters, serverCounters } from "./server-counters.ts"

let board: ServerBoard
/** The tables of two data threads. */
let counters: readonly [ServerCounters, ServerCounters]

const NOW = instant(1_000_000)
const NONE: never[] = []

beforeEach(() => {
  board = new ServerBoard(ServerBoard.allocate())
  counters = [serverCounters(allocateServerCounters()), serverCounters(allocateServerCounters())]
})

/** A pool of servers a (slot 0), b (slot 1) … which are up with weight 1. */
function poolOf(
  servers: readonly Partial<PoolServerSpec>[],
  options: Partial<Omit<PoolSpec, "servers">> = {},
): Pool {
  const specs = servers.map((server, slot) => {
    board.reset(slot, 1, "up")
    const endpoint = { address: `192.0.2.${slot + 1}` as Address, port: 80 }
    return {
      name: "abcdef"[slot] ?? "",
      endpoint,
      slot,
      backup: false,
      maxConnections: 0,
      ...server,
    }
  })
  const spec = { name: "p", balance: "round_robin" as const, slowStartMs: 0, ...options }
  return new Pool({ ...spec, servers: specs }, { board, counters })
}

/** Names picked at `now`, sorted and each once: the tier a policy is given. */
function tier(pool: Pool, now = NOW): string {
  const names = Array.from({ length: 20 }, () => pool.pick(0, now, NONE)?.name ?? "-")
  return [...new Set(names)].sort().join("")
}

function eject(slot: number): void {
  board.recordFailure(slot, NOW, { maxFails: 1, failTimeoutMs: 10_000 })
}

describe("pick()", () => {
  test("uses all servers that are up or have no check", () => {
    const pool = poolOf([{}, {}])
    board.setHealth(1, "unchecked")
    expect(tier(pool)).toBe("ab")
  })

  test("follows the policy of the pool", () => {
    expect(tier(poolOf([{}, {}], { balance: "first" }))).toBe("a")
  })

  test("prefers, in order: up, unknown, backup, unknown backup, ejected, ejected backup", () => {
    const pool = poolOf([{}, {}, { backup: true }, { backup: true }, {}, { backup: true }])
    board.setHealth(1, "unknown")
    board.setHealth(3, "unknown")
    eject(4)
    eject(5)
    let order = ""
    for (let tiers = 0; tiers < 6; tiers++) {
      const names = tier(pool)
      order += names
      board.setHealth("abcdef".indexOf(names), "down")
    }
    expect(order).toBe("abcdef")
    expect(tier(pool)).toBe("-")
  })

  test("never uses a server that is down, even when all are", () => {
    const pool = poolOf([{}, {}])
    board.setHealth(0, "down")
    expect(tier(pool)).toBe("b")
    board.setHealth(1, "down")
    expect(pool.pick(0, NOW, NONE)).toBeUndefined()
  })

  test("never uses a server that the operator drains or maintains, even as the last resort", () => {
    const pool = poolOf([{}, {}, {}])
    board.setAdmin(0, "drain")
    board.setAdmin(1, "maintenance")
    expect(tier(pool)).toBe("c")
    board.setHealth(2, "down")
    expect(tier(pool)).toBe("-")
  })

  test("never uses a server of weight 0", () => {
    const pool = poolOf([{}, {}])
    board.setWeight(0, 0)
    expect(tier(pool)).toBe("b")
    board.setHealth(1, "down")
    expect(tier(pool)).toBe("-")
  })

  test("uses ejected servers again when the time is over", () => {
    const pool = poolOf([{}, {}])
    eject(0)
    expect(tier(pool, instant(1_009_999))).toBe("b")
    expect(tier(pool, instant(1_010_000))).toBe("ab")
  })

  test("uses all ejected servers rather than none", () => {
    const pool = poolOf([{}, {}])
    eject(0)
    eject(1)
    expect(tier(pool)).toBe("ab")
  })

  test("does not pick what was tried, and falls to the next tier for it", () => {
    const pool = poolOf([{}, { backup: true }])
    const [a, b] = pool.servers
    if (a === undefined || b === undefined) throw new Error("two servers")
    expect(pool.pick(0, NOW, [a])).toBe(b)
    expect(pool.pick(0, NOW, [b, a])).toBeUndefined()
  })

  test("leaves out a server with max_connections open over all threads", () => {
    const pool = poolOf([{ maxConnections: 3 }, {}], { balance: "first" })
    counters[0].add(0, "connections", 1)
    counters[1].add(0, "connections", 1)
    expect(pool.pick(0, NOW, NONE)?.name).toBe("a")
    counters[1].add(0, "connections", 1)
    expect(pool.pick(0, NOW, NONE)?.name).toBe("b")
    counters[0].add(0, "connections", -1)
    expect(pool.pick(0, NOW, NONE)?.name).toBe("a")
  })

  test("least_conn sees the connections of all threads", () => {
    const pool = poolOf([{}, {}], { balance: "least_conn" })
    counters[0].add(1, "connections", 1)
    counters[1].add(0, "connections", 2)
    expect(tier(pool)).toBe("b")
  })

  test("a new weight counts at once", () => {
    const pool = poolOf([{}, {}])
    board.setWeight(0, 3)
    const names = Array.from({ length: 8 }, () => pool.pick(0, NOW, NONE)?.name)
    expect(names.filter((name) => name === "a")).toHaveLength(6)
  })

  test("source takes the client's hash", () => {
    const pool = poolOf([{}, {}, {}, {}], { balance: "source" })
    const picks = (key: number) =>
      Array.from({ length: 5 }, () => pool.pick(key, NOW, NONE)?.name).join("")
    const names = [1, 2, 3, 4, 5, 6, 7, 8].map(picks)
    expect(names.every((name) => /^(.)\1{4}$/.test(name))).toBe(true)
    expect(new Set(names).size).toBeGreaterThan(1)
  })
})

describe("slow start", () => {
  /** a's share of 1000 picks at `now`, in percent; b has its full weight. */
  function share(pool: Pool, now: number): number {
    const names = Array.from({ length: 1000 }, () => pool.pick(0, instant(now), NONE)?.name)
    return names.filter((name) => name === "a").length / 10
  }

  test("ramps from 5 % of the weight to all of it", () => {
    const pool = poolOf([{}, {}], { slowStartMs: 10_000 })
    board.setSlowStartSince(0, 1_000_000)
    expect(share(pool, 1_000_000)).toBeCloseTo(4.8, 0) // 0.05 of 1.05
    expect(share(pool, 1_000_500)).toBeCloseTo(4.8, 0)
    expect(share(pool, 1_005_000)).toBeCloseTo(33.3, 0) // 0.5 of 1.5
    expect(share(pool, 1_010_000)).toBe(50)
    expect(share(pool, 9_000_000)).toBe(50)
  })

  test("is off for a pool without slow_start and a server that was never down", () => {
    expect(share(poolOf([{}, {}], { slowStartMs: 10_000 }), 1_000_000)).toBe(50)
    const pool = poolOf([{}, {}])
    board.setSlowStartSince(0, 1_000_000)
    expect(share(pool, 1_000_000)).toBe(50)
  })

  test("a ramping server is used alone when there is no other", () => {
    const pool = poolOf([{}], { slowStartMs: 10_000 })
    board.setSlowStartSince(0, 1_000_000)
    expect(tier(pool, instant(1_000_000))).toBe("a")
  })
})

test("connectionsOf() adds up all threads", () => {
  counters[0].add(4, "connections", 2)
  counters[1].add(4, "connections", 3)
  expect(connectionsOf({ board, counters }, 4)).toBe(5)
})

test.each([
  ["up", "ready", 1, true],
  ["unchecked", "ready", 1, true],
  ["unknown", "ready", 1, false],
  ["down", "ready", 1, false],
  ["up", "drain", 1, false],
  ["up", "maintenance", 1, false],
  ["up", "ready", 0, false],
] as const)("isServerUsable() of %s, %s, weight %d is %p", (health, admin, weight, expected) => {
  board.reset(0, weight, health)
  board.setAdmin(0, admin)
  expect(isServerUsable(board, 0)).toBe(expected)
})

describe("a pool in the place of another", () => {
  const member = (slot: number, name = "abcdefghij"[slot] ?? ""): PoolServerSpec => {
    const endpoint = { address: `192.0.2.${slot + 1}` as Address, port: 80 }
    return { name, endpoint, slot, backup: false, maxConnections: 0 }
  }
  const made = (slots: readonly number[], previous?: Pool) => {
    const spec = { name: "p", balance: "round_robin" as const, slowStartMs: 0 }
    const servers = slots.map((slot) => member(slot))
    return new Pool({ ...spec, servers }, { board, counters }, previous)
  }
  const picked = (pool: Pool) => pool.pick(0, NOW, NONE)?.name

  beforeEach(() => {
    for (let slot = 0; slot < 10; slot++) board.reset(slot, 1, "up")
  })

  test("goes on with the turns of the servers that stay", () => {
    let pool = made([0, 1, 2])
    const names: (string | undefined)[] = []
    for (let round = 0; round < 6; round++) {
      names.push(picked(pool))
      pool = made([0, 1, 2], pool)
    }
    expect(names.join("")).toBe("abcabc")
  })

  test("keeps the objects of servers that stay, and of no others", () => {
    const before = made([0, 1, 2])
    const after = made([1, 2, 3], before)
    expect(after.servers.map((server) => before.servers.includes(server))).toEqual([
      true,
      true,
      false,
    ])
    const spec = { name: "p", balance: "round_robin" as const, slowStartMs: 0 }
    const renamed = { ...spec, servers: [member(1, "other")] }
    const another = new Pool(renamed, { board, counters }, after)
    expect(after.servers.includes(another.servers[0] as PoolServer)).toBe(false)
  })

  test("spreads evenly while servers come and go after every pick", () => {
    const counts = new Map<string, number>()
    let pool = made([0, 1, 2, 3, 4])
    for (let round = 0; round < 10_000; round++) {
      // Five of ten at a time, one replaced in each round: each is in for half of the rounds.
      pool = made(
        [0, 1, 2, 3, 4].map((at) => (at + round) % 10),
        pool,
      )
      const name = picked(pool) ?? "-"
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(100)
    expect(counts.size).toBe(10)
  })

  test("neither prefers nor passes over a newcomer, whatever has gone before", () => {
    let pool = made([0, 1, 2, 3])
    for (let round = 0; round < 1000; round++) {
      picked(pool)
      // Who was picked leaves with its debt, and comes again without.
      pool = made([0, 1, 2, 3].slice(round % 2), pool)
    }
    pool = made([0, 1, 2, 3, 4], pool)
    const names = Array.from({ length: 50 }, () => picked(pool))
    for (const name of "abcde") {
      expect(Math.abs(names.filter((each) => each === name).length - 10)).toBeLessThanOrEqual(1)
    }
  })
})
