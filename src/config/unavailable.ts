/**
 * Keys and values that the design names and this version does not have yet. They are known, so they
 * get a plain answer instead of "unknown key"; a value that asks for nothing is accepted silently.
 *
 * To make one available, delete its line (and see that `schema.ts` has a field for it).
 */
import type { TomlNode } from "./toml.ts"

interface Unavailable {
  readonly refuses: (node: TomlNode) => boolean
  /** What to do in this version. */
  readonly instead: string
}

/** By table and key, the tables named as in `schema.ts`. */
const UNAVAILABLE: Readonly<Record<string, Unavailable>> = {
  "vrrp.unicast_peers": unless([], "Remove it; adverts go to the multicast group"),
  "vrrp.virtual_mac": unless(false, "Remove it; peers learn the move by gratuitous ARP"),
  "check.type": when(laterCheckTypes(), 'Use type = "tcp", "http", "mysql" or "command"'),
  "pool.check.type": when(laterCheckTypes(), 'Use type = "tcp", "http", "mysql" or "command"'),
  "pool.balance": when(["maglev", "random"], 'Use "source" or "least_conn"'),
  "stream.protocol": unless("tcp", 'Only "tcp" is available'),
  "stream.mode": unless("proxy", 'Only "proxy" is available'),
  "stream.transparent": unless(false, "Remove it; servers see the edge's address"),
  "stream.sni": always("Use one stream for each name, on an address of its own"),
}

/** Undefined: `key` of `table` is available, or unknown altogether. */
export function unavailable(table: string, key: string): Unavailable | undefined {
  const name = table === "" ? key : `${table}.${key}`
  return Object.hasOwn(UNAVAILABLE, name) ? UNAVAILABLE[name] : undefined
}

export function unavailableMessage(what: string): string {
  return `${what} is not available in this version yet`
}

function always(instead: string): Unavailable {
  return { refuses: () => true, instead }
}

function when(values: readonly string[], instead: string): Unavailable {
  return { refuses: (node) => node.type === "string" && values.includes(node.value), instead }
}

function unless(harmless: string | false | readonly never[], instead: string): Unavailable {
  return { refuses: (node) => !isHarmless(node, harmless), instead }
}

function isHarmless(node: TomlNode, harmless: string | false | readonly never[]): boolean {
  if (node.type === "string" || node.type === "boolean") return node.value === harmless
  return node.type === "array" && node.items.length === 0 && Array.isArray(harmless)
}

function laterCheckTypes(): readonly string[] {
  return ["tls", "postgres", "redis", "dns", "grpc", "agent"]
}
