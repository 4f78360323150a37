/**
 * Network interfaces on the wire: RTM_NEWLINK and its siblings (linux/if_link.h). Pure.
 */
import { type Mac, macFromBytes } from "../net/mac.ts"
import { IFINFOMSG, LITTLE_ENDIAN } from "./layouts.ts"
import {
  type Attribute,
  type AttributeMap,
  encodeBody,
  malformed,
  nested,
  type Parsed,
  parseAttributes,
  parseBody,
  textOf,
  textValue,
  u8Value,
  u32Of,
  u32Value,
  viewOf,
} from "./netlink.ts"

export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
export const RTM_GETLINK = 18

const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_MASTER = 10
const IFLA_LINKINFO = 18
const IFLA_AF_SPEC = 26
const IFLA_EXT_MASK = 29
const IFLA_ALT_IFNAME = 53
const IFLA_INFO_KIND = 1
const IFLA_INET6_ADDR_GEN_MODE = 8
/** linux/if_link.h, and the settings inside it by linux/ip.h. */
const IFLA_INET_CONF = 1
const IPV4_DEVCONF_PROMOTE_SECONDARIES = 20
const IN6_ADDR_GEN_MODE_NONE = 1
/** Leave the counters out of the answer. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3

const IFF_UP = 0x1
const IFF_LOOPBACK = 0x8
const IFF_RUNNING = 0x40
const IFF_NOARP = 0x80
const IFF_LOWER_UP = 0x10000

const AF_INET = 2
const AF_INET6 = 10
/** IFNAMSIZ with its NUL; longer names are alternative names. */
const IFNAMSIZ = 16
/** ALTIFNAMSIZ without its NUL: no interface has a longer name. */
export const LINK_NAME_BYTES_MAX = 127
const MAC_BYTES = 6

/** What names an interface to the kernel (`index`) and to people (`name`). */
export interface LinkRef {
  readonly index: number
  readonly name: string
}

export interface Link extends LinkRef {
  /** Absent where the link has none, such as a tun device. */
  readonly mac: Mac | undefined
  /** Bytes. */
  readonly mtu: number
  /** "tun", "veth", "bridge", "macvlan" …; undefined for hardware. */
  readonly kind: string | undefined
  /** Index of the bridge or bond it is enslaved to. */
  readonly master: number | undefined
  /** Administratively up (IFF_UP). */
  readonly up: boolean
  /** Up and able to pass packets (IFF_RUNNING): what VRRP calls an available interface. */
  readonly running: boolean
  /** The cable or its like is there (IFF_LOWER_UP). */
  readonly carrier: boolean
  readonly loopback: boolean
  /** Does without ARP (IFF_NOARP). */
  readonly noArp: boolean
}

/** Asks for one link by its name or alternative name. */
export function encodeLinkByName(name: string): Uint8Array {
  const nameType = Buffer.byteLength(name) < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME
  return encodeBody(ifinfomsg({ index: 0 }), [
    [IFLA_EXT_MASK, u32Value(RTEXT_FILTER_SKIP_STATS)],
    [nameType, textValue(name)],
  ])
}

/** Asks for one link, or with index 0 for all. */
export function encodeLinkByIndex(index: number): Uint8Array {
  const attributes: Attribute[] = [[IFLA_EXT_MASK, u32Value(RTEXT_FILTER_SKIP_STATS)]]
  return encodeBody(ifinfomsg({ index }), attributes)
}

export interface LinkChange {
  readonly up?: boolean
  /** Bytes. */
  readonly mtu?: number
  /** "none": the kernel makes no link-local address when the link comes up. */
  readonly ipv6AddressGeneration?: "none"
  /**
   * IPv4: what happens to the secondary addresses of a subnet when its primary one goes: one of
   * them becomes primary, or all go with it. (The sysctl promote_secondaries, which for `all` also
   * rules; set through netlink, because /proc/sys may be read-only.)
   */
  readonly promoteSecondaries?: boolean
}

export function encodeLinkChange(index: number, change: LinkChange): Uint8Array {
  const attributes: Attribute[] = []
  if (change.mtu !== undefined) attributes.push([IFLA_MTU, u32Value(change.mtu)])
  const families = familyChanges(change)
  if (families.length > 0) attributes.push(nested(IFLA_AF_SPEC, families))
  const { up } = change
  return encodeBody(ifinfomsg(up === undefined ? { index } : { index, up }), attributes)
}

function familyChanges({ ipv6AddressGeneration, promoteSecondaries }: LinkChange): Attribute[] {
  const families: Attribute[] = []
  if (ipv6AddressGeneration === "none") {
    const mode: Attribute = [IFLA_INET6_ADDR_GEN_MODE, u8Value(IN6_ADDR_GEN_MODE_NONE)]
    families.push(nested(AF_INET6, [mode]))
  }
  if (promoteSecondaries !== undefined) {
    const value = u32Value(promoteSecondaries ? 1 : 0)
    const setting: Attribute = [IPV4_DEVCONF_PROMOTE_SECONDARIES, value]
    families.push(nested(AF_INET, [nested(IFLA_INET_CONF, [setting])]))
  }
  return families
}

/** Undefined for what is not about the link itself: bridges report their ports as AF_BRIDGE. */
export function parseLink(body: Uint8Array): Parsed<Link | undefined> {
  const attributes = parseBody(body, IFINFOMSG.size)
  if (!attributes.ok) return attributes
  if (body[IFINFOMSG.family] !== 0) return { ok: true, value: undefined }
  const name = textOf(attributes.value, IFLA_IFNAME)
  const kind = parseKind(attributes.value)
  if (!kind.ok) return kind
  if (name === undefined) return malformed("attribute of the wrong size")
  const view = viewOf(body)
  const flags = view.getUint32(IFINFOMSG.flags, LITTLE_ENDIAN)
  return {
    ok: true,
    value: {
      index: view.getInt32(IFINFOMSG.index, LITTLE_ENDIAN),
      name,
      mac: macOf(attributes.value),
      mtu: u32Of(attributes.value, IFLA_MTU) ?? 0,
      kind: kind.value,
      master: u32Of(attributes.value, IFLA_MASTER),
      up: (flags & IFF_UP) !== 0,
      running: (flags & IFF_RUNNING) !== 0,
      carrier: (flags & IFF_LOWER_UP) !== 0,
      loopback: (flags & IFF_LOOPBACK) !== 0,
      noArp: (flags & IFF_NOARP) !== 0,
    },
  }
}

function macOf(attributes: AttributeMap): Mac | undefined {
  const bytes = attributes.get(IFLA_ADDRESS)
  return bytes?.length === MAC_BYTES ? macFromBytes(bytes) : undefined
}

function parseKind(attributes: AttributeMap): Parsed<string | undefined> {
  const info = attributes.get(IFLA_LINKINFO)
  if (info === undefined) return { ok: true, value: undefined }
  const inner = parseAttributes(info)
  return inner.ok ? { ok: true, value: textOf(inner.value, IFLA_INFO_KIND) } : inner
}

function ifinfomsg({ index, up }: { index: number; up?: boolean }): Uint8Array {
  const header = new Uint8Array(IFINFOMSG.size)
  const view = viewOf(header)
  view.setInt32(IFINFOMSG.index, index, LITTLE_ENDIAN)
  if (up !== undefined) {
    view.setUint32(IFINFOMSG.flags, up ? IFF_UP : 0, LITTLE_ENDIAN)
    view.setUint32(IFINFOMSG.change, IFF_UP, LITTLE_ENDIAN)
  }
  return header
}
