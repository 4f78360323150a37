import { describe, expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { type Instant, instant } from "../net/time.ts"
import {
  type Action,
  type Input,
  VirtualRouter,
  type VirtualRouterConfig,
} from "./virtual-router.ts"

const CONFIG: VirtualRouterConfig = {
  version: 3,
  priority: 100,
  intervalMs: 1000,
  preempt: true,
  preemptDelayMs: 0,
}
const OWN = "192.0.2.2" as Address
const LOWER = "192.0.2.1" as Address
const HIGHER = "192.0.2.3" as Address
/** Active_Down_Interval of CONFIG: 3 * 1000 + (256 - 100) * 1000 / 256. */
const DOWN_MS = 3609.375

/** A router on a clock of its own that starts at 0, with the transitions it made. */
class Bench {
  readonly router: VirtualRouter
  now: Instant = instant(0)

  constructor(config: Partial<VirtualRouterConfig> = {}) {
    this.router = new VirtualRouter({ ...CONFIG, ...config })
    this.router.handle({ type: "interface-up", address: OWN }, this.now)
  }

  at(ms: number, input: Input = { type: "timeout" }): Action[] {
    this.now = instant(ms)
    return this.router.handle(input, this.now)
  }

  hears(ms: number, priority: number, options: { source?: Address; intervalMs?: number } = {}) {
    const { source = LOWER, intervalMs = 1000 } = options
    return this.at(ms, { type: "advertisement", source, priority, intervalMs })
  }

  get name() {
    return this.router.state.name
  }
}

function backup(config: Partial<VirtualRouterConfig> = {}): Bench {
  const bench = new Bench(config)
  bench.at(0, { type: "startup" })
  return bench
}

/** Active since 3609.375 ms with CONFIG. */
function active(config: Partial<VirtualRouterConfig> = {}): Bench {
  const bench = backup(config)
  bench.at(bench.router.deadline() ?? Number.NaN)
  expect(bench.name).toBe("active")
  return bench
}

const types = (actions: readonly Action[]) => actions.map((action) => action.type)
const sent = (priority: number): Action => ({ type: "send-advertisement", priority })

describe("Initialize", () => {
  test("RFC9568-6.4.1: priority 255 is Active at once: advert, addresses", () => {
    const bench = new Bench({ priority: 255 })
    expect(bench.at(0, { type: "startup" })).toEqual([
      sent(255),
      { type: "activate" },
      { type: "transition", from: "initialize", to: "active", reason: "address owner" },
    ])
    expect(bench.router.deadline()).toBe(instant(1000))
  })

  test("RFC9568-6.4.1: any other priority waits Active_Down_Interval as Backup", () => {
    const bench = new Bench()
    expect(bench.at(0, { type: "startup" })).toEqual([
      { type: "transition", from: "initialize", to: "backup", reason: "start-up complete" },
    ])
    expect(bench.router.deadline()).toBe(instant(DOWN_MS))
  })

  test("it never sends before start-up has found out", () => {
    const bench = new Bench({ priority: 255 })
    expect(bench.at(1e6)).toEqual([])
    expect(bench.hears(1e6, 0)).toEqual([{ type: "ignored", reason: "not-running" }])
    expect(bench.at(1e6, { type: "resume" })).toEqual([])
    expect(bench.name).toBe("initialize")
    expect(bench.router.deadline()).toBeUndefined()
  })

  test("startup leads to Fault when the interface is down", () => {
    const router = new VirtualRouter(CONFIG)
    router.handle({ type: "interface-down", reason: "eth9 does not exist" }, instant(0))
    expect(router.handle({ type: "startup" }, instant(0))).toEqual([
      { type: "transition", from: "initialize", to: "fault", reason: "eth9 does not exist" },
    ])
  })
})

describe("Backup", () => {
  test("RFC9568-6.4.2: Active when Active_Down_Timer fires, not a moment before", () => {
    const bench = backup()
    expect(bench.at(DOWN_MS - 0.001)).toEqual([])
    expect(bench.at(DOWN_MS)).toEqual([
      sent(100),
      { type: "activate" },
      {
        type: "transition",
        from: "backup",
        to: "active",
        reason: "no advertisement from an active router",
      },
    ])
  })

  test("RFC9568-6.4.2: priority 0 sets Active_Down_Timer to Skew_Time", () => {
    const bench = backup()
    bench.hears(1000, 200)
    expect(bench.hears(1500, 0)).toEqual([])
    expect(bench.router.deadline()).toBe(instant(2109.375))
  })

  test("RFC9568-6.4.2: an advert of equal priority resets the timer", () => {
    const bench = backup()
    expect(bench.hears(1000, 100)).toEqual([])
    expect(bench.router.deadline()).toBe(instant(1000 + DOWN_MS))
  })

  test("RFC9568-6.4.2: Active_Adver_Interval is learnt in version 3", () => {
    const bench = backup()
    bench.hears(0, 200, { intervalMs: 100 })
    expect(bench.router.deadline()).toBe(instant(360.9375))
    bench.hears(100, 0, { intervalMs: 100 })
    expect(bench.router.deadline()).toBe(instant(160.9375))
  })

  test("RFC9568-7.2: our own interval is sent after another was learnt", () => {
    const bench = backup()
    bench.hears(0, 200, { intervalMs: 100 })
    bench.at(360.9375)
    expect(bench.router.deadline()).toBe(instant(1360.9375))
  })

  test("RFC9568-6.4.2: a lower priority is discarded when preempting", () => {
    const bench = backup()
    expect(bench.hears(1000, 99)).toEqual([{ type: "ignored", reason: "lower-priority" }])
    expect(bench.router.deadline()).toBe(instant(DOWN_MS))
  })

  test("RFC9568-6.4.2: a lower priority resets the timer without Preempt_Mode", () => {
    const bench = backup({ preempt: false })
    expect(bench.hears(1000, 99)).toEqual([])
    expect(bench.router.deadline()).toBe(instant(1000 + DOWN_MS))
  })

  test("preempt_delay counts from the first lower advert, as keepalived's", () => {
    const bench = backup({ preemptDelayMs: 10_000 })
    for (let ms = 500; ms < 10_500; ms += 1000) expect(bench.hears(ms, 90)).toEqual([])
    expect(bench.hears(10_500, 90)).toEqual([{ type: "ignored", reason: "lower-priority" }])
    expect(bench.router.deadline()).toBe(instant(9500 + DOWN_MS))
  })

  test("preempt_delay starts again after an advert that is not lower", () => {
    const bench = backup({ preemptDelayMs: 2000 })
    bench.hears(0, 90)
    bench.hears(1000, 150)
    expect(bench.hears(2500, 90)).toEqual([])
    expect(types(bench.hears(4500, 90))).toEqual(["ignored"])
  })

  test("preempt_delay does not delay taking over from a silent router", () => {
    const bench = backup({ preemptDelayMs: 100_000 })
    bench.hears(1000, 90)
    expect(types(bench.at(1000 + DOWN_MS))).toContain("activate")
  })

  test("RFC9568-6.4.2: shutdown leads to Initialize without an advert", () => {
    const bench = backup()
    expect(bench.at(10, { type: "shutdown", reason: "stopping" })).toEqual([
      { type: "transition", from: "backup", to: "initialize", reason: "stopping" },
    ])
    expect(bench.router.deadline()).toBeUndefined()
  })

  test("a timer handled more than an interval late listens for one interval more", () => {
    const bench = backup()
    expect(bench.at(DOWN_MS + 1000.5)).toEqual([
      { type: "warning", message: "woke 1.00 s late: listening for one more interval" },
    ])
    expect(bench.router.deadline()).toBe(instant(DOWN_MS + 1000.5 + 1609.375))
    expect(bench.name).toBe("backup")
  })

  test("a timer handled exactly an interval late still fires", () => {
    expect(types(backup().at(DOWN_MS + 1000))).toContain("activate")
  })

  test("an advert handled before an overdue timer wins", () => {
    const bench = backup()
    bench.hears(9000, 200)
    expect(bench.at(9000)).toEqual([])
    expect(bench.router.deadline()).toBe(instant(9000 + DOWN_MS))
  })
})

describe("version 2", () => {
  test("RFC3768-6.1: Master_Down_Interval has a skew of fractions of a second", () => {
    expect(backup({ version: 2, intervalMs: 3000 }).router.deadline()).toBe(instant(9609.375))
  })

  test("RFC3768-6.4.2: the interval is configured, not learnt", () => {
    const bench = backup({ version: 2 })
    bench.hears(0, 200, { intervalMs: 100 })
    expect(bench.router.deadline()).toBe(instant(DOWN_MS))
  })
})

describe("Active", () => {
  test("RFC9568-6.4.3: an advert every Advertisement_Interval", () => {
    const bench = active()
    expect(bench.at(DOWN_MS + 999)).toEqual([])
    expect(bench.at(DOWN_MS + 1000)).toEqual([sent(100)])
    expect(bench.at(DOWN_MS + 2003)).toEqual([sent(100)])
    expect(bench.router.deadline()).toBe(instant(DOWN_MS + 3003))
  })

  test("RFC9568-6.4.3: shutdown gives up the addresses with priority 0", () => {
    expect(active().at(4000, { type: "shutdown", reason: "stopping" })).toEqual([
      { type: "deactivate", farewell: true },
      { type: "transition", from: "active", to: "initialize", reason: "stopping" },
    ])
  })

  test("RFC9568-6.4.3: priority 0 is answered with an advert", () => {
    const bench = active()
    expect(bench.hears(4000, 0)).toEqual([sent(100)])
    expect(bench.router.deadline()).toBe(instant(5000))
  })

  test("RFC9568-6.4.3: a greater priority leads to Backup and its interval is learnt", () => {
    const bench = active()
    expect(bench.hears(4000, 101, { intervalMs: 500 })).toEqual([
      sent(100),
      { type: "deactivate", farewell: false },
      {
        type: "transition",
        from: "active",
        to: "backup",
        reason: "192.0.2.1 advertises priority 101, above our 100",
      },
    ])
    expect(bench.router.deadline()).toBe(instant(4000 + 1804.6875))
  })

  test("RFC9568-6.4.3: an equal priority from a greater address leads to Backup", () => {
    const bench = active()
    expect(types(bench.hears(4000, 100, { source: HIGHER }))).toEqual([
      "send-advertisement",
      "deactivate",
      "transition",
    ])
    expect(bench.router.reason).toBe(
      "192.0.2.3 advertises priority 100, like ours, from a higher address",
    )
  })

  test("addresses are compared as numbers, not as text", () => {
    const bench = active()
    bench.at(4000, { type: "interface-up", address: "192.0.2.10" as Address })
    expect(types(bench.hears(4000, 100, { source: "192.0.2.9" as Address }))).toContain("ignored")
  })

  for (const [priority, source] of [
    [99, HIGHER],
    [100, LOWER],
  ] as const)
    test(`RFC9568-6.4.3: ${priority} from ${source} is answered at once and announced over`, () => {
      expect(active().hears(4000, priority, { source })).toEqual([
        { type: "ignored", reason: "lower-priority" },
        sent(100),
        { type: "announce-again" },
      ])
    })

  test("it steps back when it has not sent for as long as a peer waits", () => {
    const bench = active()
    expect(bench.at(DOWN_MS + DOWN_MS)).toEqual([
      { type: "deactivate", farewell: false },
      {
        type: "transition",
        from: "active",
        to: "backup",
        reason: "did not run for 3.61 s; peers wait 3.61 s",
      },
    ])
    expect(bench.router.deadline()).toBe(instant(3 * DOWN_MS))
  })

  test("being awake is enough to step back, and otherwise does nothing", () => {
    const bench = active()
    expect(bench.at(2 * DOWN_MS - 0.1, { type: "awake" })).toEqual([])
    expect(bench.name).toBe("active")
    expect(types(bench.at(2 * DOWN_MS, { type: "awake" }))).toEqual(["deactivate", "transition"])
  })

  test("it goes on when it was late by less", () => {
    expect(active().at(2 * DOWN_MS - 0.1)).toEqual([sent(100)])
  })

  test("it steps back before it judges an advert that waited meanwhile", () => {
    const bench = active()
    expect(types(bench.hears(9000, 90))).toEqual(["deactivate", "transition", "ignored"])
    expect(bench.name).toBe("backup")
  })
})

describe("Fault", () => {
  test("a tracked fault gives up the addresses with priority 0", () => {
    const bench = active()
    const fault = "check apiserver is down"
    expect(bench.at(4000, { type: "tracking", weightSum: 0, fault })).toEqual([
      { type: "deactivate", farewell: true },
      { type: "transition", from: "active", to: "fault", reason: fault },
    ])
    expect(bench.router.deadline()).toBeUndefined()
    expect(bench.hears(4100, 90)).toEqual([{ type: "ignored", reason: "not-running" }])
  })

  test("an interface that is down cannot carry a farewell", () => {
    const bench = active()
    expect(bench.at(4000, { type: "interface-down", reason: "eth0 is down" })[0]).toEqual({
      type: "deactivate",
      farewell: false,
    })
    expect(bench.name).toBe("fault")
  })

  test("it leaves for Backup only when nothing is wrong any more", () => {
    const bench = backup()
    bench.at(1, { type: "interface-down", reason: "eth0 is down" })
    bench.at(2, { type: "tracking", weightSum: 0, fault: "pool web has no usable server" })
    expect(bench.at(3, { type: "interface-up", address: OWN })).toEqual([])
    expect(bench.router.reason).toBe("pool web has no usable server")
    expect(bench.at(4, { type: "tracking", weightSum: 0, fault: undefined })).toEqual([
      {
        type: "transition",
        from: "fault",
        to: "backup",
        reason: "recovered from: pool web has no usable server",
      },
    ])
    expect(bench.router.deadline()).toBe(instant(4 + DOWN_MS))
  })

  test("shutdown leads to Initialize", () => {
    const bench = backup()
    bench.at(1, { type: "interface-down", reason: "eth0 is down" })
    bench.at(2, { type: "shutdown", reason: "stopping" })
    expect(bench.name).toBe("initialize")
  })
})

describe("tracked weights", () => {
  for (const [priority, weightSum, effective] of [
    [100, -2, 98],
    [100, 50, 150],
    [100, -150, 1],
    [200, 100, 254],
    [255, -50, 255],
  ] as const)
    test(`effectivePriority is ${effective} when ${priority} and weights of ${weightSum}`, () => {
      const bench = active({ priority })
      bench.at(bench.now, { type: "tracking", weightSum, fault: undefined })
      expect(bench.router.effectivePriority).toBe(effective)
      expect(bench.at(bench.now + 1000)).toEqual([sent(effective)])
    })

  test("the effective priority is what adverts are compared with", () => {
    const bench = backup()
    bench.at(0, { type: "tracking", weightSum: -20, fault: undefined })
    expect(bench.hears(1000, 90)).toEqual([])
  })
})

describe("reconfigure", () => {
  const reconfigure = (change: Partial<VirtualRouterConfig>): Input => ({
    type: "reconfigure",
    config: { ...CONFIG, ...change },
  })

  test("an Active Router stays Active and tells the new interval at once", () => {
    const bench = active()
    expect(bench.at(4000, reconfigure({ intervalMs: 10_000, priority: 120 }))).toEqual([sent(120)])
    expect(bench.router.deadline()).toBe(instant(14_000))
  })

  test("a Backup Router stays Backup with its timer set anew", () => {
    const bench = backup()
    expect(bench.at(1000, reconfigure({ priority: 128 }))).toEqual([])
    expect(bench.router.deadline()).toBe(instant(4500))
  })

  test("a Backup Router that becomes the owner is Active at once", () => {
    expect(types(backup().at(1000, reconfigure({ priority: 255 })))).toContain("activate")
  })

  test("a learnt interval survives in version 3 and the configured one rules in version 2", () => {
    const learnt = backup()
    learnt.hears(0, 200, { intervalMs: 100 })
    learnt.at(0, reconfigure({ intervalMs: 2000 }))
    expect(learnt.router.deadline()).toBe(instant(360.9375))
    const configured = backup({ version: 2 })
    configured.at(0, reconfigure({ version: 2, intervalMs: 3000 }))
    expect(configured.router.deadline()).toBe(instant(9609.375))
  })
})

describe("release", () => {
  test("an Active Router gives up the addresses with priority 0", () => {
    expect(active().at(4000, { type: "release" })).toEqual([
      { type: "deactivate", farewell: true },
      { type: "transition", from: "active", to: "backup", reason: "released by the operator" },
    ])
  })

  test("it stays Backup and warns once when nobody takes over", () => {
    const bench = active()
    bench.at(4000, { type: "release" })
    expect(bench.at(4000 + DOWN_MS)).toEqual([
      { type: "warning", message: "released, but no other router advertises" },
    ])
    expect(bench.router.deadline()).toBeUndefined()
    expect(bench.at(1e6)).toEqual([])
    expect(bench.name).toBe("backup")
  })

  test("it watches the router that took over, whatever its priority", () => {
    const bench = active()
    bench.at(4000, { type: "release" })
    for (let ms = 5000; ms < 60_000; ms += 1000) expect(bench.hears(ms, 1)).toEqual([])
    expect(types(bench.at(59_000 + DOWN_MS))).toEqual(["warning"])
  })

  test("an owner that starts released stays Backup", () => {
    const bench = new Bench({ priority: 255 })
    bench.at(0, { type: "release" })
    bench.at(0, { type: "startup" })
    expect(bench.name).toBe("backup")
  })

  test("after resume it takes part again", () => {
    const bench = active()
    bench.at(4000, { type: "release" })
    bench.at(8000)
    expect(bench.at(9000, { type: "resume" })).toEqual([])
    expect(bench.router.deadline()).toBe(instant(9000 + DOWN_MS))
    expect(types(bench.at(9000 + DOWN_MS))).toContain("activate")
  })

  test("an owner is Active at once after resume", () => {
    const bench = active({ priority: 255 })
    bench.at(0, { type: "release" })
    expect(types(bench.at(1, { type: "resume" }))).toContain("activate")
  })

  test("resume without release changes nothing", () => {
    const bench = backup()
    expect(bench.at(100, { type: "resume" })).toEqual([])
    expect(bench.router.deadline()).toBe(instant(DOWN_MS))
  })
})

describe("peers", () => {
  test("the last priority that was not 0 is remembered", () => {
    const bench = backup()
    bench.hears(1000, 120)
    bench.hears(2000, 0)
    bench.hears(3000, 0, { source: HIGHER })
    expect(bench.router.peers.list()).toEqual([
      { address: LOWER, priority: 120, heardAt: instant(2000) },
    ])
  })

  test("the 17th peer displaces the one not heard for longest", () => {
    const bench = backup()
    for (let host = 10; host < 27; host++)
      bench.hears(host, 120, { source: `192.0.2.${host}` as Address })
    const addresses = bench.router.peers.list().map((peer) => peer.address as string)
    expect(addresses.length).toBe(16)
    expect(addresses).not.toContain("192.0.2.10")
    expect(addresses).toContain("192.0.2.26")
  })
})
