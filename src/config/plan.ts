/**
 * What a configuration will do, for `causeway check`: the values people get wrong are those they
 * have to work out, such as how long a failover takes, so those are worked out here.
 */
import { type Address, type Endpoint, formatEndpoint, formatPrefix } from "../net/address.ts"
import type {
  AdminConfig,
  CheckConfig,
  Config,
  NamedCheckConfig,
  PoolConfig,
  PoolTlsConfig,
  ServerConfig,
  StreamConfig,
  TrackConfig,
  VrrpConfig,
} from "./config.ts"
import { formatHttp, httpJson } from "./plan-http.ts"
import { formatKubernetes, formatSource, kubernetesJson } from "./plan-kubernetes.ts"
import { formatDuration } from "./units.ts"
import { formatBind } from "./values.ts"

/** Lines without line ends; details are indented by four blanks. */
export function formatPlan(config: Config): string[] {
  const { node, admin } = config
  const threads =
    node.threads === 0 ? "one data thread per CPU" : count(node.threads, "data thread")
  return [
    `node ${node.name}: ${threads}, up to ${formatDuration(node.drainTimeoutMs)} to drain on stop`,
    `admin: ${formatAdmin(admin)}`,
    ...config.vrrp.flatMap(formatRouter),
    ...config.checks.flatMap(formatNamedCheck),
    ...config.pools.flatMap(formatPool),
    ...config.streams.flatMap((stream) => formatStream(stream, config)),
    ...config.http.flatMap((http) => formatHttp(http, (endpoint) => ownerOf(endpoint, config))),
    ...formatKubernetes(config),
  ]
}

/** The same as data, in the snake_case of the admin API; passwords are left out. */
export function planJson(config: Config) {
  const { node, admin, vrrp, checks, pools, streams, http } = config
  return {
    node: { name: node.name, threads: node.threads, drain_timeout_ms: node.drainTimeoutMs },
    admin: { listen: admin.listen.map(formatListen), token: admin.tokenFile !== "" },
    vrrp: vrrp.map(routerJson),
    checks: checks.map(({ name, address, check }) => ({
      name,
      address: address === undefined ? null : formatEndpoint(address),
      ...checkJson(check),
    })),
    pools: pools.map(poolJson),
    streams: streams.map((stream) => ({
      name: stream.name,
      bind: stream.bind.map(formatBind),
      pool: stream.pool,
      idle_timeout_ms: stream.idleTimeoutMs,
      max_connections: stream.maxConnections,
      accept_proxy_protocol: stream.acceptProxyProtocol.map(formatPrefix),
      allow: stream.allow.map(formatPrefix),
      deny: stream.deny.map(formatPrefix),
    })),
    http: http.map(httpJson),
    ...kubernetesJson(config),
  }
}

/**
 * How long this router, as a backup, waits for a silent active one: three intervals and Skew_Time,
 * which is a share of the interval in version 3 (RFC 9568 §6.1) and of one second in version 2
 * (RFC 3768 §6.1). The interval of version 3 is learnt from the active router at run time.
 */
export function activeDownIntervalMs(
  router: Pick<VrrpConfig, "version" | "priority" | "advertisementIntervalMs">,
): number {
  const skewBaseMs = router.version === 3 ? router.advertisementIntervalMs : 1000
  return 3 * router.advertisementIntervalMs + ((256 - router.priority) * skewBaseMs) / 256
}

function formatAdmin({ listen, tokenFile }: AdminConfig): string {
  const access = tokenFile === "" ? "TCP is read-only" : "TCP needs the token"
  return listen.length === 0 ? "off" : `${listen.map(formatListen).join(", ")} (${access})`
}

function formatListen(listen: AdminConfig["listen"][number]): string {
  return listen.type === "unix" ? `unix:${listen.path}` : formatBind(listen.endpoint)
}

