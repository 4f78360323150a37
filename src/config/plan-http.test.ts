/** What `causeway check` prints of HTTP listeners. */
import { expect, test } from "bun:test"
import { loadText } from "./fixtures/load-text.ts"
import { formatPlan, planJson } from "./plan.ts"

const TEXT = `
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
addresses = ["192.0.2.40"]
[[pool]]
name = "p"
servers = ["192.0.2.11:80"]
[[pool]]
name = "canary"
servers = ["192.0.2.12:80"]
[[http]]
name = "web"
bind = ["192.0.2.40:80", { address = ":443", tls = true }]
tls = { certificates = [{ cert = "/a", key = "/a" }], redirect = true }
trusted_proxies = ["10.0.0.0/8"]
[[http.route]]
respond = 404
[[http.route]]
host = "*.k8s.com"
redirect = { scheme = "https", host = "k8s.com" }
[[http.route]]
host = "k8s.com"
path = "^/v\\\\d"
match = "regex"
pool = "p"
[[http.route]]
host = "k8s.com"
path = "/api"
pool = "p"
rewrite = "/"
basic_auth = { users_file = "/users" }
max_body = "1MiB"
[[http.route]]
host = "k8s.com"
path = "/api"
methods = ["GET", "PUT"]
headers = { X-A = "1", X-B = false }
query = { debug = true }
split = [{ pool = "p", weight = 9 }, { pool = "canary", header = { X-Canary = true } }]
retry = { on = [502] }
[[http.route]]
host = "k8s.com"
path = "/api/v1"
pool = "p"
rate_limit = { requests = 5, per = "1m" }
timeout = "3s"
sticky = {}
allow = ["10.0.0.0/8"]
[[http.route]]
host = "k8s.com"
path = "/"
match = "exact"
pool = "p"
`

function config() {
  const pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"
  const result = loadText(TEXT, { "/a": pem, "/users": `a:$2b$05$${"x".repeat(53)}` })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.config
}

test("formatPlan() shows the route table in the order in which routes are tried", () => {
  const lines = formatPlan(config())
  expect(lines.slice(lines.findIndex((line) => line.startsWith("http ")))).toEqual([
    "http web: 192.0.2.40:80 (vrrp edge), :443 with TLS",
    "    at most 16384 connections, closed when idle for 1m",
    "    TLS from 1.2 with 1 certificate; plain requests are sent to https",
    "    believes forwarding headers from 10.0.0.0/8",
    "    k8s.com    = /                                                         → pool p",
    "    k8s.com    /api/v1                                                     → pool p",
    "        allows 10.0.0.0/8; 5 requests per 1m; sticky by cookie causeway; timeout 3s",
    "    k8s.com    /api     GET PUT, header X-A=1, no header X-B, query debug  → split p 9, canary 0 header X-Canary",
    "        tried 1 more on 502",
    "    k8s.com    /api                                                        → pool p as /",
    "        password; bodies up to 1MiB",
    "    k8s.com    ~ ^/v\\d                                                     → pool p",
    "    *.k8s.com  /                                                           → redirect 302 https://k8s.com",
    "    any host   /                                                           → respond 404",
  ])
})

test("planJson() has routes, and no password hashes", () => {
  const text = JSON.stringify(planJson(config()).http)
  expect(text).not.toContain("$2b$")
  expect(planJson(config()).http[0]?.routes.at(0)).toEqual({
    name: "k8s.com=/",
    host: "k8s.com",
    path: "/",
    match: "exact",
    conditions: [],
    action: "pool p",
    policies: [],
  })
})
