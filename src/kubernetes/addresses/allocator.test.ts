import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../../net/address.ts"
import {
  advertisementOf,
  ingressOf,
  metalLbPoolOf,
  portOf,
  serviceOf,
} from "../fixtures/services.ts"
import type { MetalLbPool, Service } from "../objects.ts"
import { Allocator } from "./allocator.ts"
import { effectivePools } from "./pools.ts"

type Spec = Parameters<typeof serviceOf>[1]

class Bench {
  readonly allocator = new Allocator()

  constructor(
    pools: Record<string, readonly string[] | Partial<MetalLbPool>>,
    reserved: string[] = [],
  ) {
    this.pools(pools, reserved)
    this.allocator.setGiving(true)
  }

  pools(
    pools: Record<string, readonly string[] | Partial<MetalLbPool>>,
    reserved: readonly string[] = [],
  ): this {
    const metalLbPools = Object.entries(pools).map(([name, pool]) =>
      Array.isArray(pool)
        ? metalLbPoolOf(`m/${name}`, pool)
        : metalLbPoolOf(
            `m/${name}`,
            (pool as Partial<MetalLbPool>).addresses ?? [],
            pool as object,
          ),
    )
    const sources = {
      addressPools: [],
      vrrp: [],
      metalLbPools,
      l2Advertisements: [advertisementOf("m/a")],
    }
    this.allocator.configure({
      pools: effectivePools(sources).pools,
      reserved: new Set(reserved as Address[]),
      namespaceLabels: new Map([["shop", { team: "a" }]]),
    })
    return this
  }

  /** Adds a Service and says what it is given. */
  add(name: string, spec: Spec = {}, isOurs = true): string {
    this.allocator.set(serviceOf(`shop/${name}`, spec), isOurs)
    this.allocator.give()
    return this.of(name)
  }

  of(name: string): string {
    const { addresses, reason } = this.allocator.placementOf(`shop/${name}`)
    return `${reason} ${addresses.join()}`.trim()
  }
}

