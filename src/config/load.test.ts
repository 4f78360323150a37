/** Files, includes and merging, and a whole document as a `Config`. */
import { expect, test } from "bun:test"
import type { Config } from "./config.ts"
import { loadText, memoryFiles } from "./fixtures/load-text.ts"
import { loadConfig, parseConfig } from "./load.ts"

const POOL = '[[pool]]\nname = "web"\nservers = ["192.0.2.11:80"]\n'
const STREAM = '[[stream]]\nname = "web"\nbind = [":80"]\npool = "web"\n'

test("loadConfig() fills in the defaults when the file is empty", () => {
  const result = loadText("")
  if (!result.ok) throw new Error("It was refused")
  expect(result.config).toEqual({
    node: { name: "edge-a", threads: 0, drainTimeoutMs: 30_000, stateDir: "" },
    admin: {
      listen: [
        { type: "unix", path: "/run/causeway/admin.sock" },
        { type: "tcp", endpoint: { address: "127.0.0.1", port: 9180 } },
      ],
      tokenFile: "",
    },
    log: { level: "info", format: "text", access: "" },
    vrrp: [],
    checks: [],
    pools: [],
    streams: [],
    http: [],
    kubernetes: undefined,
    addressPools: [],
    publish: [],
  } as unknown as Config)
})

test("loadConfig() reads every kind of value", () => {
  const files = { "/etc/vrrp": "secret\n", "/bin/true": { text: "", mode: 0o755 } }
  const result = loadText(EVERYTHING, files)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  expect(result.warnings.map(({ message }) => message)).toEqual([
    "sync_group has no effect in this version yet",
  ])
  expect(result.config).toEqual(EVERYTHING_CONFIG as unknown as Config)
})

test("loadConfig() reads every key of [[http]]", () => {
  const pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n"
  const hash = `$2y$05$${"x".repeat(53)}`
  const files = {
    ...{ "/tls/a.crt": pem, "/tls/a.key": pem, "/tls/tickets": "" },
    "/users": `# comment\nann:${hash}\n`,
  }
  const result = loadText(EVERYTHING_HTTP, files)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  expect(result.warnings).toEqual([])
  expect(result.config.http).toEqual(EVERYTHING_HTTP_CONFIG as unknown as Config["http"])
})

test("loadConfig() names the file it cannot read", () => {
  const environment = { files: memoryFiles({}), hostName: "edge-a" }
  const result = loadConfig("/etc/causeway/causeway.toml", environment)
  expect(result).toMatchObject({
    ok: false,
    diagnostics: [
      {
        file: "/etc/causeway/causeway.toml",
        line: 0,
        message: "Cannot read the configuration: no such file (ENOENT)",
        hint: "Name another file with -c FILE",
      },
    ],
  })
})

test.each([
  ["the configuration", "/etc/causeway/causeway.toml"],
  ["an included file", "/etc/causeway/conf.d/a.toml"],
  ["a password", "/etc/causeway/password"],
])("loadConfig() says who must be able to read %s when that is denied", (_what, path) => {
  const text = `include = ["conf.d/a.toml"]\n${POOL}[pool.check]
type = "mysql"\nuser = "check"\npassword_file = "/etc/causeway/password"\n`
  const files = memoryFiles({
    "/etc/causeway/causeway.toml": text,
    "/etc/causeway/conf.d/a.toml": "",
    "/etc/causeway/password": "secret",
  })
  const read: typeof files.read = (asked) =>
    asked === path ? { ok: false, reason: "permission denied (EACCES)" } : files.read(asked)
  const environment = { files: { ...files, read }, hostName: "edge-a" }
  const result = loadConfig("/etc/causeway/causeway.toml", environment)
  expect(result.ok ? [] : result.diagnostics.map(({ hint }) => hint)).toEqual([
    `Let the user of causeway.service read it: chgrp causeway ${path}; chmod g+r ${path}`,
  ])
})

