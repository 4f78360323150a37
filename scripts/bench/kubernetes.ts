/**
 * The Kubernetes part: a large cluster, how long an edge takes to know and serve it, what memory it
 * needs, and whether clients feel that endpoints change 200 times a second. No peer does the same
 * work, so these are figures by themselves.
 *
 * The API server and the pods are beside the load, on its core; the edge, control thread and one
 * data thread, has the other to itself. Latency is also measured with only the data thread there,
 * as on an edge with two cores: control then has to make do with what the load leaves of its core.
 * What API server and churn cost that core must not be taken for the edge's latency: they go last
 * there (SCHED_IDLE), client and pods first (SCHED_FIFO), the client sleeps between requests
 * instead of polling, and the rounds without changes have the same changes on another API server,
 * which a curl follows in the edge's place.
 */
import { readFileSync, rmSync } from "node:fs"
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
import { LastingLoad, LEAST, paced } from "./load.ts"
import type { PacedOptions } from "./paced-client.ts"
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
  say("kubernetes: changes and load, for memory")
  const delays = await measureBusy({ ...stage, edge }, figures)
  const disturbance = new Disturbance(() => arenaPids(arena), 1000 * settings.patienceSeconds)
  const load = await startLoads({ ...stage, edge })
  await measurePairs(load, { figures: figures.oneCore, disturbance, say })
  await leaveDataThreadAlone(edge.pid)
  await measurePairs(load, { figures: figures.twoCores, disturbance, say })
  figures.rate.samples.push(await load.stop())
  const { size } = stage
  const notes = [
    `${size.services} Services × ${size.endpoints} endpoints, ${size.balancers} of them LoadBalancers,`,
    `${size.paths} Ingress paths, ${size.nodes} nodes; all served right after each start`,
    `fixed rate: ${REQUESTS_PER_SECOND} requests/s; ${CHANGES_PER_SECOND} changes/s of endpoints`,
    `change to first answer: median of ${delays} changes`,
    disturbance.describe(),
  ]
  await edge.stop()
  return { title: "kubernetes", rows: [], figures: listed(figures), notes }
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
  for (const { name, pid } of origin.processes) if (name === "nginx") await goFirst(pid)
  return { arena, settings, size, cluster, shadow, turns: new Map() }
}

