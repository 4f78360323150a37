/** What each key takes and what is said when it gets something else. */
import { describe, expect, test } from "bun:test"
import { KNOWN_KEYS } from "./known-keys.ts"
import { loadText, problems } from "./load-text.ts"

/** The smallest table of each kind; the line under test is put below it. */
const TABLES = {
  node: "[node]",
  admin: "[admin]",
  log: "[log]",
  vrrp: '[[vrrp]]\nname="v"\ninterface="e"\nvirtual_router_id=1\naddresses=["192.0.2.1"]',
  check: '[[check]]\nname="c"\naddress="192.0.2.1:80"',
  pool: '[[pool]]\nname="p"\nservers=["192.0.2.1:80"]',
  stream:
    '[[pool]]\nname="p"\nservers=["192.0.2.1:80"]\n[[stream]]\nname="s"\nbind=[":80"]\npool="p"',
} as const

/** The diagnostics without their place. */
function judge(table: keyof typeof TABLES, lines: string): string[] {
  const key = /^\s*(\w+)/.exec(lines)?.[1] ?? ""
  const base = TABLES[table]
    .split("\n")
    .filter((line) => !line.startsWith(`${key}=`))
    .join("\n")
  return problems(`${base}\n${lines}\n`).map((problem) => problem.replace(/^\d+:\d+ /, ""))
}

