/**
 * What of a valid configuration does not fit this host, for `causeway check`. Nothing here is an
 * error: an interface may come later, a port may be freed, another machine may be meant.
 *
 * Pure; `host-view.ts` looks at the host.
 */
import type { Config, VrrpConfig } from "../config/config.ts"
import type { InterfaceAddress } from "../linux/address-message.ts"
import { primaryAddress } from "../linux/interfaces.ts"
import type { Link } from "../linux/link-message.ts"
import { type Address, type Endpoint, familyOf, formatEndpoint } from "../net/address.ts"

export interface Finding {
  /** A note is for completeness; a warning is probably a mistake. */
  readonly severity: "error" | "warning" | "note"
  readonly message: string
}

/** This host as `causeway check` finds it. */
export interface HostView {
  readonly links: readonly Link[]
  readonly addresses: readonly InterfaceAddress[]
  /** Whether a tun device can be made. */
  readonly hasTun: boolean
  /** Of those an edge can need, the capabilities that this process does not have. */
  readonly missingCapabilities: readonly string[]
  /** Ports below it need CAP_NET_BIND_SERVICE. */
  readonly unprivilegedPortStart: number
  /** The edge that runs now holds addresses and ports by right; undefined: none runs. */
  readonly running: RunningEdge | undefined
  /** Who listens there; "free", or "unknown" where we may not try. */
  readonly listenerAt: (endpoint: Endpoint) => string | "free" | "unknown"
}

export interface RunningEdge {
  readonly binds: readonly string[]
  readonly activeAddresses: readonly Address[]
}

export function hostFindings(config: Config, host: HostView): Finding[] {
  return [
    ...config.vrrp.flatMap((router) => routerFindings(router, host)),
    ...tunFindings(config, host),
    ...sourceFindings(config, host),
    ...listenerFindings(config, host),
    ...capabilityFindings(config, host),
  ]
}

function routerFindings(router: VrrpConfig, host: HostView): Finding[] {
  const tracked = router.track.flatMap(({ type, target }) => (type === "interface" ? target : []))
  return [
    ...interfaceFindings(router, host),
    ...tracked
      .filter((name) => findLink(name, host) === undefined)
      .map((name) => warning(`vrrp "${router.name}": there is no interface ${name} to track`)),
    ...heldElsewhere(router, host),
  ]
}

function interfaceFindings(router: VrrpConfig, host: HostView): Finding[] {
  const name = router.interface
  const about = (words: string) => warning(`vrrp "${router.name}": ${words}`)
  const link = findLink(name, host)
  if (link === undefined) return [about(`there is no interface ${name}: fault until there is`)]
  if (!link.up) return [about(`interface ${name} is down: fault until it is up`)]
  const virtual = new Set(virtualAddresses(router))
  const primary = primaryAddress(host.addresses, {
    ifindex: link.index,
    family: 4,
    exclude: ({ prefix }) => virtual.has(prefix.address),
  })
  const needsIpv4 = [...virtual].some((address) => familyOf(address) === 4)
  if (!needsIpv4 || primary !== undefined) return []
  return [about(`interface ${name} has no IPv4 address to send advertisements from`)]
}

/** Another program, keepalived most likely, still has one of the virtual addresses. */
function heldElsewhere(router: VrrpConfig, { addresses, links, running }: HostView): Finding[] {
  return virtualAddresses(router).flatMap((address) => {
    if (running?.activeAddresses.includes(address)) return []
    const held = addresses.find(({ prefix }) => prefix.address === address)
    if (held === undefined) return []
    const link = links.find(({ index }) => index === held.ifindex)
    const where = link?.name ?? `interface ${held.ifindex}`
    const owner = "another program holds it, or it is this host's own address"
    return [warning(`vrrp "${router.name}": ${address} is on ${where} already: ${owner}`)]
  })
}

function tunFindings(config: Config, { hasTun }: HostView): Finding[] {
  const needsTun = config.vrrp.some(({ placement }) => placement === "process")
  if (hasTun || !needsTun) return []
  return [warning('placement = "process" needs /dev/net/tun: run "modprobe tun"')]
}

function sourceFindings({ pools }: Config, { addresses }: HostView): Finding[] {
  const held = new Set(addresses.map(({ prefix }) => prefix.address))
  return pools.flatMap(({ name, source }) =>
    source
      .filter((address) => !held.has(address))
      .map((address) => warning(`pool "${name}": this host does not have the source ${address}`)),
  )
}

function listenerFindings({ admin, streams }: Config, host: HostView): Finding[] {
  const ofStreams = streams.flatMap(({ name, bind }) =>
    bind.map((endpoint) => ({ owner: `stream "${name}"`, endpoint })),
  )
  const ofAdmin = admin.listen.flatMap((listen) =>
    listen.type === "tcp" ? { owner: "[admin]", endpoint: listen.endpoint } : [],
  )
  // The running edge does not say where its admin API listens; it will be there.
  return [...ofStreams, ...(host.running === undefined ? ofAdmin : [])].flatMap(
    ({ owner, endpoint }) => {
      const text = formatEndpoint(endpoint)
      if (host.running?.binds.includes(text)) return []
      const listener = host.listenerAt(endpoint)
      if (listener === "free" || listener === "unknown") return []
      return [warning(`${owner}: ${text} is taken by ${listener}`)]
    },
  )
}

/** Root or the unit's user has them; whoever runs `check` need not. */
function capabilityFindings(config: Config, host: HostView): Finding[] {
  const ports = config.streams.flatMap(({ bind }) => bind.map(({ port }) => port))
  const hasLowPort = ports.some((port) => port < host.unprivilegedPortStart)
  const needed = [
    ...(config.vrrp.length > 0 ? ["CAP_NET_ADMIN", "CAP_NET_RAW"] : []),
    ...(hasLowPort ? ["CAP_NET_BIND_SERVICE"] : []),
  ]
  const missing = needed.filter((name) => host.missingCapabilities.includes(name))
  if (missing.length === 0) return []
  const message = `this user lacks ${missing.join(", ")}, which causeway.service grants`
  return [{ severity: "note", message }]
}

function virtualAddresses(router: VrrpConfig): Address[] {
  return [...router.addresses, ...router.unadvertisedAddresses].map(({ address }) => address)
}

function findLink(name: string, { links }: HostView): Link | undefined {
  return links.find((link) => link.name === name)
}

function warning(message: string): Finding {
  return { severity: "warning", message }
}