test("loadConfig() reads included files in order, each once", () => {
  const result = loadText(`include = ["conf.d/*.toml", "/srv/b.toml", "conf.d/a.toml"]\n${POOL}`, {
    "/etc/causeway/conf.d/a.toml": STREAM,
    "/etc/causeway/conf.d/c.toml": STREAM.replace(/web"\nbind = \[":80/, 'c"\nbind = [":81'),
    "/etc/causeway/conf.d/ignored.toml.bak": "not TOML",
    "/srv/b.toml": '[[pool]]\nname = "b"\nservers = ["192.0.2.12:80"]\n',
  })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  expect(result.files).toEqual([
    "/etc/causeway/causeway.toml",
    "/etc/causeway/conf.d/a.toml",
    "/etc/causeway/conf.d/c.toml",
    "/srv/b.toml",
  ])
  expect(result.config.streams.map(({ name }) => name)).toEqual(["web", "c"])
  expect(result.config.pools.map(({ name }) => name)).toEqual(["web", "b"])
})

test("loadConfig() does not read the main file again when a pattern matches it", () => {
  const result = loadText(`include = ["*.toml"]\n${POOL}`)
  expect(result).toMatchObject({ ok: true, files: ["/etc/causeway/causeway.toml"] })
})

test("parseConfig() needs no files", () => {
  const environment = { files: memoryFiles({}), hostName: "edge-a" }
  const result = parseConfig(
    [
      { path: "main.toml", text: POOL },
      { path: "more.toml", text: STREAM },
    ],
    environment,
  )
  expect(result).toMatchObject({ ok: true, files: ["main.toml", "more.toml"] })
})

const EVERYTHING = `
[node]
name = "n1"
threads = 2
drain_timeout = "1m"
state_dir = "/var/lib/x"
[admin]
listen = ["unix:/run/x.sock", ":9000"]
token_file = "/etc/vrrp"
[log]
level = "debug"
format = "json"
access = "stdout"
[[vrrp]]
name = "v"
interface = "eth0"
virtual_router_id = 7
priority = 200
version = 2
advertisement_interval = "2s"
preempt_delay = "10s"
unicast_peers = []
authentication = { type = "pass", password_file = "/etc/vrrp" }
virtual_mac = false
addresses = ["192.0.2.40"]
unadvertised_addresses = ["192.0.2.41/32"]
placement = "interface"
lease = "4s"
track = [{ check = "c", weight = -2 }, { interface = "eth1" }, { pool = "p", weight = 5 }]
sync_group = "g"
announce = { count = 3, delay = "1s", refresh = "0s" }
[[check]]
name = "c"
type = "http"
address = "[2001:db8::1]:6443"
method = "HEAD"
path = "/healthz?verbose=1"
host = "k8s.example:6443"
expect_status = "200, 204,300-399"
expect_body = "^ok$"
tls = true
tls_verify = false
interval = "3s"
timeout = "2s"
rise = 1
fall = 10
port = 6444
[[pool]]
name = "p"
balance = "least_conn"
servers = [
  "192.0.2.11:3306",
  { address = "192.0.2.12:3306", name = "m2", weight = 0, backup = true, max_connections = 5 },
]
max_fails = 0
fail_timeout = "1s"
connect_timeout = "500ms"
connect_retries = 0
source = ["192.0.2.1"]
slow_start = "30s"
on_down = "close"
proxy_protocol = "v2"
[pool.check]
type = "command"
command = ["/bin/true", "-x"]
[[stream]]
name = "s"
bind = ["192.0.2.40:3306", "[::1]:3306", ":3307"]
protocol = "tcp"
mode = "proxy"
transparent = false
accept_proxy_protocol = ["10.0.0.1"]
pool = "p"
idle_timeout = "2h"
max_connections = 10
allow = ["192.0.2.0/24", "2001:db8::1"]
deny = ["192.0.2.66"]
`