describe("a wrong value", () => {
  test.each([
    ["node", "name = 5", "name must be a name without blanks, not 5"],
    ["node", 'name = "a b"', 'name must be a name without blanks, not "a b"'],
    ["node", "threads = 1.5", "threads must be an integer from 0 to 256, not 1.5"],
    [
      "node",
      "threads = 99999999999999999999",
      "Integer literal is outside the 64-bit signed integer range required by TOML",
    ],
    [
      "node",
      "threads = 9223372036854775807",
      "threads must be an integer from 0 to 256, not 9223372036854775807",
    ],
    ["node", 'state_dir = "x"', 'state_dir must be an absolute path, not "x" (Start it with /)'],
    [
      "admin",
      'listen = "unix:/x"',
      'listen must be a list of addresses, not "unix:/x" (Write ["unix:/x"])',
    ],
    [
      "admin",
      'listen = ["unix:x"]',
      'A socket path must be absolute and at most 107 bytes long (Write "unix:/run/causeway/admin.sock")',
    ],
    ["log", "level = true", 'level must be "debug", "info", "warn" or "error", not true'],
    [
      "log",
      'access = "access.log"',
      'access must be an absolute path, not "access.log" (Start it with /)',
    ],
    ["vrrp", 'name = "a b"', 'name must be a name of letters, digits, "_", "-" and ".", not "a b"'],
    [
      "vrrp",
      "name = 1979-05-27",
      'name must be a name of letters, digits, "_", "-" and ".", not a date or time',
    ],
    [
      "vrrp",
      'interface = "averyveryverylong"',
      'interface must be the name of a network interface (1 to 15 characters), not "averyveryverylong"',
    ],
    ["vrrp", "virtual_router_id = 0", "virtual_router_id must be an integer from 1 to 255, not 0"],
    [
      "vrrp",
      'priority = "100"',
      'priority must be an integer from 1 to 255, not "100" (Write it without quotes)',
    ],
    ["vrrp", "priority = 256", "priority must be an integer from 1 to 255, not 256"],
    ["vrrp", "version = 1", "version must be 2 or 3, not 1"],
    ["vrrp", "preempt = 1", "preempt must be true or false, not 1"],
    [
      "vrrp",
      'preempt = "false"',
      'preempt must be true or false, not "false" (Write true or false, without quotes)',
    ],
    [
      "vrrp",
      'preempt_delay = "1001s"',
      'preempt_delay must be a duration from "0s" to "1000s", not "1001s"',
    ],
    [
      "vrrp",
      'addresses = ["192.0.2.1/33"]',
      'addresses[0] must be an address such as "192.0.2.40", or one with a prefix length, not "192.0.2.1/33"',
    ],
    [
      "vrrp",
      'addresses = "192.0.2.1"',
      'addresses must be a list of addresses, not "192.0.2.1" (Write ["192.0.2.1"])',
    ],
    ["vrrp", 'lease = "1s"', 'lease must be a duration from "2s" to "1d", not "1s"'],
    [
      "vrrp",
      'lease = "2500ms"',
      'lease must be whole seconds (Write "auto", or "0s" for permanent)',
    ],
    [
      "vrrp",
      "track = [{ weight = 1 }]",
      'An entry of track must name one check, interface or pool (Write { check = "name" } and one entry for each)',
    ],
    [
      "vrrp",
      'track = [{ check = "a", interface = "b" }]',
      'An entry of track must name one check, interface or pool (Write { check = "name" } and one entry for each)',
    ],
    [
      "vrrp",
      'track = [{ interface = "a", weight = 254 }]',
      "weight must be an integer from -253 to 253, not 254",
    ],
    ["vrrp", 'track = ["a"]', 'track[0] must be a table, not "a"'],
    ["vrrp", "announce = { count = 0 }", "count must be an integer from 1 to 100, not 0"],
    [
      "vrrp",
      'notify = "notify.sh"',
      'notify must be an absolute path, not "notify.sh" (Start it with /)',
    ],
    [
      "vrrp",
      'version = 2\nauthentication = { type = "ah", password = "x" }',
      'type must be "pass", not "ah"',
    ],
    [
      "vrrp",
      'version = 2\nauthentication = { type = "pass" }',
      'authentication needs either password or password_file (Write { type = "pass", password = "…" })',
    ],
    [
      "vrrp",
      'version = 2\nauthentication = { type = "pass", password = "123456789" }',
      "The password must be 1 to 8 bytes long, not 9 (keepalived uses only the first 8 bytes of a longer one)",
    ],
    [
      "check",
      'type = "tcp"\ninterval = 2',
      'interval must be a duration from "10ms" to "24d", not 2 (Add a unit: "2s" or "2ms")',
    ],
    [
      "check",
      'type = "tcp"\ninterval = "2"',
      'interval must be a duration from "10ms" to "24d", not "2" (Add a unit: "2s" or "2ms")',
    ],
    [
      "check",
      'type = "tcp"\ninterval = "1.5s"',
      'interval must be a duration from "10ms" to "24d", not "1.5s" (Write a whole number of a smaller unit)',
    ],
    [
      "check",
      'type = "tcp"\ninterval = "soon"',
      'interval must be a duration from "10ms" to "24d", not "soon" (A duration is a whole number and a unit: ms, s, m, h or d)',
    ],
    ["check", 'type = "tcp"\nport = 65536', "port must be an integer from 1 to 65535, not 65536"],
    [
      "check",
      'type = "http"\npath = "x"',
      'path must be text that starts with / and has no blanks, not "x"',
    ],
    [
      "check",
      'type = "http"\npath = "/a\\r\\nb"',
      'path must be text that starts with / and has no blanks, not "/a\\r\\nb"',
    ],
    [
      "check",
      'type = "http"\nmethod = "get"',
      'method must be an HTTP method in capitals, not "get"',
    ],
    [
      "check",
      'type = "http"\nhost = "a\\r\\nb"',
      'host must be a host name, with a port if need be, not "a\\r\\nb"',
    ],
    [
      "check",
      'type = "http"\nexpect_status = 200',
      'expect_status must be HTTP status codes such as "200-399" or "200,204", not 200 (Write "200")',
    ],
    [
      "check",
      'type = "http"\nexpect_status = "399-200"',
      'expect_status must be HTTP status codes such as "200-399" or "200,204", not "399-200"',
    ],
    [
      "check",
      'type = "http"\nexpect_status = "2xx"',
      'expect_status must be HTTP status codes such as "200-399" or "200,204", not "2xx"',
    ],
    [
      "check",
      'type = "http"\nexpect_body = "("',
      'expect_body must be a regular expression, not "("',
    ],
    [
      "check",
      'type = "command"\ncommand = []',
      'command must name a program (Write ["/path/to/program"])',
    ],
    [
      "check",
      'type = "command"\ncommand = ["true"]',
      'command[0] must be an absolute path, not "true" (Start it with /)',
    ],
    [
      "check",
      'type = "htp"',
      'type must be "tcp", "http", "mysql" or "command", not "htp" (Did you mean "http"?)',
    ],
    [
      "pool",
      'servers = ["db:3306"]',
      'servers[0] must be an address and port such as "192.0.2.11:3306", not "db:3306" (Host names are not resolved; write the address)',
    ],
    [
      "pool",
      'servers = ["192.0.2.1"]',
      'servers[0] must be an address and port such as "192.0.2.11:3306", not "192.0.2.1" (Add a port: "192.0.2.1:PORT")',
    ],
    [
      "pool",
      'servers = ["2001:db8::1"]',
      'servers[0] must be an address and port such as "192.0.2.11:3306", not "2001:db8::1" (Add a port: "[2001:db8::1]:PORT")',
    ],
    [
      "pool",
      'servers = ["0.0.0.0:80"]',
      'servers[0] must be an address and port such as "192.0.2.11:3306", not "0.0.0.0:80" (Name one address)',
    ],
    [
      "pool",
      'servers = [{ address = "192.0.2.1:80", weight = 257 }]',
      "weight must be an integer from 0 to 256, not 257",
    ],
    [
      "pool",
      'source = ["192.0.2.1/24"]',
      'source[0] must be an IPv4 or IPv6 address, not "192.0.2.1/24" (Leave out the prefix length)',
    ],
    [
      "pool",
      'on_down = "Close"',
      'on_down must be "keep" or "close", not "Close" (Did you mean "close"?)',
    ],
    ["pool", "check = 5", "check must be a table, not 5"],
    [
      "stream",
      'bind = ["*:80"]',
      'bind[0] must be an address and port such as "192.0.2.40:3306" or ":3306", not "*:80" (Write ":80" for every address)',
    ],
    [
      "stream",
      "bind = [80]",
      'bind[0] must be an address and port such as "192.0.2.40:3306" or ":3306", not 80 (Write ":80" for that port on every address)',
    ],
    [
      "stream",
      'bind = [":0"]',
      'bind[0] must be an address and port such as "192.0.2.40:3306" or ":3306", not ":0"',
    ],
    [
      "stream",
      'allow = ["10.0.0.1/8"]',
      '10.0.0.1/8 has bits set beyond its prefix length (Write "10.0.0.0/8" for the network, or "10.0.0.1" for the one address)',
    ],
    [
      "stream",
      'deny = ["2001:db8::1/33"]',
      '2001:db8::1/33 has bits set beyond its prefix length (Write "2001:db8::/33" for the network, or "2001:db8::1" for the one address)',
    ],
    [
      "stream",
      "max_connections = 0",
      "max_connections must be an integer from 1 to 1000000, not 0",
    ],
    [
      "stream",
      'idle_timeout = "25d"',
      'idle_timeout must be a duration from "10ms" to "24d", not "25d"',
    ],
  ] as const)("in %s: %s", (table, lines, problem) => {
    expect(judge(table, lines)).toEqual([`error: ${problem}`])
  })
})

