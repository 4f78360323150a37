/**
 * Where the measuring takes place: a client, an edge and an origin, each in a network namespace of
 * its own, joined by veth cables without a bridge.
 *
 *     client 10.10.1.2 ── 10.10.1.1 edge 10.10.2.1 ── 10.10.2.2 origin
 *
 * Namespaces and not loopback, because no packet through an edge ever takes that path: its MTU is
 * 64 KiB, and both directions of a proxy would share one interface. Here packets cross two
 * interfaces of 1500 bytes with segmentation offload, as on a NIC. What remains different is that a
 * veth delivers to the receiver in the sender's context: the proxy under test pays for its peers'
 * receiving and they for its, the same for every proxy.
 *
 * All proxies run on core 1, all loads and the origin on core 0. One proxy is loaded at a time.
 */
import { openSync, writeSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "../../test/lab/host.ts"
import { createLab, type Lab } from "../../test/lab/lab.ts"
import { startNginx } from "../../test/lab/nginx.ts"
import { execCommand } from "../../test/lab/process.ts"
import { processTree } from "./accounting.ts"

export interface Arena {
  readonly lab: Lab
  readonly client: Host
  readonly edge: Host
  readonly origin: Host
}

export const EDGE_ADDRESS = "10.10.1.1"
export const ORIGIN_ADDRESS = "10.10.2.2"
export const WEB_PORT = 8000
export const SINK_PORT = 8001
export const SMALL_PATH = "/small"
export const BULK_PATH = "/bulk"

export const PROXY_CORE = 1
export const LOAD_CORE = 0
/** Put before a program, keeps it beside the load. */
export const ON_LOAD_CORE = ["taskset", "--cpu-list", String(LOAD_CORE)]
export const ON_PROXY_CORE = ["taskset", "--cpu-list", String(PROXY_CORE)]

/** Builds the network and starts the origin. Close the arena's lab in a `finally`. */
export async function createArena(bulkFileMib: number): Promise<Arena> {
  await pin(process.pid, LOAD_CORE)
  const lab = await createLab("bench")
  try {
    const client = await lab.host("client")
    const edge = await lab.host("edge")
    const origin = await lab.host("origin")
    await cable({ host: edge, address: `${EDGE_ADDRESS}/24` }, { host: client, last: 2 })
    await cable({ host: edge, address: "10.10.2.1/24" }, { host: origin, last: 2 })
    for (const host of [client, edge, origin]) await host.sysctl(SYSCTLS)
    await startOrigin(origin, bulkFileMib)
    return { lab, client, edge, origin }
  } catch (error) {
    await lab.close()
    throw error
  }
}

/** Everything that runs in it. */
export function arenaPids({ client, edge, origin }: Arena): number[] {
  const running = [client, edge, origin].flatMap(({ processes }) => processes)
  return running.filter((each) => each.running).flatMap(({ pid }) => processTree(pid))
}

/** Pins a program that is running already, with all its threads and children. */
export async function pinTree(pid: number, core: number): Promise<void> {
  for (const each of processTree(pid)) await pin(each, core)
}

function pin(pid: number, core: number): Promise<string> {
  return execCommand(["taskset", "--all-tasks", "--cpu-list", "--pid", String(core), String(pid)])
}

/** Joins two hosts; the second gets the address of the same /24 that ends in `last`. */
async function cable(
  near: { readonly host: Host; readonly address: string },
  far: { readonly host: Host; readonly last: number },
): Promise<void> {
  const name = `to-${far.host.name}`
  await near.host.ip(`link add ${name} type veth peer name eth0 netns ${far.host.namespace}`)
  await near.host.ip(`address add ${near.address} dev ${name}`)
  await near.host.linkUp(name)
  await far.host.ip(`address add ${near.address.replace(/\d+\//, `${far.last}/`)} dev eth0`)
  await far.host.linkUp("eth0")
}

/** nginx with a few bytes and with a large file, and a program that takes uploads. */
async function startOrigin(origin: Host, bulkFileMib: number): Promise<void> {
  writeBulkFile(join(origin.directory, BULK_PATH), bulkFileMib)
  const nginx = await startNginx(origin, { http: originConfig(origin.directory), ...ROOMY })
  await pinTree(nginx.pid, LOAD_CORE)
  const program = [process.execPath, join(import.meta.dir, "sink.ts"), String(SINK_PORT)]
  const sink = origin.spawn([...ON_LOAD_CORE, ...program], { name: "sink" })
  await sink.waitFor("listening")
}

/** From the page cache by sendfile: after the first read no disk has a part in it. */
function originConfig(root: string): string {
  return `
  server {
    listen ${WEB_PORT} backlog=4096;
    root ${root};
    default_type text/plain;
    sendfile on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_header_timeout 1h;
    open_file_cache max=16;
    location = ${SMALL_PATH} { return 200 "hello\\n"; }
  }`
}

/** Of bytes that differ from block to block, so that a lost or repeated block changes its hash. */
function writeBulkFile(path: string, mib: number): void {
  const file = openSync(path, "w")
  const block = crypto.getRandomValues(new Uint8Array(64 * 1024))
  const number = new DataView(block.buffer)
  for (let index = 0; index < mib * 16; index += 1) {
    number.setUint32(0, index)
    writeSync(file, block)
  }
}

/** Both sides of 9 500 proxied connections, within the lab's 20 000 descriptors. */
export const ROOMY = { workers: 1, workerConnections: 19_800 }

/**
 * Many short connections between the same addresses must not run out of ports. Buffers are the
 * kernel's defaults, which a machine may have changed. Reno is the one congestion control that any
 * kernel has and allows here; without loss it does what CUBIC does, and unlike BBR it does not pace
 * by timers, whose cost lands on whoever happens to run.
 */
const SYSCTLS = {
  "net.ipv4.tcp_congestion_control": "reno",
  "net.ipv4.tcp_rmem": "4096 131072 6291456",
  "net.ipv4.tcp_wmem": "4096 16384 4194304",
  "net.ipv4.ip_local_port_range": "10000 65000",
  "net.ipv4.tcp_tw_reuse": 1,
  "net.ipv4.tcp_max_syn_backlog": 4096,
}