const EVERYTHING_HTTP = `
[[pool]]
name = "p"
servers = ["192.0.2.11:80"]
[[http]]
name = "web"
bind = ["192.0.2.41:80", { address = ":443", tls = true }]
trusted_proxies = ["10.0.0.0/8"]
accept_proxy_protocol = ["10.0.0.1"]
allow = ["192.0.2.0/24"]
deny = ["192.0.2.66"]
max_connections = 10
ingress = false
merge_slashes = false
max_head = "8KiB"
max_fields = 50
head_timeout = "1s"
body_timeout = "2s"
idle_timeout = "3s"
first_byte_timeout = "4s"
between_bytes_timeout = "5s"
tunnel_timeout = "6s"
handshake_timeout = "7s"
[http.tls]
certificates = [{ cert = "/tls/a.crt", key = "/tls/a.key" }]
min_version = "1.3"
redirect = true
client_certificates = "optional"
client_ca_file = "/tls/a.crt"
session_ticket_key_file = "/tls/tickets"
[[http.route]]
name = "first"
host = "K8s.Com"
path = "/api/v1"
match = "exact"
methods = ["GET", "POST"]
headers = { X-A = "1", X-B = true, X-C = false, X-P = { pattern = "^v2" } }
query = { debug = "" }
split = [
  { pool = "p", weight = 3 },
  { pool = "p", header = { X-Canary = "é" } },
  { pool = "p", cookie = { c = true }, weight = 1 },
]
rewrite = "/?a=1"
rewrite_scope = "path"
set_headers = { Host = "internal", X-D = "2" }
add_headers = { X-E = ["3", "4"] }
remove_headers = ["X-F"]
set_response_headers = { X-G = "5" }
add_response_headers = { X-H = "6" }
remove_response_headers = ["Server"]
timeout = "9s"
tunnel_timeout = "8s"
tls_redirect = true
retry = { on = [502], attempts = 2 }
sticky = { cookie = "s", path = "/a", secure = true, http_only = false, same_site = "none", domain = "k8s.com", max_age = "1h" }
mirror = "p"
rate_limit = { requests = 5, per = "1m", burst = 2, header = "X-Key", scope = "all", exempt = ["10.1.0.0/16"] }
basic_auth = { realm = "r", users_file = "/users" }
forward_auth = { pool = "p", path = "/check?a=1", copy_headers = ["X-User"], signin_url = "https://login.k8s.com/a" }
cors = { allow_origins = ["https://a.example"], allow_headers = ["X-A"], max_age = "0s" }
allow = ["10.0.0.0/8"]
deny = ["10.6.6.6"]
max_body = "1MiB"
[[http.route]]
host = "*.k8s.com"
redirect = "https://k8s.com:8443/new"
[[http.route]]
redirect = { scheme = "https", port = 444, drop_query = true, status = 301 }
path = "/moved"
[[http.route]]
path = "^/x"
match = "regex"
respond = { status = 503, body = "later" }
[[http.route]]
path = "/healthz"
respond = 204
`