/** For a program that runs already and its children: before all others on its core. */
async function goFirst(pid: number): Promise<void> {
  for (const each of processTree(pid)) {
    await execCommand(["chrt", "--all-tasks", "--fifo", "--pid", "1", String(each)])
  }
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

interface Loads {
  readonly edge: Edge
  readonly settings: Settings
  readonly load: LastingLoad
  /** Changes on the edge's API server, or on the other one. */
  turn(isReal: boolean): void
  /** Returns how many changes a second there were. */
  stop(): Promise<number>
}

/** One load all the while, and by turns changes here or there. */
async function startLoads(stage: RunningStage): Promise<Loads> {
  const { arena, cluster, edge, settings } = stage
  const load = await LastingLoad.start(arena.client, {
    ...pacedOptions(stage, settings.clusterPacedSeconds),
    warmUpRequests: Math.round(REQUESTS_PER_SECOND * TURN_SECONDS),
  })
  const real = await startChurn(stage, { controlPath: cluster.controlPath, rank: LEAST })
  const shadow = await startChurn(stage, { controlPath: stage.shadow, rank: LEAST })
  const turn = (isReal: boolean) => {
    real.turn(isReal)
    shadow.turn(!isReal)
  }
  const stop = async () => {
    await load.stop()
    await shadow.stop()
    const { changes, seconds } = await real.stop()
    return changes / seconds
  }
  return { edge, settings, load, turn, stop }
}

interface Measuring {
  readonly figures: LatencyFigures
  readonly disturbance: Disturbance
  readonly say: (line: string) => void
}

/** With changes and without, in turn, each first in every other pair. */
async function measurePairs(
  { edge, settings, load, turn }: Loads,
  { figures, disturbance, say }: Measuring,
): Promise<void> {
  const { warmUpRounds, rounds } = settings
  for (let pair = -warmUpRounds; pair < rounds * PAIRS_PER_ROUND; pair += 1) {
    say(pair < 0 ? "kubernetes: warming up" : `kubernetes: pair ${pair + 1}`)
    const take = async (isReal: boolean) => {
      turn(isReal)
      return await takeSample(edge, load)
    }
    const isRealFirst = pair % 2 === 0
    const first = await disturbance.undisturbed(() => take(isRealFirst))
    const second = await disturbance.undisturbed(() => take(!isRealFirst))
    if (pair >= 0) bookPair(figures, isRealFirst ? [second, first] : [first, second])
  }
}

/** The data thread keeps its core to itself; all others go to the load's. */
async function leaveDataThreadAlone(pid: number): Promise<void> {
  const [busiest] = [...readCpu([pid])]
    .filter(([thread]) =>
      readFileSync(`/proc/${thread.replace("/", "/task/")}/comm`, "utf8").startsWith("Worker"),
    )
    .toSorted(([, a], [, b]) => b - a)
  for (const thread of readCpu([pid]).keys()) {
    if (thread === busiest?.[0]) continue
    const [, id = ""] = thread.split("/")
    await execCommand(["taskset", "--cpu-list", "--pid", String(LOAD_CORE), id])
  }
}

interface Sample {
  readonly p50: number
  readonly p99: number
  /** Cores. */
  readonly controlShare: number
  readonly processShare: number
}

function bookPair(figures: LatencyFigures, [without, withChanges]: [Sample, Sample]): void {
  figures.quietP99.samples.push(without.p99)
  figures.changingP99.samples.push(withChanges.p99)
  figures.ratioP99.samples.push(withChanges.p99 / without.p99)
  figures.ratioP50.samples.push(withChanges.p50 / without.p50)
  figures.controlShare.samples.push(100 * (withChanges.controlShare - without.controlShare))
  figures.processShare.samples.push(100 * (withChanges.processShare - without.processShare))
}

async function takeSample(edge: Edge, load: LastingLoad): Promise<Sample> {
  const pids = processTree(edge.pid)
  let [before, startedAt] = [readCpu(pids), performance.now()]
  const { p50, p99 } = await load.next(() => {
    before = readCpu(pids)
    startedAt = performance.now()
  })
  const after = readCpu(pids)
  const elapsedNs = (performance.now() - startedAt) * 1e6
  const control = `${edge.pid}/${edge.pid}`
  const controlNs = (after.get(control) ?? 0) - (before.get(control) ?? 0)
  const processShare = cpuNsBetween(before, after) / elapsedNs
  return { p50, p99, controlShare: controlNs / elapsedNs, processShare }
}

function pacedOptions(stage: Stage, seconds: number): PacedOptions {
  return {
    target: `${EDGE_ADDRESS}:80`,
    connections: 64,
    requestsPerSecond: REQUESTS_PER_SECOND,
    requests: Math.round(REQUESTS_PER_SECOND * seconds),
    warmUpRequests: 0,
    request: requestedPaths(stage).map((path) => requestFor(path, SAME_PATH)),
    seed: 1,
    sleeps: true,
  }
}

/** Changes, and load in the manner of the rounds; then memory. Returns how many delays it took. */
async function measureBusy(stage: RunningStage, figures: Figures): Promise<number> {
  const { arena, cluster, edge, settings, size } = stage
  const { controlPath } = cluster
  const load = await startChurn(stage, { controlPath, rank: [] })
  await paced(arena.client, pacedOptions(stage, settings.clusterBusySeconds))
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
  const done = turns.get(way.controlPath) ?? 0
  const options: ChurnOptions = {
    ...way,
    size,
    first,
    count,
    turn: done,
    perSecond: CHANGES_PER_SECOND,
  }
  const program = join(import.meta.dir, "cluster-churn.ts")
  const argv = [...ON_LOAD_CORE, ...rank, process.execPath, program, JSON.stringify(options)]
  const child = arena.client.spawn(argv, { name: "churn" })
  await child.waitFor("changing")
  const stop = async (): Promise<ChurnResult> => {
    const exitCode = await child.stop()
    if (exitCode !== 0) throw new Error(`The changes failed:\n${child.tail()}`)
    const result: ChurnResult = JSON.parse(child.stdout.split("\n")[1] ?? "")
    turns.set(way.controlPath, done + Math.ceil(result.changes / count))
    return result
  }
  const turn = (isOn: boolean) => child.signal(isOn ? "SIGUSR1" : "SIGUSR2")
  return { stop, turn }
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
type LatencyFigures = ReturnType<typeof newLatencyFigures>

function newFigures() {
  return {
    ready: figure("sync", "start to everything synced and served", "s", 3),
    addresses: figure("addresses", "start to the last virtual address", "s"),
    syncedMemory: figure("synced.memory", "memory after the start", "MiB", 250),
    busyMemory: figure("busy.memory", "memory after changes and load", "MiB", 250),
    delay: figure("delay.p50", "change to first answer, median", "ms", 50),
    delayP99: figure("delay.p99", "change to first answer, p99", "ms"),
    rate: figure("changing.rate", "changes of endpoints (200 asked for)", "1/s"),
    oneCore: newLatencyFigures("one-core", "one core"),
    twoCores: newLatencyFigures("two-cores", "two cores", 1.2),
  }
}

function newLatencyFigures(id: string, layout: string, max?: number) {
  return {
    quietP99: figure(`${id}.quiet.p99`, `${layout}: p99 at a fixed rate`, "µs"),
    changingP99: figure(`${id}.changing.p99`, `${layout}: the same with changes`, "µs"),
    ratioP99: figure(`${id}.ratio.p99`, `${layout}: with changes to without, p99`, "ratio", max),
    ratioP50: figure(`${id}.ratio.p50`, `${layout}: with changes to without, p50`, "ratio"),
    controlShare: figure(`${id}.control`, `${layout}: changes, CPU of the control thread`, "%"),
    processShare: figure(`${id}.process`, `${layout}: changes, CPU of the process`, "%"),
  }
}

function figure(id: string, title: string, unit: string, max?: number): Figure {
  return newFigure({ id: `kubernetes.${id}`, title, unit, ...(max === undefined ? {} : { max }) })
}

function listed({ oneCore, twoCores, ...others }: Figures): Figure[] {
  return [others, oneCore, twoCores].flatMap((each) => Object.values(each))
}

const VIRTUAL_ADDRESS = "10.10.1.9"
/** What the issue names. */
const CHANGES_PER_SECOND = 200
/** Moderate: a few percent of what a data thread can do. */
const REQUESTS_PER_SECOND = 2_000
const PATHS_ASKED = 500
/** From the turn from changes to none, or back, to what is counted. */
const TURN_SECONDS = 0.5
/** Each is short, so that what the machine does otherwise is the same for both of it. */
const PAIRS_PER_ROUND = 3
const PROBE_MS = 100
const SETTLE_MS = 3_000
