/** `[[http]]`: a listener that understands HTTP, with its routes. */
import {
  type Context,
  type Decoded,
  type Decoder,
  decodeFields,
  defaultsOf,
  INVALID,
  keysOf,
  list,
  optional,
  rejectUnknownKeys,
  required,
  type TableSchema,
  table,
  tablesAt,
} from "./decode.ts"
import type {
  HttpBindConfig,
  HttpConfig,
  HttpLimits,
  HttpTimeouts,
  RouteConfig,
  TlsConfig,
} from "./http-config.ts"
import { withNames } from "./route-names.ts"
import { decodeRoute } from "./schema-route.ts"
import type { TomlTable } from "./toml.ts"
import {
  absolutePath,
  bindEndpoint,
  boolean,
  duration,
  identifier,
  integer,
  network,
  oneOf,
  optionalPath,
} from "./values.ts"
import { size } from "./values-http.ts"

export const bindSchema: TableSchema<HttpBindConfig> = {
  name: "http.bind",
  title: "an entry of bind",
  fields: {
    endpoint: required("address", bindEndpoint),
    tls: optional("tls", boolean, false),
  },
}

/** `":80"` is short for `{ address = ":80" }`. */
const bind: Decoder<HttpBindConfig> = (node, context) => {
  if (node.type === "table") return table(bindSchema)(node, context)
  const endpoint = bindEndpoint(node, context)
  return endpoint === INVALID ? INVALID : { endpoint, tls: false }
}

export const certificateSchema: TableSchema<TlsConfig["certificates"][number]> = {
  name: "http.tls.certificates",
  title: "an entry of certificates",
  fields: { cert: required("cert", absolutePath), key: required("key", absolutePath) },
}

export const tlsSchema: TableSchema<TlsConfig> = {
  name: "http.tls",
  title: "tls",
  fields: {
    // None: those of the Ingress objects are all there are, which a rule sees to.
    certificates: optional("certificates", list(table(certificateSchema), "a list of tables"), []),
    minVersion: optional("min_version", oneOf("1.2", "1.3"), "1.2"),
    redirect: optional("redirect", boolean, false),
    clientCertificates: optional(
      "client_certificates",
      oneOf("off", "optional", "required"),
      "off",
    ),
    clientCaFile: optional("client_ca_file", optionalPath, ""),
    sessionTicketKeyFile: optional("session_ticket_key_file", optionalPath, ""),
  },
}

type HttpKeys = Omit<HttpConfig, "routes" | "limits" | "timeouts"> & HttpLimits & HttpTimeouts

const networks = list(network, "a list of networks")

export const httpSchema: TableSchema<HttpKeys> = {
  name: "http",
  title: "[[http]]",
  fields: {
    name: required("name", identifier),
    bind: required("bind", list(bind, "a list of addresses")),
    tls: optional<TlsConfig | undefined>("tls", table(tlsSchema), undefined),
    ingress: optional("ingress", boolean, false),
    trustedProxies: optional("trusted_proxies", networks, []),
    acceptProxyProtocol: optional("accept_proxy_protocol", networks, []),
    allow: optional("allow", networks, []),
    deny: optional("deny", networks, []),
    maxConnections: optional("max_connections", integer(1, 1_000_000), 16_384),
    mergeSlashes: optional("merge_slashes", boolean, true),
    headBytesMax: optional("max_head", size(1024, 256 * 1024), 64 * 1024),
    fieldsMax: optional("max_fields", integer(1, 1024), 128),
    headMs: optional("head_timeout", duration(10), 10_000),
    bodyMs: optional("body_timeout", duration(10), 60_000),
    idleMs: optional("idle_timeout", duration(10), 60_000),
    firstByteMs: optional("first_byte_timeout", duration(10), 60_000),
    betweenBytesMs: optional("between_bytes_timeout", duration(10), 60_000),
    tunnelMs: optional("tunnel_timeout", duration(10), 3_600_000),
    handshakeMs: optional("handshake_timeout", duration(10), 10_000),
  },
}

export const ROUTES_KEY = "route"

/** A listener, and its routes one by one, so that the right ones can be looked at. */
export interface DecodedHttp extends Decoded<HttpConfig> {
  readonly routes: readonly Decoded<RouteConfig>[]
}

export function decodeHttp(node: TomlTable, context: Context): DecodedHttp {
  const known = [...keysOf(httpSchema.fields), ROUTES_KEY]
  rejectUnknownKeys(node, { ...httpSchema, known }, context)
  const listener = decodeFields(node, httpSchema, context)
  const decoded = tablesAt(node, ROUTES_KEY, context).map((each) => decodeRoute(each, context))
  const routes = withNames(decoded.flatMap(({ value }) => value ?? []))
  const { draft, value } = listener
  const isComplete = value !== undefined && routes.length === decoded.length
  return {
    node,
    draft: { ...draft, routes, limits: undefined, timeouts: undefined },
    value: isComplete ? { ...configOf(value), routes } : undefined,
    routes: decoded,
  }
}

function configOf(keys: HttpKeys): Omit<HttpConfig, "routes"> {
  const { name, bind, ingress, trustedProxies, acceptProxyProtocol, allow, deny } = keys
  const { headBytesMax, fieldsMax, maxConnections, mergeSlashes } = keys
  const { headMs, bodyMs, idleMs, firstByteMs, betweenBytesMs, tunnelMs, handshakeMs } = keys
  const hasTlsBind = bind.some((each) => each.tls)
  const tls = keys.tls ?? (ingress && hasTlsBind ? defaultsOf(tlsSchema) : undefined)
  return {
    ...{ name, bind, tls, ingress, trustedProxies, acceptProxyProtocol, allow, deny },
    ...{ maxConnections, mergeSlashes },
    limits: { headBytesMax, fieldsMax },
    timeouts: { headMs, bodyMs, idleMs, firstByteMs, betweenBytesMs, tunnelMs, handshakeMs },
  }
}
