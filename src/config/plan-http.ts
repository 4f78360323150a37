/** What `causeway check` says of an HTTP listener: its addresses, limits, and the route table. */
import { formatPrefix, type Prefix } from "../net/address.ts"
import type {
  FieldCondition,
  HttpBindConfig,
  HttpConfig,
  RouteConfig,
  TlsConfig,
} from "./http-config.ts"
import { inOrder } from "./route-order.ts"
import { formatDuration, formatSize } from "./units.ts"
import { formatBind } from "./values.ts"

/** `owner` names the virtual router that carries an address, such as " (vrrp edge)". */
export function formatHttp(
  http: HttpConfig,
  owner: (bind: HttpBindConfig["endpoint"]) => string,
): string[] {
  const bind = http.bind.map(({ endpoint, tls }) => {
    return `${formatBind(endpoint)}${tls ? " with TLS" : ""}${owner(endpoint)}`
  })
  const details = [
    `at most ${http.maxConnections} connections, closed when idle for ` +
      formatDuration(http.timeouts.idleMs),
    ...(http.tls === undefined ? [] : [formatTls(http.tls)]),
    ...networks("believes forwarding headers from", http.trustedProxies),
    ...networks("takes the PROXY protocol from", http.acceptProxyProtocol),
    ...networks("allows", http.allow),
    ...networks("denies", http.deny),
    ...formatRoutes(http.routes),
    ...(http.ingress ? ["and the Ingress objects of [kubernetes]"] : []),
  ]
  return [`http ${http.name}: ${bind.join(", ")}`, ...details.map((line) => `    ${line}`)]
}

/** The route table in the order in which routes are tried; below a route how it treats requests. */
function formatRoutes(routes: readonly RouteConfig[]): string[] {
  const ordered = inOrder(routes)
  const rows = ordered.map((route) => [
    route.host === "" ? "any host" : route.host,
    formatPath(route),
    conditionsOf(route).join(", "),
  ])
  const widths = [0, 1, 2].map((column) =>
    rows.reduce((most, row) => Math.max(most, (row[column] ?? "").length), 0),
  )
  return ordered.flatMap((route, index) => {
    const cells = (rows[index] ?? []).map((cell, column) => cell.padEnd(widths[column] ?? 0))
    const shown = cells.filter((cell) => cell !== "")
    const policies = policiesOf(route)
    return [
      `${shown.join("  ")}  → ${formatAction(route)}`,
      ...(policies.length === 0 ? [] : [`    ${policies.join("; ")}`]),
    ]
  })
}

/** As data, in the snake_case of the admin API; what users and servers keep secret is left out. */
export function httpJson(http: HttpConfig) {
  const { tls } = http
  return {
    name: http.name,
    bind: http.bind.map(({ endpoint, tls }) => ({ address: formatBind(endpoint), tls })),
    max_connections: http.maxConnections,
    tls:
      tls === undefined
        ? null
        : {
            certificates: tls.certificates.map(({ cert }) => cert),
            min_version: tls.minVersion,
            redirect: tls.redirect,
            client_certificates: tls.clientCertificates,
          },
    ingress: http.ingress,
    trusted_proxies: http.trustedProxies.map(formatPrefix),
    accept_proxy_protocol: http.acceptProxyProtocol.map(formatPrefix),
    allow: http.allow.map(formatPrefix),
    deny: http.deny.map(formatPrefix),
    routes: inOrder(http.routes).map(routeJson),
  }
}

function routeJson(route: RouteConfig) {
  return {
    name: route.name,
    host: route.host,
    path: route.path,
    match: route.match,
    conditions: conditionsOf(route),
    action: formatAction(route),
    policies: policiesOf(route),
  }
}

function formatPath({ path, match }: RouteConfig): string {
  if (match === "exact") return `= ${path}`
  return match === "regex" ? `~ ${path}` : path
}

