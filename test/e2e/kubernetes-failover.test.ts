/**
 * Both edges with one virtual router and one Lease, and what becomes of addresses, of the writer
 * and of requests when one of them is killed, comes back, is stopped or reloads, while a Deployment
 * rolls.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { type HttpLoad, startHttpLoad } from "./http-load.ts"
import { Deployment } from "./kubernetes-deployment.ts"
import { addressOf, serviceStatuses } from "./kubernetes-service-status.ts"
import {
  createKubernetesStage,
  createService,
  type KubernetesStage,
  startClusterEdge,
  vrrpToml,
} from "./kubernetes-stage.ts"
import type { HttpFailure, HttpLoadReport } from "./programs/http-load.ts"

let stage: KubernetesStage
let a: Edge
let b: Edge
let deployment: Deployment
let ledger: AddressLedger

const VIP = "192.168.1.40"
const SERVICE = "192.168.1.240"
/** client-go's: a Lease is taken when it was not renewed for so long. */
const LEASE_MS = 15_000
/** Clients of a load that keep their connections, and that make a new one for each request. */
const KEPT = 8
const CLOSING = 4
const PATIENCE_MS = 4_000
/** For clients that are late to notice. */
const MARGIN_MS = 1_500

function toml(priority: number): string {
  return `${vrrpToml({ priority, addresses: [VIP] })}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]

[[pool]]
name = "web"
[pool.kubernetes]
namespace = "default"
service = "web"
port = "http"

[[http]]
name = "web"
bind = ["${VIP}:80"]
[[http.route]]
pool = "web"
`
}

/** Follows who has which address, many times a second, and remembers what must never happen. */
class AddressLedger {
  readonly problems: string[] = []
  readonly #known = new Map<string, string>()
  #isOpen = true
  #done: Promise<void>

  constructor() {
    this.#done = this.#follow()
  }

  get known(): ReadonlyMap<string, string> {
    return this.#known
  }

  async close(): Promise<void> {
    this.#isOpen = false
    await this.#done
  }

  async #follow(): Promise<void> {
    while (this.#isOpen) {
      const holders = new Map<string, string>()
      for (const [key, { addresses }] of await serviceStatuses(stage.api)) {
        const [address] = addresses
        const before = this.#known.get(key)
        if (before !== undefined && before !== address) this.#tell(`${key}: ${before} → ${address}`)
        if (address === undefined) continue
        this.#known.set(key, address)
        const other = holders.get(address)
        if (other !== undefined) this.#tell(`${address}: ${other} and ${key}`)
        holders.set(address, key)
      }
      await Bun.sleep(30)
    }
  }

  #tell(problem: string): void {
    if (!this.problems.includes(problem)) this.problems.push(problem)
  }
}

interface Loads {
  readonly l7: HttpLoad
  readonly l7New: HttpLoad
  readonly l4New: HttpLoad
}

async function startLoads(): Promise<Loads> {
  const { client } = stage
  const closing = { connections: CLOSING, intervalMs: 10, closes: true, patienceMs: PATIENCE_MS }
  return {
    l7: await startHttpLoad(client, `${VIP}:80`, { connections: KEPT, patienceMs: PATIENCE_MS }),
    l7New: await startHttpLoad(client, `${VIP}:80`, closing),
    l4New: await startHttpLoad(client, `${SERVICE}:80`, closing),
  }
}

async function stopLoads({
  l7,
  l7New,
  l4New,
}: Loads): Promise<Record<keyof Loads, HttpLoadReport>> {
  return { l7: await l7.stop(), l7New: await l7New.stop(), l4New: await l4New.stop() }
}

function allFailures(books: Record<string, HttpLoadReport>): HttpFailure[] {
  return Object.values(books).flatMap(({ failures }) => failures)
}

