/**
 * The highly available Kubernetes API endpoint of the kubeadm guide, as `config/examples/` ships
 * it, word for word but for the priority that the examples tell to change: on the masters
 * themselves, and on machines of its own. An https health endpoint with a certificate nobody
 * vouches for plays the API server. With 3 s between checks and 10 of them for "down" this takes
 * the better part of a minute; both set-ups run at the same time.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { SERVER_CERTIFICATE, SERVER_KEY } from "../../src/health/probes/fixtures/certificates.ts"
import { type Edge, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { startNginx } from "../lab/nginx.ts"
import { type Probe, startProbe } from "../lab/probe.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { report } from "../lab/report.ts"
import { epochMs } from "../lab/wait.ts"
import { nth } from "./stage.ts"

const VIP = "192.168.0.50"
/** Ten checks, the first up to an interval and the last a time-out after the failure. */
const DOWN_MS_MAX = 10 * 3_000 + 2_000
/** Two checks. */
const UP_MS_MAX = 2 * 3_000 + 1_000
/** Three adverts and the skew of priority 100, and a little for a busy machine. */
const TAKEOVER_MS_MAX = 3_610 + 200

interface Cluster {
  readonly lab: Lab
  readonly lan: Lan
  readonly client: Host
  readonly masters: readonly Host[]
  readonly apiServers: readonly ManagedProcess[]
}

interface Outcome {
  /** From the failure until the effective priority of the active edge fell. */
  readonly loweredMs: number
  readonly takenOverMs: number
  /** From the recovery until the priority was back. */
  readonly raisedMs: number
  readonly takenBackMs: number
  /** Of the edge that was active first. */
  readonly priorities: readonly number[]
  /** What `curl` was told at each stage. */
  readonly answers: readonly string[]
  readonly clientGapMs: number
}

const clusters: Cluster[] = []
const runs = new Map<string, Promise<Outcome>>()

beforeAll(() => {
  for (const [name, play] of [
    ["on the masters", onTheMasters],
    ["on machines of its own", onItsOwnMachines],
  ] as const) {
    const run = play()
    run.catch(() => {})
    runs.set(name, run)
  }
})

afterAll(async () => {
  await Promise.allSettled(runs.values())
  await Promise.all(clusters.map(({ lab }) => lab.close()))
})

describe.each(["on the masters", "on machines of its own"])("the edge %s", (name) => {
  test("gives the address to a peer while its track is down, and takes it back", async () => {
    const outcome = await runs.get(name)
    if (outcome === undefined) throw new Error("did not run")
    const { loweredMs, takenOverMs, raisedMs, takenBackMs, clientGapMs } = outcome
    report(`kube-apiserver, edge ${name}`, {
      "priority lowered after ms": loweredMs,
      "peer active after further ms": takenOverMs - loweredMs,
      "priority raised after ms": raisedMs,
      "active again after further ms": takenBackMs - raisedMs,
      "client's longest gap ms": clientGapMs,
    })
    expect(outcome.priorities).toEqual([101, 99, 101])
    expect(outcome.answers).toEqual(["ok 200", "ok 200", "ok 200"])
    // Ten failed checks in a row, and not the first.
    expect(loweredMs).toBeGreaterThan(9 * 3_000 - 1_000)
    expect(loweredMs).toBeLessThan(DOWN_MS_MAX)
    expect(takenOverMs - loweredMs).toBeLessThan(TAKEOVER_MS_MAX)
    expect(raisedMs).toBeLessThan(UP_MS_MAX)
    expect(takenBackMs - raisedMs).toBeLessThan(TAKEOVER_MS_MAX)
  }, 120_000)
})

async function onTheMasters(): Promise<Outcome> {
  const cluster = await createCluster("kube-masters")
  const toml = example("kube-apiserver.toml")
  const edges = [await startEdge(nth(cluster.masters, 0), toml)]
  await nth(edges, 0).waitState("active")
  for (const master of cluster.masters.slice(1)) {
    edges.push(await startEdge(master, toml.replace("priority = 101", "priority = 100")))
  }
  return failAndRecover(cluster, edges, 8443, {
    fail: () => nth(cluster.apiServers, 0).stop(),
    recover: () => startApiServer(nth(cluster.masters, 0)),
  })
}