const EVERYTHING_CONFIG = {
  node: { name: "n1", threads: 2, drainTimeoutMs: 60_000, stateDir: "/var/lib/x" },
  admin: {
    listen: [
      { type: "unix", path: "/run/x.sock" },
      { type: "tcp", endpoint: { address: "::", port: 9000 } },
    ],
    tokenFile: "/etc/vrrp",
  },
  log: { level: "debug", format: "json", access: "stdout" },
  vrrp: [
    {
      name: "v",
      interface: "eth0",
      virtualRouterId: 7,
      priority: 200,
      version: 2,
      advertisementIntervalMs: 2000,
      preempt: true,
      preemptDelayMs: 10_000,
      unicastPeers: [],
      authentication: { type: "pass", password: "secret" },
      virtualMac: false,
      addresses: [{ address: "192.0.2.40", length: 32 }],
      unadvertisedAddresses: [{ address: "192.0.2.41", length: 32 }],
      placement: "interface",
      leaseMs: 4000,
      track: [
        { type: "check", target: "c", weight: -2 },
        { type: "interface", target: "eth1", weight: undefined },
        { type: "pool", target: "p", weight: 5 },
      ],
      syncGroup: "g",
      announce: { count: 3, delayMs: 1000, refreshMs: 0 },
      notify: "",
    },
  ],
  checks: [
    {
      name: "c",
      address: { address: "2001:db8::1", port: 6443 },
      check: {
        type: "http",
        intervalMs: 3000,
        timeoutMs: 2000,
        rise: 1,
        fall: 10,
        port: 6444,
        method: "HEAD",
        path: "/healthz?verbose=1",
        host: "k8s.example:6443",
        expectStatus: [
          { from: 200, to: 200 },
          { from: 204, to: 204 },
          { from: 300, to: 399 },
        ],
        expectBody: "^ok$",
        tls: true,
        tlsVerify: false,
        caFile: "",
      },
    },
  ],
  pools: [
    {
      name: "p",
      balance: "least_conn",
      servers: [
        {
          name: "192.0.2.11:3306",
          endpoint: { address: "192.0.2.11", port: 3306 },
          weight: 1,
          backup: false,
          maxConnections: 0,
        },
        {
          name: "m2",
          endpoint: { address: "192.0.2.12", port: 3306 },
          weight: 0,
          backup: true,
          maxConnections: 5,
        },
      ],
      maxFails: 0,
      failTimeoutMs: 1000,
      connectTimeoutMs: 500,
      connectRetries: 0,
      source: ["192.0.2.1"],
      slowStartMs: 30_000,
      onDown: "close",
      proxyProtocol: "v2",
      check: {
        type: "command",
        intervalMs: 2000,
        timeoutMs: 1000,
        rise: 2,
        fall: 3,
        port: undefined,
        command: ["/bin/true", "-x"],
      },
    },
  ],
  streams: [
    {
      name: "s",
      bind: [
        { address: "192.0.2.40", port: 3306 },
        { address: "::1", port: 3306 },
        { address: "::", port: 3307 },
      ],
      pool: "p",
      idleTimeoutMs: 7_200_000,
      maxConnections: 10,
      acceptProxyProtocol: [{ address: "10.0.0.1", length: 32 }],
      allow: [
        { address: "192.0.2.0", length: 24 },
        { address: "2001:db8::1", length: 128 },
      ],
      deny: [{ address: "192.0.2.66", length: 32 }],
    },
  ],
  http: [],
  kubernetes: undefined,
  addressPools: [],
  publish: [],
}

const BARE_ROUTE = {
  host: "",
  path: "/",
  match: "prefix",
  methods: [],
  headers: [],
  query: [],
  rewrite: undefined,
  rewriteScope: "match",
  requestHeaders: { set: [], add: [], remove: [] },
  responseHeaders: { set: [], add: [], remove: [] },
  timeoutMs: undefined,
  timeouts: undefined,
  tlsRedirect: false,
  retry: { statuses: [], attempts: 0 },
  sticky: undefined,
  mirror: "",
  rateLimit: undefined,
  basicAuth: undefined,
  forwardAuth: undefined,
  cors: undefined,
  allow: [],
  deny: [],
  maxBodyBytes: 0,
}

