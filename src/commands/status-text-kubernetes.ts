/**
 * The cluster's part of the status as text. What works is said in a line; what does not is named
 * one by one, because that is what somebody looks for who asks.
 */
import type { KubernetesStatus } from "../admin/backend.ts"
import { formatAge, formatCount } from "./format.ts"
import { printable } from "./output.ts"
import { type Cell, type Column, formatTable, type Row, type TableOptions } from "./table.ts"
import type { Paint, Tone } from "./tone.ts"

/** Sections of lines; an empty one has nothing to tell. */
export function kubernetesSections(status: KubernetesStatus, options: TableOptions): string[][] {
  const { address_pools: pools, services, published } = status
  const strayNodes = status.nodes.filter(({ state }) => !ROUTED.has(state))
  return [
    headLines(status, options.paint),
    formatTable(SERVICE_COLUMNS, services.map(serviceRow), options),
    formatTable(ADDRESS_POOL_COLUMNS, pools.map(addressPoolRow), options),
    formatTable(PUBLISHED_COLUMNS, published.map(publishedRow), options),
    formatTable(NODE_COLUMNS, strayNodes.map(nodeRow), options),
    problemLines(status, options.paint),
  ]
}

function headLines(status: KubernetesStatus, paint: Paint): string[] {
  const { writer, nodes, services, ingresses } = status
  const [word, tone] = connection(status)
  const routed = nodes.filter(({ state }) => ROUTED.has(state)).length
  const facts = [
    status.server,
    plural(services.length, "LoadBalancer Service"),
    ...(ingresses === 0 ? [] : [plural(ingresses, "Ingress", "es")]),
    ...(nodes.length === 0 ? [] : [`${routed} of ${plural(nodes.length, "node")} routed`]),
    writerText(writer),
  ]
  const rules = writer.missing_rules.map((rule) => `missing rule: ${rule}`)
  const errors = [status.last_error, writer.last_error].filter((error) => error !== "")
  const known = paint(printable(facts.join(", ")), "quiet")
  return [
    `${paint("Kubernetes", "strong")}  ${paint(word, tone)}  ${known}`,
    ...[...new Set(errors), ...rules].map((text) => paint(`  ${oneLine(text)}`, "warn")),
  ]
}

function connection(status: KubernetesStatus): [string, Tone] {
  const age = formatAge(status.age_seconds * 1000)
  if (status.restored)
    return [`away, the last known state (restored, ${age} old) is served`, "warn"]
  if (status.connected) return ["followed", "good"]
  if (status.synced) return [`away, the last known state (${age} old) is served`, "warn"]
  return ["not known yet", "bad"]
}

function writerText({ active, holder }: KubernetesStatus["writer"]): string {
  if (active) return "this edge writes"
  return holder === "" ? "no edge writes" : `${holder.replace(/_[^_]*$/, "")} writes`
}

const SERVICE_COLUMNS: readonly Column[] = [
  { title: "SERVICE" },
  { title: "STATE" },
  { title: "PORTS", dropOrder: 1 },
  { title: "ROUTER", dropOrder: 2 },
  { title: "ADDRESSES", isCuttable: true },
]

function serviceRow(service: KubernetesStatus["services"][number]): Row {
  const { state, ports, vrrp, addresses, reason } = service
  return {
    cells: [
      service.service,
      { text: state, tone: STATE_TONES[state] ?? "warn" },
      ports.join(", "),
      vrrp.join(", "),
      addresses.join(", "),
    ],
    notes: notes(reason),
  }
}

const ADDRESS_POOL_COLUMNS: readonly Column[] = [
  { title: "ADDRESS POOL" },
  { title: "USED", align: "right" },
  { title: "OF", align: "right" },
]

function addressPoolRow({ name, used, size }: KubernetesStatus["address_pools"][number]): Row {
  const text = formatCount(used)
  return { cells: [name, used < size ? text : { text, tone: "warn" }, formatCount(size)] }
}

const PUBLISHED_COLUMNS: readonly Column[] = [
  { title: "PUBLISHED" },
  { title: "STATE" },
  { title: "STREAM", dropOrder: 1 },
  { title: "PORT", align: "right", dropOrder: 2 },
  { title: "LEADS TO", isCuttable: true },
]

function publishedRow(row: KubernetesStatus["published"][number]): Row {
  const { service, state, stream, port, endpoints, message } = row
  return {
    cells: [
      service,
      { text: state, tone: STATE_TONES[state] ?? "warn" },
      stream,
      String(port),
      endpoints.join(", "),
    ],
    notes: notes(message),
  }
}

const NODE_COLUMNS: readonly Column[] = [
  { title: "NODE NOT ROUTED" },
  { title: "STATE" },
  { title: "NETWORKS", dropOrder: 1 },
  { title: "REASON", isCuttable: true },
]

function nodeRow({ node, state, networks, reason }: KubernetesStatus["nodes"][number]): Row {
  return { cells: [node, { text: state, tone: "warn" }, networks.join(", "), quiet(reason)] }
}

function problemLines({ problems }: KubernetesStatus, paint: Paint): string[] {
  const rank = ({ severity }: { readonly severity: string }) => (severity === "notice" ? 1 : 0)
  const sorted = problems.toSorted((one, other) => rank(one) - rank(other))
  const shown = sorted.slice(0, PROBLEMS_MAX).map(({ object, severity, reason, message }) => {
    const tone = severity === "notice" ? "quiet" : "warn"
    return paint(oneLine(`${object}: ${reason}: ${message}`), tone)
  })
  const rest = problems.length - shown.length
  return rest === 0 ? shown : [...shown, paint(`and ${rest} more; --json has them all`, "quiet")]
}

function notes(text: string): Cell[] {
  return text === "" ? [] : [quiet(text)]
}

function quiet(text: string): Cell {
  return { text: oneLine(text), tone: "quiet" }
}

function oneLine(text: string): string {
  return printable(text).replaceAll("\n", " ")
}

function plural(count: number, word: string, ending = "s"): string {
  return `${formatCount(count)} ${word}${count === 1 ? "" : ending}`
}

const ROUTED: ReadonlySet<string> = new Set(["routed", "this_host"])
const STATE_TONES: Readonly<Record<string, Tone>> = {
  served: "good",
  published: "good",
  conflict: "bad",
  failed: "bad",
}
const PROBLEMS_MAX = 20
