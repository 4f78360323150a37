/** What `causeway check` prints for a good file. */
import { expect, test } from "bun:test"
import { loadText } from "./fixtures/load-text.ts"
import { activeDownIntervalMs, formatPlan, planJson } from "./plan.ts"

const TEXT = `
[node]
name = "edge-a"
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
version = 2
authentication = { type = "pass", password = "hidden" }
addresses = ["192.0.2.40"]
track = [{ check = "api", weight = -2 }, { interface = "eth1" }, { pool = "db", weight = 250 }]
preempt_delay = "10s"
[[vrrp]]
name = "fast"
interface = "eth0"
virtual_router_id = 52
priority = 255
advertisement_interval = "100ms"
addresses = ["192.0.2.41"]
lease = "0s"
[[check]]
name = "api"
type = "http"
address = "127.0.0.1:6443"
path = "/healthz"
tls = true
[[pool]]
name = "db"
balance = "least_conn"
servers = [
  "192.0.2.11:3306",
  { address = "192.0.2.12:3306", name = "m2", backup = true, max_connections = 1 },
]
[pool.check]
type = "mysql"
user = "probe"
[[stream]]
name = "db"
bind = ["192.0.2.40:3306", ":3307"]
pool = "db"
allow = ["10.0.0.0/8"]
`

function config() {
  const result = loadText(TEXT)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.config
}

test("formatPlan() says what will run", () => {
  expect(formatPlan(config())).toEqual([
    "node edge-a: one data thread per CPU, up to 30s to drain on stop",
    "admin: unix:/run/causeway/admin.sock, 127.0.0.1:9180 (TCP is read-only)",
    "vrrp edge: router 51 on eth0, priority 100",
    "    VRRP version 2, advertises every 1s, with a password",
    "    takes over after 3.609s of silence; preempts a lower priority after 10s",
    "    addresses: 192.0.2.40/32",
    "    addresses end with the process; lease chosen by the interval",
    "    follows check api: priority 98 while it is down",
    "    follows interface eth1: fault while it is down",
    "    follows pool db: priority 254 while it is up",
    "vrrp fast: router 52 on eth0, priority 255",
    "    VRRP version 3, advertises every 100ms",
    "    takes over after 300.391ms of silence; owns the addresses",
    "    addresses: 192.0.2.41/32",
    "    addresses end with the process; no lease",
    "check api: 127.0.0.1:6443, https GET /healthz every 2s, timeout 1s, up after 2, down after 3",
    "pool db: least_conn over 2 servers",
    "    192.0.2.11:3306 (weight 1)",
    "    192.0.2.12:3306 (name m2, weight 1, backup, at most 1 connection)",
    "    connect timeout 1s, 1 more tried; out for 30s after 2 failed connects within 30s",
    "    check: mysql login as probe every 2s, timeout 1s, up after 2, down after 3",
    "stream db: 192.0.2.40:3306 (vrrp edge), :3307 → pool db",
    "    at most 16384 connections, closed when idle for 10m",
    "    allows 10.0.0.0/8",
  ])
})

test("formatPlan() says who speaks the PROXY protocol", () => {
  const text = TEXT.replace('balance = "least_conn"', 'proxy_protocol = "v2"').replace(
    'pool = "db"\nallow',
    'pool = "db"\naccept_proxy_protocol = ["10.0.0.1"]\nallow',
  )
  const result = loadText(text)
  const lines = result.ok ? formatPlan(result.config) : []
  expect(lines.filter((line) => line.includes("PROXY"))).toEqual([
    "    tells servers of clients: PROXY protocol version 2",
    "    takes the PROXY protocol from 10.0.0.1/32",
  ])
})

test.each([
  // RFC 9568 §6.1: 3 × 1 s + (256 − 100) / 256 × 1 s
  [{ version: 3, priority: 100, advertisementIntervalMs: 1000 }, 3609.375],
  // RFC 9568 §6.1: 3 × 100 ms + (256 − 100) / 256 × 100 ms
  [{ version: 3, priority: 100, advertisementIntervalMs: 100 }, 360.9375],
  // RFC 3768 §6.1: 3 × 2 s + (256 − 100) / 256 × 1 s
  [{ version: 2, priority: 100, advertisementIntervalMs: 2000 }, 6609.375],
] as const)("activeDownIntervalMs(%j) is %p", (router, ms) => {
  expect(activeDownIntervalMs(router)).toBe(ms)
})

test("planJson() is plain data without passwords", () => {
  const json = JSON.stringify(planJson(config()))
  expect(json).not.toContain("hidden")
  expect(JSON.parse(json)).toMatchObject({
    node: { name: "edge-a", threads: 0, drain_timeout_ms: 30_000 },
    admin: { listen: ["unix:/run/causeway/admin.sock", "127.0.0.1:9180"], token: false },
    vrrp: [
      {
        name: "edge",
        virtual_router_id: 51,
        active_down_interval_ms: 3609.375,
        lease_ms: "auto",
        authentication: "pass",
        addresses: ["192.0.2.40/32"],
        track: [
          { type: "check", target: "api", weight: -2 },
          { type: "interface", target: "eth1", weight: null },
          { type: "pool", target: "db", weight: 250 },
        ],
      },
      { name: "fast", lease_ms: 0, authentication: null },
    ],
    checks: [{ name: "api", address: "127.0.0.1:6443", type: "http", probe: "https GET /healthz" }],
    pools: [
      {
        name: "db",
        servers: [
          { name: "192.0.2.11:3306", weight: 1, backup: false, max_connections: 0 },
          { name: "m2", address: "192.0.2.12:3306", backup: true, max_connections: 1 },
        ],
        check: { type: "mysql", interval_ms: 2000, port: null },
      },
    ],
    streams: [{ name: "db", bind: ["192.0.2.40:3306", ":3307"], allow: ["10.0.0.0/8"] }],
  })
})
