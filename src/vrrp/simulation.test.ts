/**
 * Several virtual router machines on a fake network: latency, loss, one-way partitions, routers
 * that are not scheduled for a while, crashes and restarts. No wall clock and no chance that is not
 * in the seed: a failing title names the seed, and the same seed fails again.
 *
 * A paused router is the real thing's hung process: its timers do not run, what it is sent waits in
 * the socket buffer, and its addresses stay for the rest of their lease.
 */
import { describe, expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { after, type Instant, instant } from "../net/time.ts"
import { activeDownIntervalMs, skewTimeMs } from "./timers.ts"
import {
  type Action,
  type Input,
  type ReceivedAdvertisement,
  VirtualRouter,
  type VirtualRouterConfig,
} from "./virtual-router.ts"

const LATENCY_MS_MAX = 5
/** A lease of 2 s, as the kernel keeps it. */
const LEASE_MS = 2500
const SEEDS = Array.from({ length: 40 }, (_, index) => index + 1)

/** mulberry32: small, and good enough to pick faults with. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  between(low: number, high: number): number {
    return low + this.fraction() * (high - low)
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.fraction() * items.length)]
    if (item === undefined) throw new RangeError("Cannot pick from nothing")
    return item
  }
}

class Node {
  readonly address: Address
  readonly config: VirtualRouterConfig
  router: VirtualRouter | undefined
  pausedAt: Instant | undefined
  /** The socket buffer of a paused router. */
  inbox: ReceivedAdvertisement[] = []

  constructor(host: number, config: VirtualRouterConfig) {
    this.address = `192.0.2.${host}` as Address
    this.config = config
  }

  get isActive(): boolean {
    return this.router?.state.name === "active"
  }

  /** Whether its host answers for the addresses. */
  holds(now: Instant): boolean {
    return this.isActive && (this.pausedAt === undefined || now < this.pausedAt + LEASE_MS)
  }
}

interface Delivery {
  readonly at: Instant
  readonly to: Node
  readonly advert: ReceivedAdvertisement
}

interface Transition {
  readonly at: Instant
  readonly node: Node
  readonly to: string
}

class Network {
  readonly nodes: readonly Node[]
  readonly transitions: Transition[] = []
  /** Who announced the addresses once more. */
  readonly announcers: Node[] = []
  readonly sent: { readonly at: Instant; readonly node: Node; readonly priority: number }[] = []
  /** Time with more than one, and with no, holder. */
  doubleMs = 0
  vacantMs = 0
  lossShare = 0
  now: Instant = instant(0)
  readonly #random: Random
  readonly #blocked = new Set<string>()
  #deliveries: Delivery[] = []

  constructor(random: Random, configs: readonly VirtualRouterConfig[]) {
    this.#random = random
    this.nodes = configs.map((config, index) => new Node(index + 1, config))
  }

  start(node: Node): void {
    node.router = new VirtualRouter(node.config)
    this.#input(node, { type: "interface-up", address: node.address })
    this.#input(node, { type: "startup" })
  }

  startAll(): this {
    for (const node of this.nodes) this.start(node)
    return this
  }

  /** The process dies; the kernel removes the addresses at once. */
  crash(node: Node): void {
    node.router = undefined
    node.pausedAt = undefined
    node.inbox = []
  }

  stop(node: Node): void {
    this.#input(node, { type: "shutdown", reason: "stopping" })
    this.crash(node)
  }

  pause(node: Node): void {
    node.pausedAt ??= this.now
  }

  resume(node: Node): void {
    if (node.pausedAt === undefined) return
    node.pausedAt = undefined
    const inbox = node.inbox
    node.inbox = []
    for (const advert of inbox) this.#input(node, advert)
    this.#input(node, { type: "timeout" })
  }

  /** Frames from one to the other are lost; the other way is another call. */
  block(from: Node, to: Node): void {
    this.#blocked.add(`${from.address} ${to.address}`)
  }

  heal(): void {
    this.#blocked.clear()
    this.lossShare = 0
    for (const node of this.nodes) {
      this.resume(node)
      if (node.router === undefined) this.start(node)
    }
  }