function formatRouter(router: VrrpConfig): string[] {
  const interval = formatDuration(router.advertisementIntervalMs)
  const silence = formatDuration(activeDownIntervalMs(router))
  const priority = `priority ${router.priority}`
  const addresses = [...router.addresses, ...router.unadvertisedAddresses].map(formatPrefix)
  const password = router.authentication === undefined ? "" : ", with a password"
  return [
    `vrrp ${router.name}: router ${router.virtualRouterId} on ${router.interface}, ${priority}`,
    `    VRRP version ${router.version}, advertises every ${interval}${password}`,
    `    takes over after ${silence} of silence; ${formatPreemption(router)}`,
    `    addresses: ${addresses.join(", ")}`,
    `    addresses ${PLACEMENT[router.placement]}; ${formatLease(router.leaseMs)}`,
    ...router.track.map((track) => `    follows ${formatTrack(track, router.priority)}`),
    ...(router.notify === "" ? [] : [`    runs ${router.notify} on a change`]),
  ]
}

const PLACEMENT = {
  process: "end with the process",
  interface: "stay on the interface if the process is killed",
} as const

function formatLease(leaseMs: VrrpConfig["leaseMs"]): string {
  if (leaseMs === "auto") return "lease chosen by the interval"
  return leaseMs === 0 ? "no lease" : `lease ${formatDuration(leaseMs)}`
}

function formatPreemption({ preempt, preemptDelayMs, priority }: VrrpConfig): string {
  if (!preempt) return "does not preempt a lower priority"
  const delay = preemptDelayMs === 0 ? "" : ` after ${formatDuration(preemptDelayMs)}`
  return priority === 255 ? "owns the addresses" : `preempts a lower priority${delay}`
}

function formatTrack({ type, target, weight }: TrackConfig, priority: number): string {
  if (weight === undefined) return `${type} ${target}: fault while it is down`
  const changed = Math.min(254, Math.max(1, priority + weight))
  return `${type} ${target}: priority ${changed} while it is ${weight < 0 ? "down" : "up"}`
}

function formatNamedCheck({ name, address, check }: NamedCheckConfig): string[] {
  const target = address === undefined ? "" : `${formatEndpoint(address)}, `
  return [`check ${name}: ${target}${formatCheck(check)}`]
}

function formatCheck(check: CheckConfig): string {
  const { intervalMs, timeoutMs, rise, fall } = check
  const timing = `every ${formatDuration(intervalMs)}, timeout ${formatDuration(timeoutMs)}`
  return `${formatProbe(check)} ${timing}, up after ${rise}, down after ${fall}`
}

function formatProbe(check: CheckConfig): string {
  const port = check.port === undefined ? "" : ` on port ${check.port}`
  switch (check.type) {
    case "tcp":
      return `tcp connect${port}`
    case "http":
      return `${check.tls ? "https" : "http"} ${check.method} ${check.path}${port}`
    case "mysql":
      return `mysql ${check.user === "" ? "handshake" : `login as ${check.user}`}${port}`
    case "command":
      return `command ${check.command.join(" ")}`
  }
}

function formatPool(pool: PoolConfig): string[] {
  const check = pool.check === undefined ? "none" : formatCheck(pool.check)
  const connect = `connect timeout ${formatDuration(pool.connectTimeoutMs)}`
  return [
    `pool ${pool.name}: ${pool.balance} over ${formatServers(pool)}`,
    ...pool.servers.map((server) => `    ${formatServer(server)}`),
    `    ${connect}, ${pool.connectRetries} more tried; ${formatEjection(pool)}`,
    ...(pool.tls === undefined ? [] : [`    ${formatPoolTls(pool.tls)}`]),
    ...(pool.proxyProtocol === "off" ? [] : [`    tells servers of clients: ${proxied(pool)}`]),
    `    check: ${check}`,
  ]
}

function proxied({ proxyProtocol }: PoolConfig): string {
  return `PROXY protocol version ${proxyProtocol === "v1" ? 1 : 2}`
}

function formatServers({ servers, kubernetes }: PoolConfig): string {
  return kubernetes === undefined ? count(servers.length, "server") : formatSource(kubernetes)
}

function formatEjection({ maxFails, failTimeoutMs }: PoolConfig): string {
  if (maxFails === 0) return "failed connects do not take a server out"
  const timeout = formatDuration(failTimeoutMs)
  return `out for ${timeout} after ${count(maxFails, "failed connect")} within ${timeout}`
}