const FIRST_ROUTE = {
  name: "first",
  host: "k8s.com",
  path: "/api/v1",
  match: "exact",
  methods: ["GET", "POST"],
  headers: [
    { name: "X-A", value: "1" },
    { name: "X-B", value: true },
    { name: "X-C", value: false },
    { name: "X-P", value: { pattern: "^v2" } },
  ],
  query: [{ name: "debug", value: "" }],
  action: {
    type: "split",
    targets: [
      { pool: "p", weight: 3, header: undefined, cookie: undefined },
      // On the wire: UTF-8, one character for each byte.
      { pool: "p", weight: 0, header: { name: "X-Canary", value: "\xc3\xa9" }, cookie: undefined },
      { pool: "p", weight: 1, header: undefined, cookie: { name: "c", value: true } },
    ],
  },
  rewrite: "/?a=1",
  rewriteScope: "path",
  requestHeaders: {
    set: [
      { name: "Host", value: "internal" },
      { name: "X-D", value: "2" },
    ],
    add: [
      { name: "X-E", value: "3" },
      { name: "X-E", value: "4" },
    ],
    remove: ["X-F"],
  },
  responseHeaders: {
    set: [{ name: "X-G", value: "5" }],
    add: [{ name: "X-H", value: "6" }],
    remove: ["Server"],
  },
  timeoutMs: 9000,
  timeouts: { betweenBytesMs: undefined, tunnelMs: 8000, sendMs: undefined },
  tlsRedirect: true,
  retry: { statuses: [502], attempts: 2 },
  sticky: {
    cookie: "s",
    path: "/a",
    secure: true,
    httpOnly: false,
    sameSite: "none",
    domain: "k8s.com",
    maxAgeMs: 3_600_000,
  },
  mirror: "p",
  rateLimit: {
    requests: 5,
    perMs: 60_000,
    burst: 2,
    header: "X-Key",
    scope: "all",
    exempt: [{ address: "10.1.0.0", length: 16 }],
  },
  basicAuth: { realm: "r", usersFile: "/users", users: { ann: `$2y$05$${"x".repeat(53)}` } },
  forwardAuth: {
    pool: "p",
    path: "/check?a=1",
    copyHeaders: ["X-User"],
    signinUrl: "https://login.k8s.com/a",
  },
  cors: {
    allowOrigins: ["https://a.example"],
    allowMethods: ["GET", "HEAD", "POST"],
    allowHeaders: ["X-A"],
    exposeHeaders: [],
    allowCredentials: false,
    maxAgeMs: 0,
  },
  allow: [{ address: "10.0.0.0", length: 8 }],
  deny: [{ address: "10.6.6.6", length: 32 }],
  maxBodyBytes: 1_048_576,
}

const EVERYTHING_HTTP_CONFIG = [
  {
    name: "web",
    bind: [
      { endpoint: { address: "192.0.2.41", port: 80 }, tls: false },
      { endpoint: { address: "::", port: 443 }, tls: true },
    ],
    tls: {
      certificates: [{ cert: "/tls/a.crt", key: "/tls/a.key" }],
      minVersion: "1.3",
      redirect: true,
      clientCertificates: "optional",
      clientCaFile: "/tls/a.crt",
      sessionTicketKeyFile: "/tls/tickets",
    },
    ingress: false,
    trustedProxies: [{ address: "10.0.0.0", length: 8 }],
    acceptProxyProtocol: [{ address: "10.0.0.1", length: 32 }],
    allow: [{ address: "192.0.2.0", length: 24 }],
    deny: [{ address: "192.0.2.66", length: 32 }],
    maxConnections: 10,
    mergeSlashes: false,
    limits: { headBytesMax: 8192, fieldsMax: 50 },
    timeouts: {
      headMs: 1000,
      bodyMs: 2000,
      idleMs: 3000,
      firstByteMs: 4000,
      betweenBytesMs: 5000,
      tunnelMs: 6000,
      handshakeMs: 7000,
    },
    routes: [
      FIRST_ROUTE,
      {
        ...BARE_ROUTE,
        name: "*.k8s.com/",
        host: "*.k8s.com",
        action: {
          type: "redirect",
          redirect: {
            scheme: "https",
            host: "k8s.com",
            port: 8443,
            path: "/new",
            isLiteral: false,
            status: 302,
          },
        },
      },
      {
        ...BARE_ROUTE,
        name: "*/moved",
        path: "/moved",
        action: {
          type: "redirect",
          redirect: {
            scheme: "https",
            host: undefined,
            port: 444,
            path: undefined,
            isLiteral: true,
            status: 301,
          },
        },
      },
      {
        ...BARE_ROUTE,
        name: "*~^/x",
        path: "^/x",
        match: "regex",
        action: {
          type: "respond",
          status: 503,
          body: "later",
          contentType: "text/plain; charset=utf-8",
        },
      },
      {
        ...BARE_ROUTE,
        name: "*/healthz",
        path: "/healthz",
        action: {
          type: "respond",
          status: 204,
          body: "",
          contentType: "text/plain; charset=utf-8",
        },
      },
    ],
  },
]
