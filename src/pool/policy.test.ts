import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { BalancePolicy } from "../config/config.ts"
import { hashText } from "./hash.ts"
import { type Candidate, createPolicy } from "./policy.ts"

interface Server extends Candidate {
  readonly name: string
  effectiveWeight: number
  connections: number
}

function server(name: string, weight = 1, connections = 0): Server {
  return { name, hash: hashText(name), effectiveWeight: weight, connections, currentWeight: 0 }
}

function servers(weights: Readonly<Record<string, number>>): Server[] {
  return Object.entries(weights).map(([name, weight]) => server(name, weight))
}

/** Names chosen, for clients 0, 1, 2 … */
function choices(balance: BalancePolicy, candidates: readonly Server[], count: number): string[] {
  const policy = createPolicy<Server>(balance)
  return Array.from({ length: count }, (_, at) => policy.choose(candidates, keyOf(at)).name)
}

function keyOf(client: number): number {
  return hashText(`198.51.100.${client}`)
}

function countOf(names: readonly string[], name: string): number {
  return names.filter((each) => each === name).length
}

const BALANCES: readonly BalancePolicy[] = ["round_robin", "least_conn", "source", "first"]

describe.each(BALANCES)("policy %s", (balance) => {
  test("chooses the only candidate", () => {
    expect(choices(balance, servers({ a: 3 }), 5)).toEqual(["a", "a", "a", "a", "a"])
  })

  test("chooses one of the candidates, whatever their weights and loads", () => {
    const candidate = fc.record({
      weight: fc.oneof(fc.integer({ min: 1, max: 256 }), fc.double({ min: 0.05, max: 1 })),
      connections: fc.nat(100_000),
    })
    fc.assert(
      fc.property(
        fc.array(candidate, { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 30 }),
        (specs, keys) => {
          const all = specs.map((spec, at) => server(String(at), spec.weight, spec.connections))
          const policy = createPolicy<Server>(balance)
          for (const key of keys) expect(all).toContain(policy.choose(all, key))
        },
      ),
    )
  })

  test("goes on when candidates come and go between two choices", () => {
    const [a, b, c] = [server("a"), server("b"), server("c")]
    const policy = createPolicy<Server>(balance)
    for (let round = 0; round < 20; round++) {
      for (const some of [[a, b, c], [b], [c, a], [c]]) {
        expect(some).toContain(policy.choose(some, keyOf(round)))
      }
    }
  })

  test("does not change what it is given but its own working memory", () => {
    const all = servers({ a: 2, b: 1 })
    const before = all.map(({ currentWeight: _, ...rest }) => rest)
    choices(balance, all, 7)
    expect(all.map(({ currentWeight: _, ...rest }) => rest)).toEqual(before)
  })
})

/**
 * A policy for which connections do not matter gives each its share; least_conn with their ends.
 */
describe.each(["round_robin", "source"] as const)("policy %s", (balance) => {
  test("gives each candidate a share that follows its weight", () => {
    const names = choices(balance, servers({ a: 1, b: 3 }), 4000)
    expect(countOf(names, "a")).toBeGreaterThan(900)
    expect(countOf(names, "a")).toBeLessThan(1100)
  })
})

describe("round_robin", () => {
  test("spreads weights 5, 1, 1 smoothly (nginx's own example)", () => {
    const names = choices("round_robin", servers({ a: 5, b: 1, c: 1 }), 14)
    expect(names.join("")).toBe("aabacaaaabacaa")
  })

  test("takes equal servers in turn", () => {
    expect(choices("round_robin", servers({ a: 1, b: 1, c: 1 }), 7).join("")).toBe("abcabca")
  })

  test("a server that comes back is not given what it missed", () => {
    const [a, b] = [server("a"), server("b")]
    const policy = createPolicy<Server>("round_robin")
    for (let round = 0; round < 100; round++) policy.choose([a], 0)
    const names = Array.from({ length: 4 }, () => policy.choose([a, b], 0).name)
    expect(names.join("")).toBe("abab")
  })
})

describe("least_conn", () => {
  test("chooses the fewest connections per weight", () => {
    const candidates = [server("a", 1, 10), server("b", 4, 30), server("c", 2, 20)]
    expect(choices("least_conn", candidates, 3)).toEqual(["b", "b", "b"])
  })

  test("takes equally loaded servers in turn", () => {
    const candidates = [server("a", 1, 5), server("b", 1, 5), server("c", 1, 6)]
    expect(choices("least_conn", candidates, 4).join("")).toBe("abab")
  })

  test("levels out unequal loads", () => {
    const candidates = [server("a", 1, 6), server("b", 1, 0)]
    const policy = createPolicy<Server>("least_conn")
    for (let count = 0; count < 10; count++) policy.choose(candidates, 0).connections++
    expect(candidates.map(({ connections }) => connections)).toEqual([8, 8])
  })
})

describe("source", () => {
  const all = servers({ a: 1, b: 1, c: 1, d: 1 })

  test("gives the same client the same server, in any order of the candidates", () => {
    const policy = createPolicy<Server>("source")
    for (let client = 0; client < 200; client++) {
      const chosen = policy.choose(all, keyOf(client))
      expect(policy.choose([...all].reverse(), keyOf(client))).toBe(chosen)
    }
  })

  test("moves only the clients of a server that leaves", () => {
    const policy = createPolicy<Server>("source")
    const without = all.filter(({ name }) => name !== "c")
    for (let client = 0; client < 500; client++) {
      const before = policy.choose(all, keyOf(client)).name
      const now = policy.choose(without, keyOf(client)).name
      if (before !== "c") expect(now).toBe(before)
    }
  })

  test("a server that gains weight takes clients and gives none away", () => {
    const policy = createPolicy<Server>("source")
    const heavier = all.map((each) => (each.name === "b" ? { ...each, effectiveWeight: 3 } : each))
    for (let client = 0; client < 500; client++) {
      const before = policy.choose(all, keyOf(client)).name
      const now = policy.choose(heavier, keyOf(client)).name
      if (now !== "b") expect(now).toBe(before)
    }
  })

  test("spreads neighbouring clients evenly", () => {
    const names = choices("source", all, 4000)
    for (const { name } of all) {
      expect(countOf(names, name)).toBeGreaterThan(880)
      expect(countOf(names, name)).toBeLessThan(1120)
    }
  })
})

test("first chooses the first candidate, however loaded", () => {
  const candidates = [server("a", 1, 1000), server("b", 9, 0)]
  expect(choices("first", candidates, 3)).toEqual(["a", "a", "a"])
})