  run(durationMs: number): this {
    const end = after(this.now, durationMs)
    for (;;) {
      const next = this.#nextEvent()
      if (next === undefined || next > end) break
      this.#advance(next)
      this.#deliverDue()
      for (const node of this.nodes) if (isDue(node, this.now)) this.#input(node, TIMEOUT)
    }
    this.#advance(end)
    return this
  }

  holders(): Node[] {
    return this.nodes.filter((node) => node.holds(this.now))
  }

  resetBooks(): void {
    this.transitions.length = 0
    this.sent.length = 0
    this.announcers.length = 0
    this.doubleMs = 0
    this.vacantMs = 0
  }

  #nextEvent(): Instant | undefined {
    const deadlines = this.nodes
      .filter((node) => node.pausedAt === undefined)
      .map((node) => node.router?.deadline())
    const leases = this.nodes.map((node) =>
      node.holds(this.now) && node.pausedAt !== undefined
        ? after(node.pausedAt, LEASE_MS)
        : undefined,
    )
    const all = [...deadlines, ...leases, ...this.#deliveries.map(({ at }) => at)]
    const known = all.filter((at) => at !== undefined)
    return known.length === 0 ? undefined : instant(Math.max(this.now, Math.min(...known)))
  }

  #advance(to: Instant): void {
    const holders = this.holders().length
    if (holders > 1) this.doubleMs += to - this.now
    if (holders === 0) this.vacantMs += to - this.now
    this.now = to
  }

  #deliverDue(): void {
    const due = this.#deliveries.filter(({ at }) => at <= this.now)
    this.#deliveries = this.#deliveries.filter(({ at }) => at > this.now)
    for (const { to, advert } of due.sort((a, b) => a.at - b.at)) {
      if (to.pausedAt === undefined) this.#input(to, advert)
      else to.inbox.push(advert)
    }
  }

  #input(node: Node, input: Input): void {
    for (const action of node.router?.handle(input, this.now) ?? []) this.#perform(node, action)
  }

  #perform(node: Node, action: Action): void {
    if (action.type === "send-advertisement") this.#send(node, action.priority)
    if (action.type === "announce-again") this.announcers.push(node)
    if (action.type === "deactivate" && action.farewell) this.#send(node, 0)
    if (action.type === "transition") this.transitions.push({ at: this.now, node, to: action.to })
  }

  #send(from: Node, priority: number): void {
    this.sent.push({ at: this.now, node: from, priority })
    const { intervalMs } = from.config
    for (const to of this.nodes) {
      const isCut = this.#blocked.has(`${from.address} ${to.address}`)
      if (to === from || isCut || this.#random.fraction() < this.lossShare) continue
      const at = after(this.now, this.#random.between(0.05, LATENCY_MS_MAX))
      const advert = { type: "advertisement", source: from.address, priority, intervalMs } as const
      this.#deliveries.push({ at, to, advert })
    }
  }
}

const TIMEOUT: Input = { type: "timeout" }

function isDue(node: Node, now: Instant): boolean {
  const deadline = node.router?.deadline()
  return node.pausedAt === undefined && deadline !== undefined && deadline <= now
}

function config(change: Partial<VirtualRouterConfig> = {}): VirtualRouterConfig {
  const usual = { version: 3, priority: 100, intervalMs: 1000, preempt: true } as const
  return { ...usual, preemptDelayMs: 0, ...change }
}

function randomConfigs(random: Random): VirtualRouterConfig[] {
  const shared = {
    version: random.pick([2, 3] as const),
    intervalMs: random.pick([1000, 2000]),
    preempt: random.fraction() < 0.8,
  }
  const fast = shared.version === 3 && random.fraction() < 0.5 ? { intervalMs: 100 } : {}
  const count = Math.floor(random.between(2, 6))
  return Array.from({ length: count }, () =>
    config({ ...shared, ...fast, priority: random.pick([90, 100, 100, 150, 254]) }),
  )
}

/** Who wins among those that run: the highest priority, then the highest address. */
function best(network: Network): Node | undefined {
  return network.nodes
    .filter((node) => node.router !== undefined)
    .reduce((a, b) => (b.config.priority >= a.config.priority ? b : a))
}

