/**
 * Every table and key of the TOML file, with its type and its default. The names, units and reasons
 * are documented for users in `config/reference.toml`, which a test compares with this file.
 *
 * Single values are judged here; what depends on another key or table is in the `rules-*.ts` files.
 */
import { type Address, formatEndpoint } from "../net/address.ts"
import type {
  AdminConfig,
  AdminListen,
  LogConfig,
  NodeConfig,
  PoolConfig,
  PoolTlsConfig,
  ServerConfig,
  StreamConfig,
} from "./config.ts"
import {
  type Context,
  type Decoder,
  decodeTable,
  defaultsOf,
  INVALID,
  list,
  optional,
  required,
  scalar,
  type TableSchema,
  table,
} from "./decode.ts"
import { poolCheck } from "./schema-check.ts"
import { poolKubernetesSchema } from "./schema-kubernetes.ts"
import type { TomlNode } from "./toml.ts"
import {
  address,
  bindEndpoint,
  boolean,
  duration,
  endpoint,
  identifier,
  integer,
  matching,
  network,
  oneOf,
  optionalPath,
  serverName,
  textOf,
} from "./values.ts"

/** A million connections is two million file descriptors, more than one process is given. */
const CONNECTIONS_MAX = 1_000_000

/** Empty: the host name, filled in by `load.ts`. */
const nodeName = scalar("a name without blanks", (node) => matching(node, /^[^\s\p{C}]{0,253}$/u))

export const nodeSchema: TableSchema<NodeConfig> = {
  name: "node",
  title: "[node]",
  fields: {
    name: optional("name", nodeName, ""),
    threads: optional("threads", integer(0, 256), 0),
    drainTimeoutMs: optional("drain_timeout", duration(0), 30_000),
    stateDir: optional("state_dir", optionalPath, ""),
  },
}

/** A socket path is at most 107 bytes (sun_path of unix(7), with its final NUL). */
const adminListen: Decoder<AdminListen> = (node, context) => {
  const value = textOf(node) ?? ""
  if (!value.startsWith("unix:")) {
    const bound = bindEndpoint(node, context)
    return bound === INVALID ? INVALID : { type: "tcp", endpoint: bound }
  }
  const path = value.slice("unix:".length)
  const valid = path.startsWith("/") && !path.includes("\0") && Buffer.byteLength(path) <= 107
  if (valid) return { type: "unix", path }
  const message = "A socket path must be absolute and at most 107 bytes long"
  context.report.error(node, message, 'Write "unix:/run/causeway/admin.sock"')
  return INVALID
}

export const adminSchema: TableSchema<AdminConfig> = {
  name: "admin",
  title: "[admin]",
  fields: {
    listen: optional("listen", list(adminListen, "a list of addresses"), [
      { type: "unix", path: "/run/causeway/admin.sock" },
      { type: "tcp", endpoint: { address: "127.0.0.1" as Address, port: 9180 } },
    ]),
    tokenFile: optional("token_file", optionalPath, ""),
  },
}

const accessLog: Decoder<string> = (node, context) =>
  textOf(node) === "stdout" ? "stdout" : optionalPath(node, context)

export const logSchema: TableSchema<LogConfig> = {
  name: "log",
  title: "[log]",
  fields: {
    level: optional("level", oneOf("debug", "info", "warn", "error"), "info"),
    format: optional("format", oneOf("text", "json"), "text"),
    access: optional("access", accessLog, ""),
  },
}

interface ServerKeys extends Omit<ServerConfig, "name"> {
  readonly name: string | undefined
}

export const serverSchema: TableSchema<ServerKeys> = {
  name: "pool.servers",
  title: "an entry of servers",
  fields: {
    name: optional<string | undefined>("name", serverName, undefined),
    endpoint: required("address", endpoint),
    weight: optional("weight", integer(0, 256), 1),
    backup: optional("backup", boolean, false),
    maxConnections: optional("max_connections", integer(0, CONNECTIONS_MAX), 0),
  },
}

/** `"192.0.2.11:3306"` is short for `{ address = "192.0.2.11:3306" }`. */
const server: Decoder<ServerConfig> = (node, context) => {
  const keys =
    node.type === "table"
      ? decodeTable(node, serverSchema, context).value
      : bareServer(node, context)
  if (keys === undefined) return INVALID
  return { ...keys, name: keys.name ?? formatEndpoint(keys.endpoint) }
}

function bareServer(node: TomlNode, context: Context): ServerKeys | undefined {
  const parsed = endpoint(node, context)
  return parsed === INVALID ? undefined : { ...defaultsOf(serverSchema), endpoint: parsed }
}

/** RFC 6066 §3: a host name, at most 255 bytes; or an address. */
const tlsName = scalar("a host name or an address", (node) =>
  matching(node, /^[A-Za-z0-9_.:-]{0,253}$/),
)

/** PEM texts come from a cluster, never from the file. */
type PoolTlsKeys = Omit<PoolTlsConfig, "caPem" | "certPem" | "keyPem">

export const poolTlsSchema: TableSchema<PoolTlsKeys> = {
  name: "pool.tls",
  title: "[pool.tls]",
  fields: {
    verify: optional("verify", boolean, true),
    caFile: optional("ca_file", optionalPath, ""),
    serverName: optional("server_name", tlsName, ""),
    cert: optional("cert", optionalPath, ""),
    key: optional("key", optionalPath, ""),
    minVersion: optional("min_version", oneOf("1.2", "1.3"), "1.2"),
  },
}

const poolTls: Decoder<PoolTlsConfig> = (node, context) => {
  const keys = table(poolTlsSchema)(node, context)
  return keys === INVALID ? INVALID : { ...keys, caPem: "", certPem: "", keyPem: "" }
}

export const poolSchema: TableSchema<PoolConfig> = {
  name: "pool",
  title: "[[pool]]",
  fields: {
    name: required("name", identifier),
    balance: optional(
      "balance",
      oneOf("round_robin", "least_conn", "source", "first"),
      "round_robin",
    ),
    servers: optional("servers", list(server, "a list of servers"), []),
    maxFails: optional("max_fails", integer(0, 1000), 2),
    failTimeoutMs: optional("fail_timeout", duration(10), 30_000),
    connectTimeoutMs: optional("connect_timeout", duration(1), 1000),
    connectRetries: optional("connect_retries", integer(0, 100), 1),
    source: optional("source", list(address, "a list of addresses"), []),
    slowStartMs: optional("slow_start", duration(0), 0),
    onDown: optional("on_down", oneOf("keep", "close"), "keep"),
    check: optional<PoolConfig["check"]>("check", poolCheck, undefined),
    tls: optional<PoolTlsConfig | undefined>("tls", poolTls, undefined),
    kubernetes: optional<PoolConfig["kubernetes"]>(
      "kubernetes",
      table(poolKubernetesSchema),
      undefined,
    ),
    proxyProtocol: optional("proxy_protocol", oneOf("off", "v1", "v2"), "off"),
  },
}

export const streamSchema: TableSchema<StreamConfig> = {
  name: "stream",
  title: "[[stream]]",
  fields: {
    name: required("name", identifier),
    bind: required("bind", list(bindEndpoint, "a list of addresses")),
    pool: required("pool", identifier),
    idleTimeoutMs: optional("idle_timeout", duration(10), 600_000),
    maxConnections: optional("max_connections", integer(1, CONNECTIONS_MAX), 16_384),
    acceptProxyProtocol: optional("accept_proxy_protocol", list(network, "a list of networks"), []),
    allow: optional("allow", list(network, "a list of networks"), []),
    deny: optional("deny", list(network, "a list of networks"), []),
  },
}