async function onItsOwnMachines(): Promise<Outcome> {
  const cluster = await createCluster("kube-own")
  const toml = example("kube-apiserver-own-vm.toml")
  const [a, b] = [await cluster.lab.host("edge-a"), await cluster.lab.host("edge-b")]
  await cluster.lan.join(a, { addresses: ["192.168.0.61/24"] })
  await cluster.lan.join(b, { addresses: ["192.168.0.62/24"] })
  const first = await startEdge(a, toml)
  await first.waitState("active")
  const second = await startEdge(b, toml.replace("priority = 101", "priority = 100"))
  return failAndRecover(cluster, [first, second], 6443, {
    fail: () => cluster.lan.drop({ from: a, to: cluster.masters, match: "tcp dport 6443" }),
    recover: () => cluster.lan.heal(),
  })
}

async function failAndRecover(
  cluster: Cluster,
  [first, ...others]: readonly Edge[],
  port: number,
  turns: { fail(): Promise<unknown>; recover(): Promise<unknown> },
): Promise<Outcome> {
  if (first === undefined) throw new Error("no edge")
  const probe = await startProbe(cluster.client, `${VIP}:${port}`, {
    intervalMs: 50,
    gapMsMin: 120,
    until: "connected",
  })
  for (const other of others) await other.waitState("backup")
  const answers = [await askHealth(cluster.client, port)]
  const priorities = [await effectivePriority(first)]
  const failedAtMs = epochMs()
  await turns.fail()
  await first.waitStatus(({ vrrp }) => vrrp[0]?.effective_priority === 99, LONG)
  const loweredMs = epochMs() - failedAtMs
  await Promise.any(others.map((other) => other.waitState("active")))
  const takenOverMs = epochMs() - failedAtMs
  await first.waitState("backup")
  priorities.push(await effectivePriority(first))
  answers.push(await askHealth(cluster.client, port))
  const recoveredAtMs = epochMs()
  await turns.recover()
  await first.waitStatus(({ vrrp }) => vrrp[0]?.effective_priority === 101, LONG)
  const raisedMs = epochMs() - recoveredAtMs
  await first.waitState("active")
  const takenBackMs = epochMs() - recoveredAtMs
  priorities.push(await effectivePriority(first))
  answers.push(await askHealth(cluster.client, port))
  const clientGapMs = await longestGapMs(probe)
  return { loweredMs, takenOverMs, raisedMs, takenBackMs, priorities, answers, clientGapMs }
}

async function createCluster(name: string): Promise<Cluster> {
  const lab = await createLab(name)
  const lan = await lab.lan("lan")
  const client = await lab.host("client")
  await lan.join(client, { addresses: ["192.168.0.9/24"] })
  const masters: Host[] = []
  for (const number of [1, 2, 3]) {
    const master = await lab.host(`master-${number}`)
    await lan.join(master, { addresses: [`192.168.0.5${number}/24`] })
    masters.push(master)
  }
  const apiServers = await Promise.all(masters.map(startApiServer))
  const cluster = { lab, lan, client, masters, apiServers }
  clusters.push(cluster)
  return cluster
}

/** What a check sees of an API server: https on port 6443 of every address. */
function startApiServer(host: Host): Promise<ManagedProcess> {
  const [certificate, key] = ["api.crt", "api.key"].map((file) => join(host.directory, file))
  writeFileSync(certificate ?? "", SERVER_CERTIFICATE)
  writeFileSync(key ?? "", SERVER_KEY, { mode: 0o600 })
  return startNginx(host, {
    http: `
      server {
        listen 6443 ssl;
        ssl_certificate ${certificate};
        ssl_certificate_key ${key};
        location = /healthz { default_type text/plain; return 200 "ok"; }
      }`,
  })
}

function example(file: string): string {
  return readFileSync(`${import.meta.dir}/../../config/examples/${file}`, "utf8")
}

async function effectivePriority(edge: Edge): Promise<number> {
  return (await edge.status()).vrrp[0]?.effective_priority ?? 0
}

/** "ok 200" when all is well. */
function askHealth(client: Host, port: number): Promise<string> {
  const url = `https://${VIP}:${port}/healthz`
  return client.exec(["curl", "-sk", "--max-time", "5", "-w", " %{http_code}", url])
}

async function longestGapMs(probe: Probe): Promise<number> {
  return (await probe.stop()).longestGapMs
}

const LONG = { timeoutMs: 40_000, intervalMs: 50, what: "the effective priority to change" }