function downMs(config: VirtualRouterConfig): number {
  return activeDownIntervalMs(config)
}

/** From any mess to one Active Router: every timer runs out once, then the best one preempts. */
function convergenceMs(network: Network): number {
  return 3 * Math.max(...network.nodes.map((node) => downMs(node.config)))
}

/** Exactly one Active Router, and not a single transition, for a minute. */
function expectQuiet(network: Network): void {
  expect(network.holders().length).toBe(1)
  network.resetBooks()
  network.run(60_000)
  expect(network.transitions).toEqual([])
  expect(network.doubleMs).toBe(0)
  expect(network.vacantMs).toBe(0)
}

describe("a healthy network", () => {
  for (const seed of SEEDS)
    test(`seed ${seed}: one Active Router, the best one if it preempts, and no change`, () => {
      const random = new Random(seed)
      const network = new Network(random, randomConfigs(random))
      for (const node of network.nodes) {
        network.start(node)
        network.run(random.between(0, 8000))
      }
      network.run(convergenceMs(network))
      const [holder] = network.holders()
      if (holder?.config.preempt) {
        // Equal priorities: whoever was first stays, a Backup Router accepts its adverts (§6.4.2).
        expect(holder.config.priority).toBe(best(network)?.config.priority ?? Number.NaN)
      }
      expectQuiet(network)
    })

  for (const seed of SEEDS)
    test(`seed ${seed}: RFC9568-6.4.3 of equals started together the highest address wins`, () => {
      const random = new Random(seed)
      const network = new Network(random, [config(), config(), config()]).startAll()
      network.run(downMs(config()) + 3 * LATENCY_MS_MAX)
      expect(network.holders().map((node) => node.address as string)).toEqual(["192.0.2.3"])
      expect(network.doubleMs).toBeLessThanOrEqual(2 * LATENCY_MS_MAX)
      expectQuiet(network)
    })
})

describe("takeover", () => {
  const PAIRS: readonly [VirtualRouterConfig, VirtualRouterConfig][] = [
    [config(), config({ priority: 90 })],
    [config({ intervalMs: 100 }), config({ intervalMs: 100, priority: 90 })],
    [
      config({ version: 2, intervalMs: 3000 }),
      config({ version: 2, intervalMs: 3000, priority: 9 }),
    ],
  ]

  for (const [active, backup] of PAIRS) {
    const title = `version ${active.version}, ${active.intervalMs} ms`
    const settled = () => {
      const random = new Random(7)
      const network = new Network(random, [active, backup]).startAll()
      network.run(convergenceMs(network) + random.between(0, active.intervalMs))
      network.resetBooks()
      return network
    }

    test(`RFC9568-6.4.2: after a crash within Active_Down_Interval (${title})`, () => {
      const network = settled()
      const [first, second] = network.nodes
      if (first === undefined || second === undefined) throw new Error("two nodes")
      network.crash(first)
      network.run(downMs(backup) + LATENCY_MS_MAX)
      expect(network.holders()).toEqual([second])
      const worstMs = downMs(backup) + LATENCY_MS_MAX
      expect(network.vacantMs).toBeLessThanOrEqual(worstMs)
      expect(network.vacantMs).toBeGreaterThanOrEqual(downMs(backup) - active.intervalMs)
    })

    test(`RFC9568-6.4.2: after a stop within Skew_Time (${title})`, () => {
      const network = settled()
      const [first, second] = network.nodes
      if (first === undefined || second === undefined) throw new Error("two nodes")
      network.stop(first)
      network.run(skewTimeMs(backup) + LATENCY_MS_MAX)
      expect(network.holders()).toEqual([second])
      expect(network.vacantMs).toBeLessThanOrEqual(skewTimeMs(backup) + LATENCY_MS_MAX)
      expect(network.doubleMs).toBe(0)
    })
  }
})

