/** The status as text: what somebody who has just logged in wants to know first stands first. */
import type {
  CheckStatusEntry,
  HttpStatus,
  ListenerStatus,
  PoolStatus,
  ServerStatus,
  Status,
  VrrpStatus,
} from "../admin/backend.ts"
import { formatAge, formatBytes, formatCount } from "./format.ts"
import { printable } from "./output.ts"
import { kubernetesSections } from "./status-text-kubernetes.ts"
import { type Cell, type Column, formatTable, type Row } from "./table.ts"
import type { Paint, Tone } from "./tone.ts"

export interface StatusTextOptions {
  readonly width: number
  readonly paint: Paint
  readonly nowEpochMs: number
}

/** Lines without line ends. */
export function formatStatus(status: Status, options: StatusTextOptions): string[] {
  const { nowEpochMs } = options
  const { kubernetes } = status
  const whyEmpty = new Map(kubernetes?.pools.map(({ name, reason }) => [name, reason]))
  const pools = status.pools.flatMap((pool) =>
    poolRows(pool, { nowEpochMs, whyEmpty: whyEmpty.get(pool.name) ?? "" }),
  )
  const sections = [
    headLines(status, options),
    formatTable(VRRP_COLUMNS, status.vrrp.map(vrrpRow(nowEpochMs)), options),
    formatTable(SERVER_COLUMNS, pools, options),
    formatTable(STREAM_COLUMNS, status.streams.map(streamRow), options),
    formatTable(HTTP_COLUMNS, status.http.map(httpRow), options),
    formatTable(CHECK_COLUMNS, status.checks.map(checkRow(nowEpochMs)), options),
    ...(kubernetes === null ? [] : kubernetesSections(kubernetes, options)),
    [options.paint(footer(status), "quiet")],
  ]
  return sections
    .filter((lines) => lines.length > 0)
    .flatMap((lines, index) => (index === 0 ? lines : ["", ...lines]))
    .map((line) => line.trimEnd())
}

function headLines(
  { node, version, uptime_seconds: uptime, config, ...status }: Status,
  { paint, nowEpochMs }: StatusTextOptions,
): string[] {
  const state = status.ready ? paint("ready", "good") : paint("not ready", "warn")
  const age = formatAge(nowEpochMs - Date.parse(config.loaded_at))
  const facts = [
    `causeway ${version}`,
    `up ${formatAge(uptime * 1000)}`,
    `configuration ${config.generation}, ${age} old`,
  ]
  return [
    `${paint(node, "strong")}  ${state}  ${paint(facts.join(", "), "quiet")}`,
    ...status.not_ready.map((reason) => paint(printable(`not ready: ${reason}`), "warn")),
    ...config.warnings.map((warning) => paint(printable(`warning: ${warning}`), "warn")),
    ...(config.last_error === null ? [] : refusal(config.last_error, paint)),
  ]
}

function refusal(error: string, paint: Paint): string[] {
  const lines = printable(error).split("\n")
  return [
    paint("The last reload was refused, the configuration from before goes on:", "bad"),
    ...lines.map((line) => `  ${line}`),
  ]
}

const VRRP_COLUMNS: readonly Column[] = [
  { title: "VIRTUAL ROUTER" },
  { title: "STATE" },
  { title: "PRIORITY", align: "right", dropOrder: 2 },
  { title: "INTERFACE", dropOrder: 1 },
  { title: "FOR", align: "right", dropOrder: 3 },
  { title: "ADDRESSES", isCuttable: true },
]

function vrrpRow(nowEpochMs: number) {
  return (router: VrrpStatus): Row => {
    const { priority, effective_priority: effective } = router
    return {
      cells: [
        router.name,
        {
          text: router.state + (router.released ? ", released" : ""),
          tone: VRRP_TONE[router.state],
        },
        effective === priority ? String(priority) : `${effective} of ${priority}`,
        router.interface,
        formatAge(nowEpochMs - Date.parse(router.since)),
        router.addresses.map(bare).join(", "),
      ],
      notes: [
        ...(router.reason === "" ? [] : [quiet(router.reason)]),
        ...router.peers.map((peer) => quiet(peerText(peer, nowEpochMs))),
        ...router.warnings.map((warning): Cell => {
          return { text: printable(`warning: ${warning}`), tone: "warn" }
        }),
      ],
    }
  }
}

const VRRP_TONE: Readonly<Record<VrrpStatus["state"], Tone>> = {
  initialize: "warn",
  backup: "strong",
  active: "good",
  fault: "bad",
}

function peerText(peer: VrrpStatus["peers"][number], nowEpochMs: number): string {
  const age = formatAge(nowEpochMs - Date.parse(peer.heard_at))
  return `peer ${peer.address} priority ${peer.priority}, heard ${age} ago`
}

/** A whole-host prefix says nothing that the address does not. */
function bare(address: string): string {
  return address.replace(address.includes(":") ? /\/128$/ : /\/32$/, "")
}

