/** A Deployment rolled under load: no request and no connection may fail for it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import type { Edge } from "../lab/edge.ts"
import { httpProbe, type Probe, startProbe } from "../lab/probe.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type HttpLoad, startHttpLoad } from "./http-load.ts"
import { Deployment, type DeploymentOptions } from "./kubernetes-deployment.ts"
import {
  createKubernetesStage,
  createService,
  type KubernetesStage,
  startClusterEdge,
  vrrpToml,
} from "./kubernetes-stage.ts"

let stage: KubernetesStage
let edge: Edge

const VIP = "192.168.1.40"
const SERVICE = "192.168.1.240:80"

const TOML = `${vrrpToml({ priority: 100, addresses: [VIP] })}
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

interface Loads {
  readonly kept: HttpLoad
  readonly fresh: HttpLoad
  readonly posts: HttpLoad
  readonly l4: HttpLoad
  readonly connects: Probe
}

async function startLoads(): Promise<Loads> {
  const { client } = stage
  const l7 = `${VIP}:80`
  return {
    kept: await startHttpLoad(client, l7, { connections: 8, intervalMs: 4 }),
    fresh: await startHttpLoad(client, l7, { connections: 4, intervalMs: 10, closes: true }),
    posts: await startHttpLoad(client, l7, { connections: 4, intervalMs: 10, method: "POST" }),
    l4: await startHttpLoad(client, SERVICE, { connections: 4, intervalMs: 10, closes: true }),
    connects: await startProbe(client, SERVICE, { ...httpProbe, intervalMs: 10, timeoutMs: 5_000 }),
  }
}

async function stopLoads({ kept, fresh, posts, l4, connects }: Loads) {
  return {
    kept: await kept.stop(),
    fresh: await fresh.stop(),
    posts: await posts.stop(),
    l4: await l4.stop(),
    connects: await connects.stop(),
  }
}

/** Rolls `count` pods under load and says what failed. */
async function rollUnderLoad(deployment: Deployment, count: number) {
  const loads = await startLoads()
  await loads.kept.requests(100)
  await deployment.roll(count)
  await loads.kept.requests(100)
  const books = await stopLoads(loads)
  const { kept, fresh, posts, l4, connects } = books
  const failed = Object.fromEntries(
    Object.entries(books).flatMap(([name, { failed: its }]) =>
      Object.keys(its).length === 0 ? [] : [[name, its]],
    ),
  )
  report("rolling update", {
    pods: count,
    "kept requests": kept.requests,
    "new-connection requests": fresh.requests,
    POSTs: posts.requests,
    "L4 requests": l4.requests,
    "L4 connects": connects.attempts,
    failed: JSON.stringify(failed),
    "L7 p99 ms": kept.p99Ms,
    "L7 max ms": kept.maxMs,
    "L4 max ms": connects.latencyMsMax,
  })
  return { books, failed }
}

async function startDeployment(options: DeploymentOptions): Promise<Deployment> {
  const web = await createService(stage, { name: "web" })
  const balanced = await createService(stage, { name: "balanced", spec: "  type: LoadBalancer" })
  const deployment = await Deployment.start(stage, [web, balanced], options)
  edge = await startClusterEdge(stage, stage.a, TOML)
  for (const target of [`${VIP}:80`, SERVICE]) {
    await eventually(() => stage.client.exec(["curl", "-sSf", "-m", "1", `http://${target}/`]), {
      what: `an answer of ${target}`,
    })
  }
  return deployment
}

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-rolling")
}, 30_000)

afterAll(() => stage.lab.close())

describe("a rolling update", () => {
  afterEach(async () => {
    await edge.stop()
    for (const name of ["web", "balanced"]) await stage.api.remove("services", `default/${name}`)
  })

  test("fails nothing when pods die right after they have left the slices", async () => {
    const deployment = await startDeployment({ name: "web", replicas: 4, firstAddress: 10 })
    const { books, failed } = await rollUnderLoad(deployment, 30)
    expect(failed).toEqual({})
    // Traffic has moved on to pods that were not there at first.
    expect(Object.keys(books.kept.servers).length).toBeGreaterThan(20)
    expect(deployment.replaced).toBe(30)
  }, 60_000)

  test("fails nothing that may be repeated when pods end while the slices still name them", async () => {
    const deployment = await startDeployment({
      name: "abrupt",
      replicas: 4,
      firstAddress: 50,
      ends: "at once",
    })
    const { failed } = await rollUnderLoad(deployment, 30)
    const { kept, fresh } = failed
    expect({ kept, fresh }).toEqual({ kept: undefined, fresh: undefined })
  }, 60_000)

  test("fails nothing with a single replica", async () => {
    const deployment = await startDeployment({ name: "single", replicas: 1, firstAddress: 90 })
    const { books, failed } = await rollUnderLoad(deployment, 10)
    expect(failed).toEqual({})
    expect(Object.keys(books.l4.servers)).not.toContain("web-33")
    expect(Object.keys(books.l4.servers)).toContain("single-10")
  }, 60_000)
})