const asking = (name: string, value: string) => ({ meta: { annotations: { [name]: value } } })
const sharing = (key: string, port: number, more: Spec = {}): Spec => ({
  ports: [portOf(port)],
  ...more,
  meta: { annotations: { "metallb.io/allow-shared-ip": key } },
})
const DUAL: Spec = { ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" }
const PREFER: Spec = { ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "PreferDualStack" }

describe("Allocator", () => {
  test("gives the first of 192.168.1.240-192.168.1.250, then the next", () => {
    const bench = new Bench({ pool: ["192.168.1.240-192.168.1.250"] })
    expect(bench.add("web")).toBe("Assigned 192.168.1.240")
    expect(bench.add("api")).toBe("Assigned 192.168.1.241")
  })

  test("gives nothing before it is told to", () => {
    const bench = new Bench({ pool: ["192.0.2.1"] })
    bench.allocator.setGiving(false)
    expect(bench.add("web")).toBe("Waiting")
    bench.allocator.setGiving(true)
    bench.allocator.give()
    expect(bench.of("web")).toBe("Assigned 192.0.2.1")
  })

  test("adopts addresses in status before anything is given out", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.3"] })
    bench.allocator.setGiving(false)
    bench.add("new")
    bench.add("old", { ingress: ingressOf("192.0.2.1") })
    bench.allocator.setGiving(true)
    bench.allocator.give()
    expect(bench.of("old")).toBe("Assigned 192.0.2.1")
    expect(bench.of("new")).toBe("Assigned 192.0.2.2")
  })

  test("serves older Services first when it begins", () => {
    const bench = new Bench({ pool: ["192.0.2.1"] })
    bench.allocator.setGiving(false)
    bench.add("young", { meta: { createdEpochMs: 2 } })
    bench.add("aged", { meta: { createdEpochMs: 1 } })
    bench.allocator.setGiving(true)
    bench.allocator.give()
    expect([bench.of("aged"), bench.of("young")]).toEqual(["Assigned 192.0.2.1", "PoolExhausted"])
  })

  test("gives the lowest address that was freed to who waits for one", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.2"] })
    bench.add("a")
    bench.add("b")
    expect(bench.add("c")).toBe("PoolExhausted")
    bench.allocator.delete("shop/a")
    bench.allocator.give()
    expect(bench.of("c")).toBe("Assigned 192.0.2.1")
    expect(bench.of("b")).toBe("Assigned 192.0.2.2")
  })

  test("never moves an address, whatever happens to the pools", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.9"] })
    expect(bench.add("web", { ingress: ingressOf("192.0.2.7") })).toBe("Assigned 192.0.2.7")
    bench.pools({ first: ["192.0.2.1"], pool: ["192.0.2.7"] })
    expect(bench.of("web")).toBe("Assigned 192.0.2.7")
    bench.pools({ pool: { addresses: ["192.0.2.7"], autoAssign: false } })
    expect(bench.of("web")).toBe("Assigned 192.0.2.7")
    bench.pools({ first: ["192.0.2.1"] })
    bench.allocator.give()
    expect(bench.of("web")).toBe("AddressWithoutPool")
  })

  test("leaves alone what others wrote, and does not give it to anybody", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.2"] })
    expect(bench.add("theirs", { ingress: ingressOf("192.0.2.1") }, false)).toBe(
      "Waiting 192.0.2.1",
    )
    expect(bench.add("web")).toBe("Assigned 192.0.2.2")
    expect(
      bench.add("host", { ingress: [{ ip: undefined, hostname: "lb", ipMode: undefined }] }),
    ).toBe("AddressWithoutPool")
    expect(bench.add("wish", { loadBalancerIP: "192.0.2.1" })).toBe("AddressInUse")
  })

  test("keeps the address until another that was asked for can be had", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.3"] })
    bench.add("other", { ingress: ingressOf("192.0.2.2") })
    const held = { ingress: ingressOf("192.0.2.1") }
    expect(bench.add("web", { ...held, loadBalancerIP: "192.0.2.2" })).toBe(
      "AddressInUse 192.0.2.1",
    )
    expect(bench.add("web", { ...held, loadBalancerIP: "192.0.2.9" })).toBe(
      "AddressNotInPool 192.0.2.1",
    )
    expect(bench.add("web", { ...held, loadBalancerIP: "nonsense" })).toBe(
      "InvalidRequest 192.0.2.1",
    )
    expect(bench.add("web", { ...held, loadBalancerIP: "192.0.2.3" })).toBe("Assigned 192.0.2.3")
    expect(bench.add("web", { ...held, loadBalancerIP: "192.0.2.2" })).toBe(
      "AddressInUse 192.0.2.1",
    )
    bench.allocator.delete("shop/other")
    bench.allocator.give()
    expect(bench.of("web")).toBe("Assigned 192.0.2.2")
  })

  test("moves to a pool that is asked for, and stays in it", () => {
    const bench = new Bench({
      a: ["192.0.2.1"],
      b: { addresses: ["10.0.0.1-10.0.0.9"], autoAssign: false },
    })
    const pool = asking("metallb.io/address-pool", "b")
    expect(bench.add("web", { ...pool, ingress: ingressOf("192.0.2.1") })).toBe("Assigned 10.0.0.1")
    expect(bench.add("api", { ...pool, ingress: ingressOf("10.0.0.5") })).toBe("Assigned 10.0.0.5")
    expect(bench.add("x", asking("metallb.io/address-pool", "c"))).toBe("UnknownPool")
  })

  test("asks no pool that is not for the Service", () => {
    const allocateTo = (namespace: string) => {
      const lists = { namespaceSelectors: [], serviceSelectors: [] }
      return { priority: 1, namespaces: [namespace], ...lists }
    }
    const bench = new Bench({
      theirs: { addresses: ["192.0.2.1"], allocateTo: allocateTo("x") },
      ours: { addresses: ["10.0.0.9"], allocateTo: allocateTo("shop") },
      all: ["10.0.0.1"],
      hand: { addresses: ["10.0.1.1"], autoAssign: false },
    })
    expect(bench.add("web")).toBe("Assigned 10.0.0.9")
    expect(bench.add("two")).toBe("Assigned 10.0.0.1")
    expect(bench.add("three")).toBe("PoolExhausted")
    expect(bench.add("named", { loadBalancerIP: "192.0.2.1" })).toBe("PoolNotAllowed")
    expect(bench.add("pool", asking("metallb.io/address-pool", "theirs"))).toBe("PoolNotAllowed")
    expect(bench.add("by-hand", { loadBalancerIP: "10.0.1.1" })).toBe("Assigned 10.0.1.1")
    bench.pools({ hand: { addresses: ["10.0.1.1"], autoAssign: false } })
    bench.allocator.give()
    expect(bench.of("three")).toBe("NoPool")
  })

  test("spares the edge's own addresses unless asked for by number", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.2"] }, ["192.0.2.1"])
    expect(bench.add("web")).toBe("Assigned 192.0.2.2")
    expect(bench.add("own", { loadBalancerIP: "192.0.2.1" })).toBe("Assigned 192.0.2.1")
  })

  test("shares an address by key, with other ports alone", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.4"] })
    expect(bench.add("alone")).toBe("Assigned 192.0.2.1")
    expect(bench.add("a", sharing("k", 80))).toBe("Assigned 192.0.2.2")
    bench.allocator.delete("shop/alone")
    expect(bench.add("b", sharing("k", 443))).toBe("Assigned 192.0.2.2")
    expect(bench.add("c", sharing("k", 80))).toBe("Assigned 192.0.2.1")
    expect(bench.add("d", sharing("other", 81))).toBe("Assigned 192.0.2.3")
    const here = { loadBalancerIP: "192.0.2.2" }
    expect(bench.add("e", sharing("k", 443, here))).toBe("AddressInUse")
    expect(bench.add("f", sharing("other", 81, here))).toBe("AddressInUse")
    expect(bench.add("g", { ...here, ports: [portOf(81)] })).toBe("AddressInUse")
    expect(bench.add("h", sharing("k", 8080, here))).toBe("Assigned 192.0.2.2")
    const udp = { ...here, ports: [portOf(80, { protocol: "UDP" })] }
    expect(bench.add("i", { ...sharing("k", 80), ...udp })).toBe("Assigned 192.0.2.2")
  })

  test("takes both families from one pool, else from two", () => {
    const both = new Bench({ v4: ["10.0.0.1"], dual: ["192.0.2.1", "2001:db8::1"] })
    expect(both.add("web", DUAL)).toBe("Assigned 192.0.2.1,2001:db8::1")
    const two = new Bench({ v4: ["10.0.0.1-10.0.0.2"], v6: ["2001:db8::1"] })
    expect(two.add("web", DUAL)).toBe("Assigned 10.0.0.1,2001:db8::1")
    expect(two.add("api", DUAL)).toBe("PoolExhausted")
    expect(two.add("two", PREFER)).toBe("AssignedInPart 10.0.0.2")
  })

  test("takes one family where that is enough, and adds the other when it can be had", () => {
    const bench = new Bench({ v4: ["10.0.0.1-10.0.0.9"] })
    expect(bench.add("web", PREFER)).toBe("AssignedInPart 10.0.0.1")
    bench.add("other")
    expect(bench.of("web")).toBe("AssignedInPart 10.0.0.1")
    expect(bench.add("web", { ...PREFER, ingress: ingressOf("10.0.0.1") })).toBe(
      "AssignedInPart 10.0.0.1",
    )
    bench.pools({ v4: ["10.0.0.1-10.0.0.9"], v6: ["2001:db8::1"] })
    bench.allocator.give()
    expect(bench.of("web")).toBe("Assigned 10.0.0.1,2001:db8::1")
  })

  test("gives back the second family when the Service no longer wants it", () => {
    const bench = new Bench({ dual: ["192.0.2.1", "2001:db8::1"] })
    const ingress = ingressOf("192.0.2.1", "2001:db8::1")
    expect(bench.add("web", { ...DUAL, ingress })).toBe("Assigned 192.0.2.1,2001:db8::1")
    expect(bench.add("web", { ingress })).toBe("Assigned 192.0.2.1")
  })

  test("keeps a plan through new versions, and reserves what was asked for this version", () => {
    const bench = new Bench({ pool: ["192.0.2.1-192.0.2.3"] })
    bench.add("gone")
    expect(bench.add("web")).toBe("Assigned 192.0.2.2")
    bench.allocator.delete("shop/gone")
    expect(bench.add("web", { meta: { resourceVersion: "2" } })).toBe("Assigned 192.0.2.2")
    bench.allocator.asked("shop/web")
    bench.pools({ pool: ["192.0.2.1", "192.0.2.3"] })
    bench.allocator.give()
    expect(bench.of("web")).toBe("Assigned 192.0.2.1")
    // The write with .2 may still arrive, so nobody else gets .2 before the Service has changed.
    bench.pools({ pool: ["192.0.2.2"] })
    bench.allocator.give()
    expect(bench.add("late")).toBe("PoolExhausted")
    bench.add("web", { meta: { resourceVersion: "3" }, loadBalancerIP: "192.0.2.9" })
    bench.allocator.give()
    expect(bench.of("late")).toBe("Assigned 192.0.2.2")
  })

  test("says who is unsettled: who lacks something, and who was just asked for", () => {
    const bench = new Bench({ pool: ["192.0.2.1"] })
    bench.add("held", { ingress: ingressOf("192.0.2.1") })
    bench.add("none")
    bench.allocator.asked("shop/held")
    expect(bench.allocator.unsettled().map(({ meta }) => meta.name)).toEqual(["held", "none"])
  })

  test("places 2,000 Services in a pool of 65,536 without looking at each address for each", () => {
    const bench = new Bench({ pool: ["10.0.0.0/16"] })
    bench.allocator.setGiving(false)
    for (let at = 0; at < 2000; at++) bench.allocator.set(serviceOf(`shop/s${at}`), true)
    const start = performance.now()
    bench.allocator.setGiving(true)
    bench.allocator.give()
    const tookMs = performance.now() - start
    const last = `10.0.${1999 >> 8}.${1999 & 255}`
    const given = Array.from({ length: 2000 }, (_, at) => bench.of(`s${at}`).split(" ")[1])
    expect(new Set(given).size).toBe(2000)
    expect(given).toContain(last)
    // 40 ms on an idle machine; looking at each would take minutes.
    expect(tookMs).toBeLessThan(2000)
  })
})

