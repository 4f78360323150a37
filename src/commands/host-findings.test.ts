import { describe, expect, test } from "bun:test"
import type { Config, VrrpConfig } from "../config/config.ts"
import { parseConfig } from "../config/load.ts"
import type { InterfaceAddress } from "../linux/address-message.ts"
import type { Link } from "../linux/link-message.ts"
import { type Address, parsePrefix } from "../net/address.ts"
import { type HostView, hostFindings } from "./host-findings.ts"

const CONFIG = `
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
addresses = ["192.0.2.40"]
track = [{ interface = "eth1" }]

[[pool]]
name = "db"
servers = ["192.0.2.11:3306"]
source = ["192.0.2.9"]

[[stream]]
name = "db"
bind = ["192.0.2.40:3306", "192.0.2.40:443"]
pool = "db"
`

const FITTING: HostView = {
  links: [link(2, "eth0"), link(3, "eth1")],
  addresses: [address(2, "192.0.2.9/24")],
  hasTun: true,
  missingCapabilities: [],
  unprivilegedPortStart: 1024,
  running: undefined,
  listenerAt: () => "free",
}

function found(view: Partial<HostView>): string[] {
  return hostFindings(config(), { ...FITTING, ...view }).map(
    ({ severity, message }) => `${severity}: ${message}`,
  )
}

describe("hostFindings()", () => {
  test("finds nothing where everything fits", () => expect(found({})).toEqual([]))

  test("names an interface that is missing, and one to track", () => {
    expect(found({ links: [] })).toEqual([
      'warning: vrrp "edge": there is no interface eth0: fault until there is',
      'warning: vrrp "edge": there is no interface eth1 to track',
    ])
  })

  test("names an interface that is down", () => {
    const links = [{ ...link(2, "eth0"), up: false }, link(3, "eth1")]
    expect(found({ links })).toEqual([
      'warning: vrrp "edge": interface eth0 is down: fault until it is up',
    ])
  })

  test("wants an IPv4 address besides the virtual one", () => {
    const addresses = [address(2, "192.0.2.40/32"), address(3, "192.0.2.9/24")]
    expect(found({ addresses })).toEqual([
      'warning: vrrp "edge": interface eth0 has no IPv4 address to send advertisements from',
      'warning: vrrp "edge": 192.0.2.40 is on eth0 already: another program holds it, or it is ' +
        "this host's own address",
    ])
  })

  test("does not mind a virtual address that the running edge holds", () => {
    const addresses = [...FITTING.addresses, address(7, "192.0.2.40/32")]
    const running = { binds: [], activeAddresses: ["192.0.2.40" as Address] }
    expect(found({ addresses, running })).toEqual([])
    expect(found({ addresses })).toHaveLength(1)
  })

  test("names what listens on a port already", () => {
    const listenerAt: HostView["listenerAt"] = ({ port }) => {
      return { 3306: "mariadbd (pid 812)", 443: "unknown", 9180: "nginx (pid 7)" }[port] ?? "free"
    }
    expect(found({ listenerAt })).toEqual([
      'warning: stream "db": 192.0.2.40:3306 is taken by mariadbd (pid 812)',
      "warning: [admin]: 127.0.0.1:9180 is taken by nginx (pid 7)",
    ])
    const running = { binds: ["192.0.2.40:3306"], activeAddresses: [] }
    expect(found({ listenerAt, running })).toEqual([])
  })

  test("names a source address that the host does not have", () => {
    expect(found({ addresses: [address(2, "192.0.2.8/24")] })).toEqual([
      'warning: pool "db": this host does not have the source 192.0.2.9',
    ])
  })

  test("says how to get the tun device", () => {
    expect(found({ hasTun: false })).toEqual([
      'warning: placement = "process" needs /dev/net/tun: run "modprobe tun"',
    ])
  })

  test("notes the capabilities that this user lacks and the unit grants", () => {
    const missingCapabilities = ["CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_NET_RAW"]
    expect(found({ missingCapabilities })).toEqual([
      "note: this user lacks CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, " +
        "which causeway.service grants",
    ])
    expect(found({ missingCapabilities, unprivilegedPortStart: 0 })).toEqual([
      "note: this user lacks CAP_NET_ADMIN, CAP_NET_RAW, which causeway.service grants",
    ])
  })
})

function config(): Config {
  const files = {
    read: () => ({ ok: false, reason: "no such file" }) as const,
    find: () => ({ ok: true, value: [] }) as const,
    mode: () => ({ ok: false, reason: "no such file" }) as const,
  }
  const loaded = parseConfig([{ path: "causeway.toml", text: CONFIG }], { files, hostName: "a" })
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.diagnostics))
  return loaded.config
}

function link(index: number, name: VrrpConfig["interface"]): Link {
  return {
    index,
    name,
    mac: undefined,
    mtu: 1500,
    kind: undefined,
    master: undefined,
    up: true,
    running: true,
    carrier: true,
    loopback: false,
    noArp: false,
  }
}

function address(ifindex: number, text: string): InterfaceAddress {
  const prefix = parsePrefix(text)
  if (prefix === undefined) throw new Error(text)
  return {
    ifindex,
    prefix,
    peer: undefined,
    scope: 0,
    label: undefined,
    validLifetimeS: Number.POSITIVE_INFINITY,
    preferredLifetimeS: Number.POSITIVE_INFINITY,
    protocol: 0,
    secondary: false,
    deprecated: false,
    tentative: false,
    dadFailed: false,
    permanent: true,
    noPrefixRoute: false,
    noDad: false,
  }
}
