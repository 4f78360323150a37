/**
 * The Kubernetes part: a large cluster, how long an edge takes to know and serve it, what memory it
 * needs, and whether clients feel that endpoints change 200 times a second. No peer does the same
 * work, so these are figures by themselves.
 *
 * The API server and the pods are beside the load, on its core; the edge, control thread and one
 * data thread, has the other to itself. What API server and churn cost the load's core must not be
 * taken for the edge's latency: they go last there (SCHED_IDLE), the client sleeps between requests
 * instead of polling, and the rounds without changes have the same changes on another API server,
 * which a curl follows in the edge's place.
 */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { startApiServerIn } from "../../test/lab/api-server-host.ts"
import { type Edge, startEdge } from "../../test/lab/edge.ts"
import {
  balancerAddress,
  type ClusterPath,
  clusterPaths,
  SAME_PATH,
} from "../../test/lab/large-cluster.ts"
import {
  type LargeCluster,
  largeClusterToml,
  startLargeCluster,
  visitAll,
} from "../../test/lab/large-cluster-host.ts"
import { execCommand } from "../../test/lab/process.ts"
import { eventually } from "../../test/lab/wait.ts"
import { cpuNsBetween, processTree, pssBytes, readCpu } from "./accounting.ts"
import {
  type Arena,
  arenaPids,
  EDGE_ADDRESS,
  LOAD_CORE,
  ON_LOAD_CORE,
  ON_PROXY_CORE,
  ORIGIN_ADDRESS,
  pinTree,
} from "./arena.ts"
import { type ChurnOptions, type ChurnResult, delayAt } from "./cluster-churn.ts"
import { Disturbance } from "./disturbance.ts"
import { LEAST, paced } from "./load.ts"
import { type Figure, newFigure, type PartResult } from "./report.ts"
import type { Settings } from "./settings.ts"

export async function runKubernetesPart(
  arena: Arena,
  settings: Settings,
  say: (line: string) => void,
): Promise<PartResult> {
  say("kubernetes: making the cluster")
  const stage = await createStage(arena, settings)
  const figures = newFigures()
  let edge: Edge | undefined
  for (let start = 1; start <= settings.clusterStarts; start += 1) {
    say(`kubernetes: start ${start} of ${settings.clusterStarts}`)
    await edge?.stop()
    edge = await measureStart(stage, figures)
  }
  if (edge === undefined) throw new Error("No start")
  const disturbance = new Disturbance(() => arenaPids(arena), 1000 * settings.patienceSeconds)
  await measureRounds({ ...stage, edge }, { figures, disturbance, say })
  say("kubernetes: changes and load, for memory")
  const delays = await measureBusy({ ...stage, edge }, figures)
  const { size } = stage
  const notes = [
    `${size.services} Services × ${size.endpoints} endpoints, ${size.balancers} of them LoadBalancers,`,
    `${size.paths} Ingress paths, ${size.nodes} nodes; all served right after each start`,
    `fixed rate: ${REQUESTS_PER_SECOND} requests/s; ${CHANGES_PER_SECOND} changes/s of endpoints`,
    `change to first answer: median of ${delays} changes`,
    disturbance.describe(),
  ]
  await edge.stop()
  return { title: "kubernetes", rows: [], figures: Object.values(figures), notes }
}

interface Stage {
  readonly arena: Arena
  readonly settings: Settings
  readonly size: Settings["cluster"]
  readonly cluster: LargeCluster
  /** Followed by nobody but a curl. */
  readonly shadow: string
  /** By API server: how often each Service has changed. */
  readonly turns: Map<string, number>
}

type RunningStage = Stage & { readonly edge: Edge }

async function createStage(arena: Arena, settings: Settings): Promise<Stage> {
  const { client, origin } = arena
  const { cluster: size } = settings
  const cluster = await startLargeCluster(origin, { address: ORIGIN_ADDRESS, size })
  await client.ip(`route add ${balancerAddress(0)}/20 via ${EDGE_ADDRESS}`)
  const port = 6444
  const hosted = await startApiServerIn(origin, ORIGIN_ADDRESS, { port })
  const { api, controlPath: shadow } = hosted
  const token = await api.issueToken("admin")
  const url = `${api.url}/apis/discovery.k8s.io/v1/endpointslices?watch=1`
  const authorization = `Authorization: Bearer ${token}`
  const curl = ["curl", "-skN", "-o", "/dev/null", "-H", authorization, url]
  origin.spawn([...ON_LOAD_CORE, ...LEAST, ...curl], { name: "shadow-watch" })
  for (const { pid } of origin.processes) await pinTree(pid, LOAD_CORE)
  for (const { pid } of [cluster.process, hosted.process]) await goLast(pid)
  return { arena, settings, size, cluster, shadow, turns: new Map() }
}

/** For a program that runs already, with all its threads: others go first. */
async function goLast(pid: number): Promise<void> {
  await execCommand(["chrt", "--all-tasks", "--idle", "--pid", "0", String(pid)])
}

