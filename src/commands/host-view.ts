/** This host, as far as anybody may look at it, for `host-findings.ts`. Changes nothing. */
import { existsSync, readFileSync } from "node:fs"
import type { Status } from "../admin/backend.ts"
import { SystemError } from "../linux/errno.ts"
import { Rtnetlink } from "../linux/rtnetlink.ts"
import { readSysctl } from "../linux/sysctl.ts"
import { isEndpointTaken } from "../linux/tcp.ts"
import { type Endpoint, parsePrefix } from "../net/address.ts"
import type { HostView, RunningEdge } from "./host-findings.ts"
import { portOwner } from "./port-owner.ts"

/** `status`: of the edge that runs now. Throws `SystemError` when the kernel does not answer. */
export function viewHost(status: Status | undefined): HostView {
  const rtnetlink = new Rtnetlink()
  try {
    return {
      links: rtnetlink.links(),
      addresses: rtnetlink.addresses(),
      hasTun: existsSync("/dev/net/tun"),
      missingCapabilities: missingCapabilities(),
      unprivilegedPortStart: Number(readSysctl("net/ipv4/ip_unprivileged_port_start") ?? 1024),
      running: status === undefined ? undefined : runningEdge(status),
      listenerAt,
    }
  } finally {
    rtnetlink.close()
  }
}

function runningEdge({ streams, vrrp }: Status): RunningEdge {
  const active = vrrp.filter(({ state }) => state === "active")
  return {
    binds: streams.flatMap(({ bind }) => bind),
    activeAddresses: active
      .flatMap(({ addresses }) => addresses)
      .flatMap((text) => parsePrefix(text)?.address ?? []),
  }
}

/** The kernel's own answer: tries to listen, for a moment. */
function listenerAt(endpoint: Endpoint): string {
  try {
    return isEndpointTaken(endpoint) ? (portOwner(endpoint.port) ?? "another program") : "free"
  } catch (error) {
    if (error instanceof SystemError) return "unknown"
    throw error
  }
}

function missingCapabilities(): string[] {
  const status = readFileSync("/proc/self/status", "utf8")
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`)
  return Object.entries(CAPABILITY_BITS)
    .filter(([, bit]) => (effective & (1n << bit)) === 0n)
    .map(([name]) => name)
}

/** linux/capability.h */
const CAPABILITY_BITS = { CAP_NET_BIND_SERVICE: 10n, CAP_NET_ADMIN: 12n, CAP_NET_RAW: 13n }
