/**
 * An API server that breaks in every way it can, under an edge that serves a Service and a pool of
 * the cluster all the while: not one request may fail, what changed meanwhile must be caught up
 * with, and a server that comes back must not be met by a storm.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import type { SliceWriter } from "../lab/api-server/slice-writer.ts"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type HttpLoad, startHttpLoad } from "./http-load.ts"
import {
  createKubernetesStage,
  createService,
  EDGE_USER,
  type KubernetesStage,
  type Pod,
  startClusterEdge,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

const TOML = `${vrrpToml({ priority: 100, addresses: ["192.168.1.40"] })}
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
bind = ["192.168.1.40:80"]
[[http.route]]
pool = "web"
`

let stage: KubernetesStage
let edge: Edge
let tokenPath: string
let web: SliceWriter
let pods: Pod[]

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-outage", { bookmarkIntervalMs: 1_000 })
  pods = [
    await startPod(stage, "pod-1", { node: 1, last: 5 }),
    await startPod(stage, "pod-2", { node: 2, last: 5 }),
    await startPod(stage, "pod-3", { node: 2, last: 6 }),
  ]
  const balanced = await createService(stage, { name: "balanced", spec: "  type: LoadBalancer" })
  await balanced.write(pods.slice(0, 2))
  web = await createService(stage, { name: "web", endpointsMax: 100 })
  await web.write(pods.slice(0, 2))
  const kubeconfig = await stage.api.kubeconfigFile(EDGE_USER, { form: "token-file" })
  tokenPath = /tokenFile: (\S+)/.exec(readFileSync(kubeconfig, "utf8"))?.[1] ?? ""
  edge = await startClusterEdge(stage, stage.a, TOML, {
    kubeconfig,
    kubernetes: 'watch_silence = "5s"',
  })
  await edge.waitStatus(({ kubernetes }) => kubernetes?.services[0]?.addresses.length, {
    what: "the Service's address",
  })
}, 40_000)

afterAll(() => stage.lab.close())

interface Outage {
  readonly what: string
  readonly begin: () => Promise<unknown>
  readonly end: () => Promise<unknown>
  /** The whole state has to be asked for again. */
  readonly relists?: true
  /** It goes on working, only worse. */
  readonly stillWorks?: true
  /** Nothing can be changed meanwhile. */
  readonly isFrozen?: true
}

const OUTAGES: readonly Outage[] = [
  {
    what: "killed",
    begin: () => stage.api.faults.stop(),
    end: () => stage.api.faults.start({ keepHistory: true }),
  },
  {
    what: "restarted in order",
    begin: () => stage.api.faults.stop("end"),
    end: () => stage.api.faults.start({ keepHistory: true }),
  },
  {
    what: "restarted without its history",
    begin: () => stage.api.faults.stop(),
    end: () => stage.api.faults.start(),
    relists: true,
  },
  {
    what: "frozen",
    begin: async () => stage.server.process.signal("SIGSTOP"),
    end: async () => stage.server.process.signal("SIGCONT"),
    isFrozen: true,
  },
  {
    what: "answering 429",
    begin: async () => {
      await stage.api.faults.tooManyRequests()
      await stage.api.faults.cutWatches()
    },
    end: () => stage.api.faults.clear(),
  },
  {
    what: "answering 500",
    begin: async () => {
      await stage.api.faults.serverErrors()
      await stage.api.faults.cutWatches()
    },
    end: () => stage.api.faults.clear(),
  },
  {
    what: "slow",
    begin: async () => {
      await stage.api.faults.delay(1_500)
      await stage.api.faults.cutWatches("end")
    },
    end: () => stage.api.faults.clear(),
    stillWorks: true,
  },
  {
    what: "not taking our token any more",
    begin: async () => {
      await stage.api.revokeTokens(EDGE_USER)
      await stage.api.faults.cutWatches()
    },
    end: async () => writeFileSync(tokenPath, await stage.api.issueToken(EDGE_USER)),
  },
  {
    what: "restored from a backup",
    begin: async () => {
      await stage.api.faults.backup()
      await stage.api.faults.advance(500)
      const [first] = pods
      await web.write(first === undefined ? [] : [first])
      await eventually(async () => (await webServers()).length === 1, { what: "one server" })
      await stage.api.faults.restore()
      await stage.api.faults.stop()
    },
    end: () => stage.api.faults.start(),
    relists: true,
  },
]

async function webServers(): Promise<string[]> {
  const { pools } = await edge.status()
  return pools.find(({ name }) => name === "web")?.servers.map(({ address }) => address) ?? []
}

/** So that nothing of the outage before is left: watches that have brought something go well. */
async function heardTwice(): Promise<void> {
  for (const _ of [1, 2]) {
    const since = Date.now()
    await stage.api.bookmark()
    await edge.waitStatus(({ kubernetes }) =>
      kubernetes?.resources
        .filter(({ state }) => state !== "absent")
        .every(({ last_event: heard }) => heard !== null && Date.parse(heard) >= since),
    )
  }
}

describe.each(OUTAGES)("An API server that is $what", (outage) => {
  let loads: HttpLoad[]

  beforeAll(async () => {
    const options = { connections: 4, intervalMs: 20 }
    loads = [
      await startHttpLoad(stage.client, "192.168.1.240:80", { ...options, closes: true }),
      await startHttpLoad(stage.client, "192.168.1.40:80", options),
    ]
    await heardTwice()
  })

  test("takes nothing away, and is caught up with, without a storm", async () => {
    const { api } = stage
    const before = await edge.status()
    await api.clearRequests()
    await outage.begin()
    if (!outage.stillWorks) {
      await edge.waitStatus(({ kubernetes }) => kubernetes?.connected === false, {
        what: "the outage to be noticed",
        timeoutMs: 20_000,
      })
    }
    const wanted = (await webServers()).length === 2 ? pods : pods.slice(0, 2)
    if (!outage.isFrozen) await web.write(wanted)
    for (const load of loads) await load.requests(120)
    const during = outage.isFrozen ? [] : await api.requests()
    await outage.end()
    const endedAt = performance.now()
    await api.clearRequests()
    if (outage.isFrozen) await web.write(wanted)
    const after = await edge.waitStatus(
      ({ kubernetes, pools }) =>
        kubernetes?.connected &&
        kubernetes.age_seconds === 0 &&
        pools.find(({ name }) => name === "web")?.servers.length === wanted.length,
      { what: "everything to be followed again", timeoutMs: 30_000 },
    )
    const caughtUpMs = performance.now() - endedAt
    const asked = await api.requests()
    const watches = asked.filter(({ verb }) => verb === "watch")
    const lists = asked.filter(({ verb }) => verb === "list")
    const reports = await Promise.all(loads.map((load) => load.stop()))
    report(`API ${outage.what}`, {
      "requests served": reports.reduce((sum, { requests }) => sum + requests, 0),
      "caught up ms": caughtUpMs,
      "asked meanwhile": during.length,
      watches: watches.length,
      lists: lists.length,
    })
    expect(reports.map(({ failed }) => failed)).toEqual([{}, {}])
    const resources = after.kubernetes?.resources ?? []
    const relists = (all: typeof resources) => all.reduce((sum, each) => sum + each.relists, 0)
    const relisted = relists(resources) - relists(before.kubernetes?.resources ?? [])
    expect(relisted).toBeLessThanOrEqual(outage.relists ? 2 * resources.length : 0)
    expect(watches.length).toBeLessThanOrEqual(4 * resources.length)
    expect(after.ready).toBe(true)
  }, 60_000)
})