/** What fails was under way, or on a connection that was: so many of each client at most. */
function expectFewFailures(
  { l7, l7New, l4New }: Record<keyof Loads, HttpLoadReport>,
  ofEach: number,
): void {
  expect(l7.failures.length).toBeLessThanOrEqual(KEPT * ofEach)
  expect(l7New.failures.length).toBeLessThanOrEqual(CLOSING * ofEach)
  expect(l4New.failures.length).toBeLessThanOrEqual(CLOSING * ofEach)
}

/** When the request was made; of a broken one it is not known, and was at the latest then. */
function begunMs({ how, atMs }: HttpFailure): number {
  return how === "silent" ? atMs - PATIENCE_MS : atMs
}

function failedText(books: Record<string, HttpLoadReport>): string {
  return JSON.stringify(
    Object.fromEntries(Object.entries(books).map(([name, { failed }]) => [name, failed])),
  )
}

/** Milliseconds until the other edge answers on the address. */
async function untilHeld(edge: Edge, address: string, sinceMs: number): Promise<number> {
  await eventually(() => edge.host.holds(address), {
    what: `${edge.host.name} to hold ${address}`,
    intervalMs: 10,
  })
  return epochMs() - sinceMs
}

async function untilWriter(edge: Edge, sinceMs: number): Promise<number> {
  await edge.waitStatus(({ kubernetes }) => kubernetes?.writer.active, {
    what: "it to be the writer",
    timeoutMs: 2 * LEASE_MS,
  })
  return epochMs() - sinceMs
}

async function createBalanced(name: string): Promise<void> {
  const slices = await createService(stage, { name, spec: "  type: LoadBalancer" })
  await slices.write(deployment.pods)
}

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-failover")
  const web = await createService(stage, { name: "web" })
  const balanced = await createService(stage, { name: "balanced", spec: "  type: LoadBalancer" })
  deployment = await Deployment.start(stage, [web, balanced], {
    name: "web",
    replicas: 3,
    firstAddress: 10,
  })
  ledger = new AddressLedger()
  a = await startClusterEdge(stage, stage.a, toml(100))
  await a.waitState("active")
  await addressOf(stage.api, "default/balanced")
  b = await startClusterEdge(stage, stage.b, toml(90))
  await b.waitState("backup")
  for (const target of [VIP, SERVICE]) {
    await eventually(() => stage.client.exec(["curl", "-sSf", "-m1", `http://${target}/`]), {
      what: `an answer of ${target}`,
    })
  }
}, 60_000)

afterAll(async () => {
  await ledger?.close()
  await stage.lab.close()
})