describe("a missing key", () => {
  test.each([
    ["[[vrrp]]", ["name", "interface", "virtual_router_id", "addresses"], "[[vrrp]]"],
    ['[[pool]]\nservers = ["192.0.2.1:80"]', ["name"], "[[pool]]"],
    ["[[stream]]", ["name", "bind", "pool"], "[[stream]]"],
    ['[[check]]\ntype = "command"', ["name", "command"], "[[check]]"],
  ])("of %j", (text, keys, title) => {
    const ofType = (key: string) => (key === "command" ? `${title} of type "command"` : title)
    expect(problems(text)).toEqual(
      keys.map((key) => `1:1 error: ${ofType(key)} needs the key ${key} (Add a line: ${key} = …)`),
    )
  })

  test("of a server points at the server", () => {
    expect(problems('[[pool]]\nname = "p"\nservers = [{ weight = 1 }]')).toEqual([
      "3:12 error: an entry of servers needs the key address (Add a line: address = …)",
    ])
  })

  test("type of a check", () => {
    const hint = 'Add type = "tcp", "http", "mysql" or "command"'
    expect(problems('[[pool]]\nname="p"\nservers=["192.0.2.1:80"]\n[pool.check]')).toEqual([
      `4:1 error: [pool.check] needs the key type (${hint})`,
    ])
  })
})