describe("a router that was not scheduled", () => {
  for (const seed of SEEDS)
    test(`seed ${seed}: steps back without a word when its peer has taken over`, () => {
      const random = new Random(seed)
      const network = new Network(random, [config({ priority: 150 }), config()]).startAll()
      network.run(convergenceMs(network))
      const [first, second] = network.nodes
      if (first === undefined || second === undefined) throw new Error("two nodes")
      expect(network.holders()).toEqual([first])
      network.pause(first)
      network.run(random.between(5000, 20_000))
      expect(network.holders()).toEqual([second])
      network.resetBooks()
      network.resume(first)
      expect(network.sent.filter(({ node }) => node === first)).toEqual([])
      network.run(convergenceMs(network))
      expect(network.holders()).toEqual([first])
      // The moment between its first advert and the other's hearing it.
      expect(network.doubleMs).toBeLessThanOrEqual(LATENCY_MS_MAX)
      expect(network.vacantMs).toBe(0)
      expectQuiet(network)
    })

  for (const seed of SEEDS)
    test(`seed ${seed}: a Backup Router that slept does not take over from a living one`, () => {
      const random = new Random(seed)
      const network = new Network(random, [config({ priority: 150 }), config()]).startAll()
      network.run(convergenceMs(network))
      const second = network.nodes[1]
      if (second === undefined) throw new Error("two nodes")
      network.resetBooks()
      network.pause(second)
      network.run(random.between(5000, 20_000))
      // As when the whole machine was paused: nothing was received meanwhile.
      if (random.fraction() < 0.5) second.inbox = []
      network.resume(second)
      network.run(10_000)
      expect(network.transitions).toEqual([])
      expect(network.doubleMs).toBe(0)
    })
})

describe("partitions", () => {
  // Whose advert gets through first depends on when it heals.
  for (const oneWay of [true, false])
    for (const healedMs of [30_000, 30_250, 30_500, 30_750])
      test(`${oneWay ? "one-way" : "full"}, ${healedMs} ms: one Active Router, announced again`, () => {
        const random = new Random(3)
        const network = new Network(random, [config({ priority: 150 }), config()]).startAll()
        network.run(convergenceMs(network))
        const [first, second] = network.nodes
        if (first === undefined || second === undefined) throw new Error("two nodes")
        network.block(first, second)
        if (!oneWay) network.block(second, first)
        network.run(healedMs)
        expect(network.holders().length).toBe(2)
        network.resetBooks()
        network.heal()
        network.run(1000 + 2 * LATENCY_MS_MAX)
        expect(network.holders()).toEqual([first])
        expect(new Set(network.announcers)).toEqual(new Set([first]))
        expectQuiet(network)
      })
})

describe("anything for a minute, then peace", () => {
  for (const seed of SEEDS)
    test(`seed ${seed}: one Active Router after convergence, and no change`, () => {
      const random = new Random(seed)
      const network = new Network(random, randomConfigs(random)).startAll()
      for (let step = 0; step < 60; step++) {
        disturb(network, random)
        network.run(random.between(100, 3000))
      }
      network.heal()
      network.run(convergenceMs(network))
      const [holder] = network.holders()
      if (holder?.config.preempt)
        expect(holder.config.priority).toBe(best(network)?.config.priority ?? Number.NaN)
      expectQuiet(network)
    })
})

function disturb(network: Network, random: Random): void {
  const node = random.pick(network.nodes)
  const other = random.pick(network.nodes)
  const faults: readonly (() => void)[] = [
    () => network.pause(node),
    () => network.resume(node),
    () => network.crash(node),
    () => network.stop(node),
    () => (node.router === undefined ? network.start(node) : undefined),
    () => network.block(node, other),
    () => network.heal(),
    () => {
      network.lossShare = random.between(0, 0.5)
    },
  ]
  random.pick(faults)()
}

test("the simulation repeats itself when the seed is the same", () => {
  const history = () => {
    const random = new Random(11)
    const network = new Network(random, randomConfigs(random)).startAll()
    for (let step = 0; step < 30; step++) {
      disturb(network, random)
      network.run(500)
    }
    return network.transitions.map(({ at, node, to }) => `${at} ${node.address} ${to}`)
  }
  expect(history()).toEqual(history())
  expect(history().length).toBeGreaterThan(5)
})
