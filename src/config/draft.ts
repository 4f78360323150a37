/** The document as far as it could be read: what the rules look at, and what becomes a `Config`. */
import { strict as assert } from "node:assert"
import type {
  AddressPoolConfig,
  AdminConfig,
  Config,
  KubernetesConfig,
  LogConfig,
  NamedCheckConfig,
  NodeConfig,
  PoolConfig,
  PublishConfig,
  StreamConfig,
  VrrpConfig,
} from "./config.ts"
import {
  type Context,
  type Decoded,
  decodeTable,
  list,
  rejectUnknownKeys,
  tableAt,
  tablesAt,
} from "./decode.ts"
import { ROOT_KEYS } from "./known-keys.ts"
import { publishEndpoints } from "./publish-endpoints.ts"
import { adminSchema, logSchema, nodeSchema, poolSchema, streamSchema } from "./schema.ts"
import { decodeNamedCheck } from "./schema-check.ts"
import { type DecodedHttp, decodeHttp } from "./schema-http.ts"
import {
  addressPoolSchema,
  kubernetesSchema,
  type PublishKeys,
  publishSchema,
} from "./schema-kubernetes.ts"
import { vrrpSchema } from "./schema-vrrp.ts"
import type { TomlTable } from "./toml.ts"
import { text } from "./values.ts"

export interface Draft {
  readonly node: Decoded<NodeConfig>
  readonly admin: Decoded<AdminConfig>
  readonly log: Decoded<LogConfig>
  readonly vrrp: readonly Decoded<VrrpConfig>[]
  readonly checks: readonly Decoded<NamedCheckConfig>[]
  readonly pools: readonly Decoded<PoolConfig>[]
  readonly streams: readonly Decoded<StreamConfig>[]
  readonly http: readonly DecodedHttp[]
  /** Undefined: there is no such table. */
  readonly kubernetes: Decoded<KubernetesConfig> | undefined
  readonly addressPools: readonly Decoded<AddressPoolConfig>[]
  readonly publish: readonly Decoded<PublishKeys>[]
}

export function decodeDocument(root: TomlTable, context: Context): Draft {
  rejectUnknownKeys(root, { name: "", title: "the file", known: ROOT_KEYS }, context)
  const include = root.entries.get("include")
  if (include !== undefined) list(text, "a list of files")(include, context)
  const tables = (key: string) => tablesAt(root, key, context)
  const kubernetes = root.entries.has("kubernetes")
    ? decodeTable(tableAt(root, "kubernetes", context), kubernetesSchema, context)
    : undefined
  return {
    node: decodeTable(tableAt(root, "node", context), nodeSchema, context),
    admin: decodeTable(tableAt(root, "admin", context), adminSchema, context),
    log: decodeTable(tableAt(root, "log", context), logSchema, context),
    vrrp: tables("vrrp").map((table) => decodeTable(table, vrrpSchema, context)),
    checks: tables("check").map((table) => decodeNamedCheck(table, context)),
    pools: tables("pool").map((table) => decodeTable(table, poolSchema, context)),
    streams: tables("stream").map((table) => decodeTable(table, streamSchema, context)),
    http: tables("http").map((table) => decodeHttp(table, context)),
    kubernetes,
    addressPools: tables("address_pool").map((table) => {
      return decodeTable(table, addressPoolSchema, context)
    }),
    publish: tables("publish").map((table) => decodeTable(table, publishSchema, context)),
  }
}

/** Only for a draft without errors: then every value is there. */
export function completeConfig(draft: Draft, { hostName }: { hostName: string }): Config {
  const node = complete(draft.node)
  const vrrp = draft.vrrp.map(complete)
  const streams = draft.streams.map(complete)
  return {
    node: { ...node, name: node.name || hostName },
    admin: complete(draft.admin),
    log: complete(draft.log),
    vrrp,
    checks: draft.checks.map(complete),
    pools: draft.pools.map(complete),
    streams,
    http: draft.http.map(complete),
    kubernetes: draft.kubernetes && complete(draft.kubernetes),
    addressPools: draft.addressPools.map(complete),
    publish: draft.publish.map((each) => completePublish(complete(each), { streams, vrrp })),
  }
}

/** It stands in the file as the name of a stream; where that is reached is worked out here. */
function completePublish(
  keys: PublishKeys,
  { streams, vrrp }: Pick<Config, "streams" | "vrrp">,
): PublishConfig {
  const stream = streams.find(({ name }) => name === keys.stream)
  assert(stream !== undefined, "An unknown stream must have been reported")
  return { ...keys, endpoints: publishEndpoints(stream.bind, vrrp), pool: stream.pool }
}

function complete<T>({ value }: Decoded<T>): T {
  assert(value !== undefined, "An incomplete table must have been reported")
  return value
}