function formatServer({ name, endpoint, weight, backup, maxConnections }: ServerConfig): string {
  const address = formatEndpoint(endpoint)
  const details = [
    ...(name === address ? [] : [`name ${name}`]),
    `weight ${weight}`,
    ...(backup ? ["backup"] : []),
    ...(maxConnections === 0 ? [] : [`at most ${count(maxConnections, "connection")}`]),
  ]
  return `${address} (${details.join(", ")})`
}

function formatStream(stream: StreamConfig, config: Config): string[] {
  const bind = stream.bind.map((endpoint) => formatBind(endpoint) + ownerOf(endpoint, config))
  const idle = formatDuration(stream.idleTimeoutMs)
  const proxies = stream.acceptProxyProtocol.map(formatPrefix).join(", ")
  const limits = [
    ...(proxies === "" ? [] : [`takes the PROXY protocol from ${proxies}`]),
    ...(stream.allow.length === 0 ? [] : [`allows ${stream.allow.map(formatPrefix).join(", ")}`]),
    ...(stream.deny.length === 0 ? [] : [`denies ${stream.deny.map(formatPrefix).join(", ")}`]),
  ]
  return [
    `stream ${stream.name}: ${bind.join(", ")} → pool ${stream.pool}`,
    `    at most ${count(stream.maxConnections, "connection")}, closed when idle for ${idle}`,
    ...limits.map((line) => `    ${line}`),
  ]
}

/** The virtual router that brings an address here. */
function ownerOf({ address }: Endpoint, { vrrp }: Config): string {
  const router = vrrp.find((one) => carries(one, address))
  return router === undefined ? "" : ` (vrrp ${router.name})`
}

function carries(router: VrrpConfig, address: Address): boolean {
  const prefixes = [...router.addresses, ...router.unadvertisedAddresses]
  return prefixes.some((prefix) => prefix.address === address)
}

function routerJson(router: VrrpConfig) {
  return {
    name: router.name,
    interface: router.interface,
    virtual_router_id: router.virtualRouterId,
    priority: router.priority,
    version: router.version,
    advertisement_interval_ms: router.advertisementIntervalMs,
    active_down_interval_ms: activeDownIntervalMs(router),
    preempt: router.preempt,
    preempt_delay_ms: router.preemptDelayMs,
    authentication: router.authentication?.type ?? null,
    addresses: router.addresses.map(formatPrefix),
    unadvertised_addresses: router.unadvertisedAddresses.map(formatPrefix),
    placement: router.placement,
    lease_ms: router.leaseMs,
    track: router.track.map(({ type, target, weight = null }) => ({ type, target, weight })),
    sync_group: router.syncGroup,
    notify: router.notify,
  }
}

function formatPoolTls({ verify, serverName, caFile, cert }: PoolTlsConfig): string {
  const name = serverName === "" ? "each server's address" : serverName
  const authorities = caFile === "" ? "the host's authorities" : caFile
  const believes = verify ? `verified for ${name} by ${authorities}` : "not verified"
  return `TLS to the servers, ${believes}${cert === "" ? "" : `, showing ${cert}`}`
}

function poolJson(pool: PoolConfig) {
  return {
    name: pool.name,
    balance: pool.balance,
    servers: pool.servers.map(({ name, endpoint, weight, backup, maxConnections }) => ({
      name,
      address: formatEndpoint(endpoint),
      weight,
      backup,
      max_connections: maxConnections,
    })),
    kubernetes: pool.kubernetes ?? null,
    max_fails: pool.maxFails,
    fail_timeout_ms: pool.failTimeoutMs,
    connect_timeout_ms: pool.connectTimeoutMs,
    connect_retries: pool.connectRetries,
    source: pool.source,
    proxy_protocol: pool.proxyProtocol,
    tls: pool.tls === undefined ? null : { verify: pool.tls.verify, ca_file: pool.tls.caFile },
    slow_start_ms: pool.slowStartMs,
    on_down: pool.onDown,
    check: pool.check === undefined ? null : checkJson(pool.check),
  }
}

function checkJson(check: CheckConfig) {
  return {
    type: check.type,
    probe: formatProbe(check),
    interval_ms: check.intervalMs,
    timeout_ms: check.timeoutMs,
    rise: check.rise,
    fall: check.fall,
    port: check.port ?? null,
  }
}

function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? "" : "s"}`
}