const SERVER_COLUMNS: readonly Column[] = [
  { title: "POOL" },
  { title: "SERVER" },
  { title: "STATE" },
  { title: "WEIGHT", align: "right", dropOrder: 2 },
  { title: "OPEN", align: "right" },
  { title: "TOTAL", align: "right", dropOrder: 1 },
  { title: "FOR", align: "right", dropOrder: 3 },
  { title: "REASON", isCuttable: true, dropOrder: 4 },
]

/** The pool's name stands at its first server alone. */
function poolRows(
  { name, servers }: PoolStatus,
  { nowEpochMs, whyEmpty }: { readonly nowEpochMs: number; readonly whyEmpty: string },
): Row[] {
  if (servers.length === 0) {
    const notes = whyEmpty === "" ? [] : [quiet(whyEmpty)]
    return [{ cells: [name, quiet("no servers")], notes }]
  }
  return servers.map((server, index) => ({
    cells: [
      index === 0 ? name : "",
      server.name,
      serverState(server),
      String(server.weight),
      formatCount(server.connections),
      formatCount(server.connections_total),
      formatAge(nowEpochMs - Date.parse(server.since)),
      quiet(server.reason),
    ],
  }))
}

function serverState(server: ServerStatus): Cell {
  const { text, tone } = serverWord(server)
  return { text: server.backup ? `${text}, backup` : text, ...(tone && { tone }) }
}

/** What decides first comes first: the operator, the check, live traffic. */
function serverWord({ admin, health, ejected, reason }: ServerStatus): Cell {
  if (admin === "drain") return { text: "draining", tone: "warn" }
  if (admin === "maintenance") return { text: "maintenance", tone: "warn" }
  if (health === "down") return { text: "down", tone: "bad" }
  if (ejected) return { text: "ejected", tone: "warn" }
  if (health === "up") return { text: "up", tone: "good" }
  return reason === NO_CHECK ? { text: "unchecked" } : { text: "unknown", tone: "warn" }
}

const STREAM_COLUMNS: readonly Column[] = [
  { title: "STREAM" },
  { title: "POOL" },
  { title: "OPEN", align: "right" },
  { title: "TOTAL", align: "right", dropOrder: 2 },
  { title: "IN", align: "right", dropOrder: 1 },
  { title: "OUT", align: "right", dropOrder: 1 },
  { title: "LISTENS ON", isCuttable: true },
]

function streamRow(stream: ListenerStatus): Row {
  return {
    cells: [
      stream.name,
      stream.pool,
      formatCount(stream.connections),
      formatCount(stream.total),
      formatBytes(stream.bytes_in),
      formatBytes(stream.bytes_out),
      stream.bind.join(", "),
    ],
  }
}

const HTTP_COLUMNS: readonly Column[] = [
  { title: "HTTP" },
  { title: "ROUTES", align: "right" },
  { title: "OPEN", align: "right" },
  { title: "REQUESTS", align: "right" },
  { title: "5XX", align: "right" },
  { title: "IN", align: "right", dropOrder: 1 },
  { title: "OUT", align: "right", dropOrder: 1 },
  { title: "LISTENS ON", isCuttable: true },
]

function httpRow(http: HttpStatus): Row {
  const failures = http.routes.reduce((sum, { responses }) => sum + (responses["5xx"] ?? 0), 0)
  return {
    cells: [
      http.name,
      formatCount(http.routes.length),
      formatCount(http.connections),
      formatCount(http.requests),
      { text: formatCount(failures), ...(failures > 0 ? { tone: "warn" as const } : {}) },
      formatBytes(http.bytes_in),
      formatBytes(http.bytes_out),
      http.bind.join(", "),
    ],
  }
}

const CHECK_COLUMNS: readonly Column[] = [
  { title: "CHECK" },
  { title: "STATE" },
  { title: "TOOK", align: "right", dropOrder: 1 },
  { title: "FOR", align: "right", dropOrder: 2 },
  { title: "REASON", isCuttable: true },
]

function checkRow(nowEpochMs: number) {
  return (check: CheckStatusEntry): Row => ({
    cells: [
      check.name,
      { text: check.health, tone: CHECK_TONE[check.health] },
      `${check.duration_ms.toFixed(1)} ms`,
      formatAge(nowEpochMs - Date.parse(check.since)),
      quiet(check.reason),
    ],
  })
}

const CHECK_TONE: Readonly<Record<CheckStatusEntry["health"], Tone>> = {
  up: "good",
  down: "bad",
  unknown: "warn",
}

function footer({ threads }: Status): string {
  const restarts = threads.data_restarts === 0 ? "" : ` (${threads.data_restarts} restarts)`
  return [
    `${formatCount(threads.sessions)} of ${formatCount(threads.sessions_max)} sessions`,
    `${threads.data} data thread${threads.data === 1 ? "" : "s"}${restarts}`,
    `vrrp scheduling ${threads.vrrp_scheduling}`,
  ].join(", ")
}

function quiet(text: string): Cell {
  return { text: printable(text).replaceAll("\n", " "), tone: "quiet" }
}

/** What `reason` says of a server whose pool has no check. */
const NO_CHECK = "no check"