const step = fc.record({
  type: fc.constantFrom("set", "set", "set", "confirm", "delete", "pools", "giving"),
  name: fc.nat(7),
  port: fc.constantFrom(80, 443),
  key: fc.constantFrom("", "", "k"),
  wish: fc.constantFrom("", "", "192.0.2.1", "192.0.2.3"),
  pool: fc.nat(2),
})

test("Allocator never plans one address for two that do not share it, in any order", () => {
  const ranges = [["192.0.2.1-192.0.2.4"], ["192.0.2.2-192.0.2.5"], ["192.0.2.1-192.0.2.2"]]
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const bench = new Bench({ pool: ranges[0] ?? [] })
      const services = new Map<string, Service>()
      let version = 1
      const put = (name: string, spec: Spec) => {
        const { meta, ...rest } = spec ?? {}
        version += 1
        services.set(
          name,
          serviceOf(`shop/${name}`, { ...rest, meta: { ...meta, resourceVersion: `${version}` } }),
        )
        bench.allocator.set(services.get(name) as Service, true)
      }
      for (const { type, name: number, port, key, wish, pool } of steps) {
        const name = `s${number}`
        const known = services.get(name)
        const { addresses } = bench.allocator.placementOf(`shop/${name}`)
        if (type === "set") {
          put(name, { ...sharing(key, port), loadBalancerIP: wish, ingress: known?.ingress ?? [] })
        } else if (type === "confirm" && known)
          put(name, { ...known, ingress: ingressOf(...addresses) })
        else if (type === "delete") {
          services.delete(name)
          bench.allocator.delete(`shop/${name}`)
        } else if (type === "pools") bench.pools({ pool: ranges[pool] ?? [] })
        else bench.allocator.setGiving(pool > 0)
        bench.allocator.give()
        checkDisjoint(bench.allocator, [...services.values()])
      }
    }),
  )
})

/** Of planned addresses; what was confirmed and then changed by its owner may clash. */
function checkDisjoint(allocator: Allocator, services: readonly Service[]): void {
  for (const service of services) {
    const mine = allocator.placementOf(`shop/${service.meta.name}`).addresses
    const isHeld = (address: Address) => service.ingress.some(({ ip }) => ip === address)
    for (const address of mine.filter((each) => !isHeld(each))) {
      for (const other of services) {
        const its = allocator.placementOf(`shop/${other.meta.name}`).addresses
        if (other === service || !its.includes(address)) continue
        expect(service.meta.annotations).toEqual({ "metallb.io/allow-shared-ip": "k" })
        expect(other.ports[0]?.port).not.toBe(service.ports[0]?.port ?? 0)
      }
    }
  }
}