function conditionsOf({ methods, headers, query }: RouteConfig): string[] {
  return [
    ...(methods.length === 0 ? [] : [methods.join(" ")]),
    ...headers.map((each) => formatCondition("header", each)),
    ...query.map((each) => formatCondition("query", each)),
  ]
}

function formatCondition(kind: string, { name, value }: FieldCondition): string {
  if (typeof value === "string") return `${kind} ${name}=${value}`
  if (typeof value === "object") return `${kind} ${name}~${value.pattern}`
  return value ? `${kind} ${name}` : `no ${kind} ${name}`
}

function formatAction({ action, rewrite }: RouteConfig): string {
  const rewritten = rewrite === undefined ? "" : ` as ${rewrite}`
  switch (action.type) {
    case "pool":
      return `pool ${action.pool}${rewritten}`
    case "split": {
      const targets = action.targets.map(({ pool, weight, header, cookie }) => {
        const conditions = [
          ...(header === undefined ? [] : [formatCondition("header", header)]),
          ...(cookie === undefined ? [] : [formatCondition("cookie", cookie)]),
        ]
        return [pool, weight, ...conditions].join(" ")
      })
      return `split ${targets.join(", ")}${rewritten}`
    }
    case "redirect": {
      const { scheme, host, port, path, status } = action.redirect
      const url = `${scheme === undefined ? "" : `${scheme}://`}${host ?? ""}`
      return `redirect ${status} ${url}${port === undefined ? "" : `:${port}`}${path ?? ""}`
    }
    case "respond":
      return `respond ${action.status}`
  }
}

/** What is done with the requests of a route beside its action. */
export function policiesOf(route: RouteConfig): string[] {
  const { rateLimit, timeoutMs, timeouts, retry, maxBodyBytes } = route
  const { betweenBytesMs, tunnelMs, sendMs } = timeouts ?? {}
  return [
    ...(route.tlsRedirect ? ["sends plain requests to https"] : []),
    ...networks("allows", route.allow),
    ...networks("denies", route.deny),
    ...(rateLimit === undefined
      ? []
      : [`${rateLimit.requests} requests per ${formatDuration(rateLimit.perMs)}`]),
    ...(route.basicAuth === undefined ? [] : ["password"]),
    ...(route.forwardAuth === undefined ? [] : [`asks pool ${route.forwardAuth.pool}`]),
    ...(route.cors === undefined ? [] : ["CORS"]),
    ...(route.sticky === undefined ? [] : [`sticky by cookie ${route.sticky.cookie}`]),
    ...(route.mirror === "" ? [] : [`copied to pool ${route.mirror}`]),
    ...(timeoutMs === undefined ? [] : [`timeout ${formatDuration(timeoutMs)}`]),
    ...(betweenBytesMs === undefined ? [] : [`${formatDuration(betweenBytesMs)} between bytes`]),
    ...(tunnelMs === undefined ? [] : [`tunnels idle up to ${formatDuration(tunnelMs)}`]),
    ...(sendMs === undefined ? [] : [`${formatDuration(sendMs)} to send`]),
    ...(retry.statuses.length === 0
      ? []
      : [`tried ${retry.attempts} more on ${retry.statuses.join(", ")}`]),
    ...(maxBodyBytes === 0 ? [] : [`bodies up to ${formatSize(maxBodyBytes)}`]),
  ]
}

function formatTls({ certificates, minVersion, redirect, clientCertificates }: TlsConfig): string {
  const count = `${certificates.length} certificate${certificates.length === 1 ? "" : "s"}`
  const client = clientCertificates === "off" ? "" : `, client certificates ${clientCertificates}`
  const redirected = redirect ? "; plain requests are sent to https" : ""
  return `TLS from ${minVersion} with ${count}${client}${redirected}`
}

function networks(verb: string, prefixes: readonly Prefix[]): string[] {
  return prefixes.length === 0 ? [] : [`${verb} ${prefixes.map(formatPrefix).join(", ")}`]
}