/** Of a fresh process without a state on disk; also proves that all is served. */
async function measureStart(stage: Stage, figures: Figures): Promise<Edge> {
  const { arena, cluster, size } = stage
  const tables = largeClusterToml(cluster, {
    interface: "to-client",
    address: EDGE_ADDRESS,
    virtualAddress: VIRTUAL_ADDRESS,
  })
  const toml = `[node]\nname = "bench"\nthreads = 1\n${tables}`
  const startedAt = performance.now()
  const edge = await startEdge(arena.edge, toml, { wrapper: ON_PROXY_CORE, ready: false })
  await edge.waitReady(60_000)
  figures.ready.samples.push((performance.now() - startedAt) / 1e3)
  const last = balancerAddress(size.balancers - 1)
  await eventually(() => arena.edge.holds(last), { what: last, timeoutMs: 10_000 })
  figures.addresses.samples.push((performance.now() - startedAt) / 1e3)
  await Bun.sleep(SETTLE_MS)
  figures.syncedMemory.samples.push(pssBytes([edge.pid]) / 1024 ** 2)
  const target = `${EDGE_ADDRESS}:80`
  const { paths, balancers, problems } = await visitAll(arena.client, { size, target })
  if (paths !== size.paths || balancers !== size.balancers) {
    throw new Error(
      `Only ${paths} paths and ${balancers} addresses served:\n${problems.join("\n")}`,
    )
  }
  rmSync(join(edge.directory, "state"), { recursive: true, force: true })
  return edge
}

interface Measuring {
  readonly figures: Figures
  readonly disturbance: Disturbance
  readonly say: (line: string) => void
}

/** With changes and without, in turn, each first in every other round. */
async function measureRounds(
  stage: RunningStage,
  { figures, disturbance, say }: Measuring,
): Promise<void> {
  const { warmUpRounds, rounds } = stage.settings
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    say(round < 0 ? "kubernetes: warming up" : `kubernetes: round ${round + 1} of ${rounds}`)
    const order =
      round % 2 === 0
        ? [stage.shadow, stage.cluster.controlPath]
        : [stage.cluster.controlPath, stage.shadow]
    const samples = new Map<string, Sample>()
    for (const controlPath of order) {
      const take = () => pacedWithChanges(stage, controlPath, round)
      samples.set(controlPath, round < 0 ? await take() : await disturbance.undisturbed(take))
    }
    const [without, withChanges] = [
      samples.get(stage.shadow),
      samples.get(stage.cluster.controlPath),
    ]
    if (round >= 0 && without !== undefined && withChanges !== undefined) {
      bookRound(figures, without, withChanges)
    }
  }
}

interface Sample {
  readonly p50: number
  readonly p99: number
  /** Changes per second: fewer where the machine had other work. */
  readonly rate: number
  /** Cores. */
  readonly controlShare: number
  readonly processShare: number
}

function bookRound(figures: Figures, without: Sample, withChanges: Sample): void {
  figures.rate.samples.push(withChanges.rate)
  figures.quietP99.samples.push(without.p99)
  figures.changingP99.samples.push(withChanges.p99)
  figures.ratioP99.samples.push(withChanges.p99 / without.p99)
  figures.ratioP50.samples.push(withChanges.p50 / without.p50)
  figures.controlShare.samples.push(100 * (withChanges.controlShare - without.controlShare))
  figures.processShare.samples.push(100 * (withChanges.processShare - without.processShare))
}

/** A paced load while endpoints change on one of the API servers. */
async function pacedWithChanges(
  stage: RunningStage,
  controlPath: string,
  round: number,
): Promise<Sample> {
  const { arena, edge, settings } = stage
  const churn = await startChurn(stage, { controlPath, rank: LEAST })
  const pids = processTree(edge.pid)
  const [before, startedAt] = [readCpu(pids), performance.now()]
  const { p50, p99 } = await paced(arena.client, {
    target: `${EDGE_ADDRESS}:80`,
    connections: 64,
    requestsPerSecond: REQUESTS_PER_SECOND,
    requests: Math.round(REQUESTS_PER_SECOND * settings.clusterPacedSeconds),
    warmUpRequests: Math.round(REQUESTS_PER_SECOND / 4),
    request: requestedPaths(stage).map((path) => requestFor(path, SAME_PATH)),
    seed: 1 + Math.abs(round),
    sleeps: true,
  })
  const after = readCpu(pids)
  const elapsedNs = (performance.now() - startedAt) * 1e6
  const control = `${edge.pid}/${edge.pid}`
  const controlNs = (after.get(control) ?? 0) - (before.get(control) ?? 0)
  const { changes, seconds } = await churn.stop()
  return {
    ...{ p50, p99, rate: changes / seconds },
    controlShare: controlNs / elapsedNs,
    processShare: cpuNsBetween(before, after) / elapsedNs,
  }
}