describe("a pair of edges", () => {
  test("goes on when the active edge, which is also the writer, is killed", async () => {
    expect((await a.status()).kubernetes?.writer.active).toBe(true)
    const loads = await startLoads()
    const rolling = deployment.roll(12)
    await loads.l7.requests(200)

    const killedMs = epochMs()
    await a.kill()
    const [vipMs, serviceMs] = await Promise.all([
      untilHeld(b, VIP, killedMs),
      untilHeld(b, SERVICE, killedMs),
    ])
    await createBalanced("meanwhile")
    await rolling
    await loads.l7.requests(200)
    const writerMs = await untilWriter(b, killedMs)
    await addressOf(stage.api, "default/meanwhile")
    const addressMs = epochMs() - killedMs
    const books = await stopLoads(loads)

    const early = allFailures(books).filter(({ atMs }) => atMs < killedMs)
    const late = allFailures(books).filter((each) => begunMs(each) > killedMs + vipMs + MARGIN_MS)
    report("active edge and writer killed", {
      "VIP moved after ms": vipMs,
      "Service address moved after ms": serviceMs,
      "next writer after ms": writerMs,
      "new Service has its address after ms": addressMs,
      requests: books.l7.requests + books.l7New.requests + books.l4New.requests,
      failed: failedText(books),
    })
    expect({ early, late }).toEqual({ early: [], late: [] })
    // Who is reset by the dying edge may connect to it once more, and then hears nothing.
    expectFewFailures(books, 2)
    expect(ledger.problems).toEqual([])
    expect(ledger.known.get("default/meanwhile")).toBe("192.168.1.241")
  }, 60_000)

  test("takes the killed edge back", async () => {
    const loads = await startLoads()
    const rolling = deployment.roll(6)
    await loads.l7.requests(100)
    const startedMs = epochMs()
    a.start()
    await a.waitReady()
    const readyMs = epochMs() - startedMs
    await a.waitState("active")
    const activeMs = epochMs() - startedMs
    await rolling
    await loads.l7.requests(200)
    const books = await stopLoads(loads)
    report("killed edge is back", {
      "ready after ms": readyMs,
      "active after ms": activeMs,
      "of it held": (await stage.a.addresses()).length,
      failed: failedText(books),
    })
    expectFewFailures(books, 1)
    expect(await stage.a.holds(SERVICE)).toBe(true)
    expect(await stage.a.holds("192.168.1.241")).toBe(true)
    expect(await stage.b.holds(SERVICE)).toBe(false)
    expect((await b.status()).kubernetes?.writer.active).toBe(true)
    expect(ledger.problems).toEqual([])
  }, 60_000)

  test("hands the Lease over when the writer is stopped, and fails nothing", async () => {
    const loads = await startLoads()
    const rolling = deployment.roll(6)
    await loads.l7.requests(100)
    const stoppedMs = epochMs()
    const stopped = b.stop()
    const writerMs = await untilWriter(a, stoppedMs)
    await createBalanced("after-stop")
    await addressOf(stage.api, "default/after-stop")
    const addressMs = epochMs() - stoppedMs
    await stopped
    await rolling
    const books = await stopLoads(loads)
    report("writer in backup stopped", {
      "next writer after ms": writerMs,
      "new Service has its address after ms": addressMs,
      failed: failedText(books),
    })
    expect(allFailures(books)).toEqual([])
    expect(ledger.problems).toEqual([])
    expect(ledger.known.get("default/after-stop")).toBe("192.168.1.242")
  }, 60_000)

  test("hands everything over when the active edge and writer is stopped", async () => {
    b.start()
    await b.waitReady()
    await b.waitState("backup")
    const loads = await startLoads()
    const rolling = deployment.roll(6)
    await loads.l7.requests(100)
    const stoppedMs = epochMs()
    const stopped = a.stop()
    const [vipMs, writerMs] = await Promise.all([
      untilHeld(b, VIP, stoppedMs),
      untilWriter(b, stoppedMs),
    ])
    await stopped
    await rolling
    await loads.l7.requests(200)
    const books = await stopLoads(loads)
    report("active edge and writer stopped", {
      "VIP moved after ms": vipMs,
      "next writer after ms": writerMs,
      failed: failedText(books),
    })
    // Who connects meanwhile is not refused, only late.
    expect(allFailures(books).filter(({ how }) => how.startsWith("connect"))).toEqual([])
    expectFewFailures(books, 1)
    expect(ledger.problems).toEqual([])
  }, 60_000)

  test("reloads while it is busy", async () => {
    const loads = await startLoads()
    const rolling = deployment.roll(10)
    const generation = (await b.status()).config.generation
    for (let count = 0; count < 10; count++) {
      b.hangUp(`# ${count}\n${toml(90)}${await kubernetesTable()}`)
      await Bun.sleep(150)
    }
    await rolling
    await loads.l7.requests(100)
    const books = await stopLoads(loads)
    const status = await b.status()
    report("ten reloads during a rolling update", {
      requests: books.l7.requests + books.l7New.requests + books.l4New.requests,
      failed: failedText(books),
    })
    expect(status.config.last_error).toBeNull()
    expect(status.config.generation).toBeGreaterThan(generation)
    expect(status.kubernetes?.writer.active).toBe(true)
    expect(allFailures(books)).toEqual([])
    expect(ledger.problems).toEqual([])
  }, 60_000)
})

/** As it stands in the edge's file. */
async function kubernetesTable(): Promise<string> {
  const text = await Bun.file(b.configPath).text()
  return /\n\[kubernetes\][^[]*/.exec(text)?.[0] ?? ""
}
