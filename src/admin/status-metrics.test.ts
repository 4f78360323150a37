import { describe, expect, test } from "bun:test"
import { formatExposition } from "../metrics/exposition.ts"
import { sampleKubernetes } from "./fixtures/sample-kubernetes.ts"
import { sampleStatus } from "./fixtures/sample-status.ts"
import { processMetrics } from "./process-metrics.ts"
import { statusMetrics } from "./status-metrics.ts"

const text = formatExposition(statusMetrics(sampleStatus))

describe("statusMetrics()", () => {
  test.each([
    "causeway_ready 1",
    "causeway_config_generation 4",
    "causeway_config_last_reload_successful 1",
    "causeway_config_last_reload_success_timestamp_seconds 1773475331",
    'causeway_vrrp_state{vrrp="apiserver",state="backup"} 1',
    'causeway_vrrp_state{vrrp="apiserver",state="active"} 0',
    'causeway_vrrp_effective_priority{vrrp="apiserver"} 98',
    'causeway_vrrp_transitions_total{vrrp="edge"} 2',
    'causeway_vrrp_packets_dropped_total{vrrp="edge",reason="ttl"} 2',
    'causeway_check_up{check="apiserver"} 0',
    'causeway_check_duration_seconds{check="apiserver"} 0.0045',
    'causeway_server_up{pool="mysql-replicas",server="192.0.2.101:3306"} 1',
    'causeway_server_up{pool="mysql-replicas",server="m2"} 0',
    'causeway_server_up{pool="mysql-replicas",server="192.0.2.103:3306"} 0',
    'causeway_server_up{pool="kube-masters",server="192.0.2.22:6443"} 0',
    'causeway_server_health{pool="mysql-replicas",server="192.0.2.103:3306",health="down"} 1',
    'causeway_server_admin{pool="mysql-replicas",server="m2",state="drain"} 1',
    'causeway_server_ejected{pool="kube-masters",server="192.0.2.22:6443"} 1',
    'causeway_server_connections{pool="mysql-replicas",server="192.0.2.101:3306"} 118',
    'causeway_server_bytes_total{pool="mysql-replicas",server="m2",direction="to_server"} 734003200',
    'causeway_stream_connections{stream="mysql-read"} 125',
    'causeway_stream_bytes_total{stream="mysql-read",direction="out"} 28991029248',
    'causeway_stream_ended_total{stream="mysql-read",reason="idle_timeout"} 4',
    "causeway_sessions_max 261984",
    "causeway_data_thread_restarts_total 0",
  ])("has the sample %s", (line) => expect(text).toContain(`\n${line}\n`))

  test("names what runs", () => {
    expect(text).toMatch(
      /^causeway_build_info\{version="0\.1\.0",node="edge-a",bun="[\d.]+",arch="\w+"\} 1$/m,
    )
  })

  test("says that the last reload was refused", () => {
    const config = { ...sampleStatus.config, last_error: "x:1:1: error" }
    const refused = formatExposition(statusMetrics({ ...sampleStatus, config }))
    expect(refused).toContain("\ncauseway_config_last_reload_successful 0\n")
  })
})

describe("statusMetrics() of an edge that follows a cluster", () => {
  const clustered = formatExposition(
    statusMetrics({ ...sampleStatus, kubernetes: sampleKubernetes }),
  )

  test.each([
    "causeway_kubernetes_connected 1",
    "causeway_kubernetes_synced 1",
    "causeway_kubernetes_restored 0",
    "causeway_kubernetes_state_age_seconds 0",
    'causeway_kubernetes_objects{resource="services"} 12',
    'causeway_kubernetes_relists_total{resource="services"} 2',
    'causeway_kubernetes_watches_total{resource="ciliumnodes"} 0',
    "causeway_kubernetes_writer 1",
    "causeway_kubernetes_writes_total 214",
    "causeway_kubernetes_writes_refused_total 3",
    'causeway_kubernetes_services{state="served"} 1',
    'causeway_kubernetes_services{state="pending"} 1',
    'causeway_kubernetes_address_pool_used{pool="first-pool"} 2',
    'causeway_kubernetes_address_pool_size{pool="first-pool"} 2',
    'causeway_kubernetes_nodes{state="routed"} 1',
    'causeway_kubernetes_nodes{state="not_on_subnet"} 1',
    'causeway_kubernetes_nodes{state="conflict"} 0',
    "causeway_kubernetes_ingresses 4",
    'causeway_kubernetes_ingress_problems{severity="warning"} 1',
    "causeway_kubernetes_empty_pools 1",
    'causeway_kubernetes_published{state="conflict"} 1',
  ])("has the sample %s", (line) => expect(clustered).toContain(`\n${line}\n`))

  test("has none of them without a cluster", () => expect(text).not.toContain("_kubernetes_"))
})

describe("the exposition", () => {
  const status = { ...sampleStatus, kubernetes: sampleKubernetes }
  const whole = formatExposition([...statusMetrics(status), ...processMetrics()])

  test("can be parsed: each line by the grammar, each family once and whole", () => {
    expect(problems(whole)).toEqual([])
  })

  test("has every family of a status that has one of everything", () => {
    const families = whole.matchAll(/^# TYPE (\S+)/gm).toArray().length
    expect(families).toBe(10 + 9 + 4 + 12 + 5 + 19 + 5)
  })
})

/** What a parser of the format 0.0.4, and the naming practices, object to. */
function problems(exposition: string): string[] {
  const types = new Map<string, string>()
  const series = new Set<string>()
  let family = ""
  return exposition
    .trimEnd()
    .split("\n")
    .flatMap((line) => {
      const type = /^# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge)$/.exec(line)
      if (type !== null) {
        family = type[1] ?? ""
        const isAgain = types.has(family)
        types.set(family, type[2] ?? "")
        if (type[2] === "counter" && !family.endsWith("_total")) return [`not _total: ${line}`]
        return isAgain ? [`again: ${line}`] : []
      }
      if (/^# HELP [a-z_:][a-z0-9_:]* \S/.test(line)) return []
      const sample = SAMPLE.exec(line)
      if (sample === null) return [`not a sample: ${line}`]
      const [, name = "", labels = ""] = sample
      if (name !== family) return [`outside its family: ${line}`]
      if (series.has(name + labels)) return [`twice: ${line}`]
      series.add(name + labels)
      return []
    })
}

const LABEL = /[a-z_]+="(?:[^"\\\n]|\\["\\n])*"/.source
const SAMPLE = new RegExp(
  `^([a-z_:][a-z0-9_:]*)(\\{${LABEL}(?:,${LABEL})*\\})? (-?\\d+(?:\\.\\d+)?(?:e[+-]\\d+)?)$`,
)
