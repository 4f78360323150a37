/** `[[vrrp]]`: one virtual router (RFC 9568, RFC 3768). */
import type { TrackConfig, VrrpConfig } from "./config.ts"
import {
  type Decoder,
  decodeTable,
  defaultsOf,
  INVALID,
  isTable,
  list,
  optional,
  required,
  scalar,
  type TableSchema,
  table,
} from "./decode.ts"
import { readSecret } from "./named-file.ts"
import { locate } from "./toml.ts"
import {
  absolutePath,
  address,
  addressWithPrefix,
  boolean,
  duration,
  identifier,
  integer,
  interfaceName,
  oneOf,
  optionalPath,
  text,
  textOf,
} from "./values.ts"

export const announceSchema: TableSchema<VrrpConfig["announce"]> = {
  name: "vrrp.announce",
  title: "announce",
  fields: {
    count: optional("count", integer(1, 100), 5),
    delayMs: optional("delay", duration(0), 5000),
    refreshMs: optional("refresh", duration(0), 60_000),
  },
}

interface TrackKeys {
  readonly check: string | undefined
  readonly interface: string | undefined
  readonly pool: string | undefined
  readonly weight: number | undefined
}

export const trackSchema: TableSchema<TrackKeys> = {
  name: "vrrp.track",
  title: "an entry of track",
  fields: {
    check: optional<string | undefined>("check", identifier, undefined),
    interface: optional<string | undefined>("interface", interfaceName, undefined),
    pool: optional<string | undefined>("pool", identifier, undefined),
    weight: optional<number | undefined>("weight", integer(-253, 253), undefined),
  },
}

const track: Decoder<TrackConfig> = (node, context) => {
  if (!isTable(node, context)) return INVALID
  const { draft, value } = decodeTable(node, trackSchema, context)
  if (value === undefined) return INVALID
  const types = (["check", "interface", "pool"] as const).filter(
    (type) => draft[type] !== undefined,
  )
  const [type, another] = types
  if (type !== undefined && another === undefined) {
    return { type, target: draft[type] ?? "", weight: value.weight }
  }
  const message = "An entry of track must name one check, interface or pool"
  context.report.error(node, message, 'Write { check = "name" } and one entry for each')
  return INVALID
}

/** The kernel counts address lifetimes in whole seconds; with 1 s a refresh could come too late. */
const lease: Decoder<number | "auto"> = (node, context) => {
  if (textOf(node) === "auto") return "auto"
  if (textOf(node) === "0s") return 0
  const leaseMs = duration(2000, 86_400_000)(node, context)
  if (leaseMs === INVALID || leaseMs % 1000 === 0) return leaseMs
  context.report.error(node, "lease must be whole seconds", 'Write "auto", or "0s" for permanent')
  return INVALID
}

interface AuthenticationKeys {
  readonly type: "pass"
  readonly password: string | undefined
  readonly passwordFile: string | undefined
}

export const authenticationSchema: TableSchema<AuthenticationKeys> = {
  name: "vrrp.authentication",
  title: "authentication",
  fields: {
    type: required("type", oneOf("pass")),
    password: optional<string | undefined>("password", text, undefined),
    passwordFile: optional<string | undefined>("password_file", absolutePath, undefined),
  },
}

/** RFC 2338 §5.3.6: eight bytes, padded with zeros; keepalived cuts a longer one silently. */
const authentication: Decoder<{ type: "pass"; password: string }> = (node, context) => {
  if (!isTable(node, context)) return INVALID
  const keys = decodeTable(node, authenticationSchema, context).value
  if (keys === undefined) return INVALID
  if ((keys.password === undefined) === (keys.passwordFile === undefined)) {
    const message = "authentication needs either password or password_file"
    context.report.error(node, message, 'Write { type = "pass", password = "…" }')
    return INVALID
  }
  const at = locate(node, keys.password === undefined ? "password_file" : "password")
  const password = keys.password ?? readSecret(at, keys.passwordFile ?? "", context)
  if (password === INVALID) return INVALID
  const bytes = Buffer.byteLength(password)
  if (bytes >= 1 && bytes <= 8) return { type: "pass", password }
  const message = `The password must be 1 to 8 bytes long, not ${bytes}`
  context.report.error(at, message, "keepalived uses only the first 8 bytes of a longer one")
  return INVALID
}

const version: Decoder<2 | 3> = scalar(
  "2 or 3",
  (node) =>
    node.type === "integer" ? ([2, 3] as const).find((v) => BigInt(v) === node.value) : undefined,
  (node) => (/^[23]$/.test(textOf(node) ?? "") ? "Write it without quotes" : ""),
)

const groupName: Decoder<string> = (node, context) =>
  textOf(node) === "" ? "" : identifier(node, context)

const addresses = list(addressWithPrefix, "a list of addresses")

export const vrrpSchema: TableSchema<VrrpConfig> = {
  name: "vrrp",
  title: "[[vrrp]]",
  fields: {
    name: required("name", identifier),
    interface: required("interface", interfaceName),
    virtualRouterId: required("virtual_router_id", integer(1, 255)),
    priority: optional("priority", integer(1, 255), 100),
    version: optional("version", version, 3),
    advertisementIntervalMs: optional("advertisement_interval", duration(10, 255_000), 1000),
    preempt: optional("preempt", boolean, true),
    preemptDelayMs: optional("preempt_delay", duration(0, 1_000_000), 0),
    unicastPeers: optional("unicast_peers", list(address, "a list of addresses"), []),
    authentication: optional<VrrpConfig["authentication"]>(
      "authentication",
      authentication,
      undefined,
    ),
    virtualMac: optional("virtual_mac", boolean, false),
    addresses: required("addresses", addresses),
    unadvertisedAddresses: optional("unadvertised_addresses", addresses, []),
    placement: optional("placement", oneOf("process", "interface"), "process"),
    leaseMs: optional<number | "auto">("lease", lease, "auto"),
    track: optional("track", list(track, "a list of tables"), []),
    syncGroup: optional("sync_group", groupName, ""),
    announce: optional("announce", table(announceSchema), defaultsOf(announceSchema)),
    notify: optional("notify", optionalPath, ""),
  },
}