describe("an unknown key", () => {
  test.each([
    ["vrrp", "priorty = 100", 'Unknown key "priorty" in [[vrrp]] (Did you mean "priority"?)'],
    [
      "vrrp",
      'advert_int = "1s"',
      'Unknown key "advert_int" in [[vrrp]] (It is called "advertisement_interval" here)',
    ],
    [
      "pool",
      'idle_timeout = "1s"',
      'Unknown key "idle_timeout" in [[pool]] (It is a key of [[stream]])',
    ],
    [
      "check",
      'type = "tcp"\npath = "/"',
      'Unknown key "path" in [[check]] of type "tcp" (It is a key of checks of type "http")',
    ],
    ["log", "colour = 1", 'Unknown key "colour" in [log] (Known keys: level, format, access)'],
    [
      "log",
      "__proto__ = 1",
      'Unknown key "__proto__" in [log] (Known keys: level, format, access)',
    ],
    ["log", '"a b" = 1', 'Unknown key "a b" in [log] (Known keys: level, format, access)'],
  ] as const)("in %s: %s", (table, line, problem) => {
    expect(judge(table, line)).toEqual([`error: ${problem}`])
  })

  test("at the top of the file", () => {
    expect(problems("[[pools]]\n[frontend]\n")).toEqual([
      '1:1 error: Unknown key "pools" in the file (Did you mean "pool"?)',
      '2:1 error: Unknown key "frontend" in the file (It is called "stream" here)',
    ])
  })
})

describe("what this version does not have", () => {
  const later = (what: string) =>
    expect.stringContaining(`${what} is not available in this version yet`)

  test.each([
    ["vrrp", 'unicast_peers = ["192.0.2.9"]', "unicast_peers"],
    ["vrrp", "virtual_mac = true", "virtual_mac = true"],
    ["vrrp", 'addresses = ["2001:db8::40"]', "An IPv6 virtual address"],
    ["check", 'type = "grpc"', 'type = "grpc"'],
    ["pool", 'balance = "maglev"', 'balance = "maglev"'],
    ["pool", 'balance = "random"', 'balance = "random"'],
    ["pool", 'proxy_protocol = "v2"', 'proxy_protocol = "v2"'],
    ["pool", 'kubernetes = { service = "a" }', "[pool.kubernetes]"],
    ["pool", '[pool.check]\ntype = "redis"', 'type = "redis"'],
    ["stream", 'protocol = "udp"', 'protocol = "udp"'],
    ["stream", 'mode = "kernel"', 'mode = "kernel"'],
    ["stream", "transparent = true", "transparent = true"],
    ["stream", 'accept_proxy_protocol = ["10.0.0.0/8"]', "accept_proxy_protocol"],
    ["stream", '[[stream.sni]]\nhosts = ["a"]', "[[stream.sni]]"],
    ["node", '[[http]]\nname = "web"', "[[http]]"],
    ["node", "[kubernetes]", "[kubernetes]"],
    ["node", "[[address_pool]]", "[[address_pool]]"],
    ["node", "[[publish]]", "[[publish]]"],
  ] as const)("in %s: %s", (table, lines, what) => {
    expect(judge(table, lines)).toEqual([later(what)])
  })

  test.each([
    ["vrrp", "unicast_peers = []\nvirtual_mac = false"],
    ["pool", 'proxy_protocol = "off"'],
    ["stream", 'protocol = "tcp"\nmode = "proxy"\ntransparent = false\naccept_proxy_protocol = []'],
  ] as const)("is accepted in %s when it asks for nothing: %s", (table, lines) => {
    expect(judge(table, lines)).toEqual([])
  })
})

test("a socket path has at most 107 bytes, as in sun_path", () => {
  const socket = (length: number) => `listen = ["unix:/${"x".repeat(length - 1)}"]`
  expect(judge("admin", socket(107))).toEqual([])
  expect(judge("admin", socket(108))).toHaveLength(1)
})

test("tables of the wrong kind are refused", () => {
  expect(problems('pool = 5\nvrrp = ["a"]\n[[node]]\n[stream]')).toEqual([
    "1:8 error: pool must be an array of tables, not 5",
    '2:9 error: vrrp[0] must be a table, not "a"',
    "3:1 error: node must be a table, not an array (Write its header with single brackets)",
    "4:1 error: stream must be an array of tables, not a table (Write [[stream]], with two brackets)",
  ])
})

test("a server given as text has the same defaults as one given as a table", () => {
  const pool = (server: string) => loadText(`[[pool]]\nname = "p"\nservers = [${server}]`)
  expect(pool('"192.0.2.1:80"')).toEqual(pool('{ address = "192.0.2.1:80" }'))
})

test("KNOWN_KEYS lists every table once", () => {
  expect([...KNOWN_KEYS.keys()]).toEqual([
    "the file",
    "[node]",
    "[admin]",
    "[log]",
    "[[vrrp]]",
    "authentication",
    "announce",
    "an entry of track",
    "[[pool]]",
    "an entry of servers",
    "[[stream]]",
    "[[check]]",
    'checks of type "tcp"',
    'checks of type "http"',
    'checks of type "mysql"',
    'checks of type "command"',
  ])
})