/** Changes, and load in the manner of the rounds; then memory. Returns how many delays it took. */
async function measureBusy(stage: RunningStage, figures: Figures): Promise<number> {
  const { arena, cluster, edge, settings, size } = stage
  const { controlPath } = cluster
  const seconds = settings.clusterBusySeconds
  const load = await startChurn(stage, { controlPath, rank: [] })
  const paths = requestedPaths(stage).map((path) => requestFor(path, SAME_PATH))
  await paced(arena.client, {
    target: `${EDGE_ADDRESS}:80`,
    connections: 64,
    requestsPerSecond: REQUESTS_PER_SECOND,
    requests: Math.round(REQUESTS_PER_SECOND * seconds),
    warmUpRequests: 0,
    request: paths,
    seed: 1,
    sleeps: true,
  })
  await load.stop()
  figures.busyMemory.samples.push(pssBytes([edge.pid]) / 1024 ** 2)
  const [path] = clusterPaths(size)
  if (path === undefined) throw new Error("No path")
  const target = `${EDGE_ADDRESS}:80`
  const request = requestFor(path, "/probe")
  const probe = { target, request, service: path.service, everyMs: PROBE_MS }
  const probed = await startChurn(stage, { controlPath, rank: [], probe })
  await Bun.sleep(1_000 * Math.max(2, settings.rounds))
  const { delaysMs } = await probed.stop()
  figures.delay.samples.push(delayAt(delaysMs, 0.5))
  figures.delayP99.samples.push(delayAt(delaysMs, 0.99))
  return delaysMs.length
}

interface ChurnWay extends Pick<ChurnOptions, "controlPath" | "probe"> {
  /** Put before the program. */
  readonly rank: readonly string[]
}

/** Of the Services behind Ingresses but the first, which is the probe's. */
async function startChurn({ arena, size, turns }: Stage, { rank, ...way }: ChurnWay) {
  const first = size.balancers + 1
  const count = size.services - first
  const turn = turns.get(way.controlPath) ?? 0
  const options: ChurnOptions = { ...way, size, first, count, turn, perSecond: CHANGES_PER_SECOND }
  const program = join(import.meta.dir, "cluster-churn.ts")
  const argv = [...ON_LOAD_CORE, ...rank, process.execPath, program, JSON.stringify(options)]
  const child = arena.client.spawn(argv, { name: "churn" })
  await child.waitFor("changing")
  const stop = async (): Promise<ChurnResult> => {
    const exitCode = await child.stop()
    if (exitCode !== 0) throw new Error(`The changes failed:\n${child.tail()}`)
    const result: ChurnResult = JSON.parse(child.stdout.split("\n")[1] ?? "")
    turns.set(way.controlPath, turn + Math.ceil(result.changes / count))
    return result
  }
  return { stop }
}

/** Spread over all hosts, so that most of the table and of the pools is asked for. */
function requestedPaths({ size }: Stage): ClusterPath[] {
  const every = Math.max(1, Math.floor(size.paths / PATHS_ASKED))
  return clusterPaths(size).filter((_, index) => index % every === 0)
}

function requestFor({ host, path }: ClusterPath, end: string): string {
  return `GET ${path}${end} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
}

type Figures = ReturnType<typeof newFigures>

function newFigures() {
  const figure = (id: string, title: string, unit: string, max?: number): Figure =>
    newFigure({ id: `kubernetes.${id}`, title, unit, ...(max === undefined ? {} : { max }) })
  return {
    ready: figure("sync", "start to everything synced and served", "s", 3),
    addresses: figure("addresses", "start to the last virtual address", "s"),
    syncedMemory: figure("synced.memory", "memory after the start", "MiB", 250),
    busyMemory: figure("busy.memory", "memory after changes and load", "MiB", 250),
    rate: figure("changing.rate", "changes of endpoints (200 asked for)", "1/s"),
    quietP99: figure("quiet.p99", "latency at a fixed rate, p99", "µs"),
    changingP99: figure("changing.p99", "the same with changes, p99", "µs"),
    ratioP99: figure("changing.ratio.p99", "with changes to without, p99", "ratio", 1.2),
    ratioP50: figure("changing.ratio.p50", "with changes to without, p50", "ratio"),
    controlShare: figure("changing.control", "changes: CPU of the control thread", "%"),
    processShare: figure("changing.process", "changes: CPU of the process", "%"),
    delay: figure("delay.p50", "change to first answer, median", "ms", 50),
    delayP99: figure("delay.p99", "change to first answer, p99", "ms"),
  }
}

const VIRTUAL_ADDRESS = "10.10.1.9"
/** What the issue names. */
const CHANGES_PER_SECOND = 200
/** Moderate: a few percent of what a data thread can do. */
const REQUESTS_PER_SECOND = 2_000
const PATHS_ASKED = 500
const PROBE_MS = 100
const SETTLE_MS = 3_000
