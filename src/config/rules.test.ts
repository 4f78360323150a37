/** What is said about values that are right alone and wrong together. */
import { describe, expect, test } from "bun:test"
import { type MemoryFiles, problems } from "./load-text.ts"

const POOL = '[[pool]]\nname="p"\nservers=["192.0.2.1:80"]\n'
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\n"

/** A `[[vrrp]]` whose keys can be replaced. */
function vrrp(keys: Readonly<Record<string, string>>): string {
  const all = {
    name: '"v"',
    interface: '"eth0"',
    virtual_router_id: "1",
    addresses: '["192.0.2.40"]',
    ...keys,
  }
  return `[[vrrp]]\n${Object.entries(all)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join("")}`
}

function stream(name: string, bind: string): string {
  return `[[stream]]\nname = "${name}"\nbind = ${bind}\npool = "p"\n`
}

describe("names", () => {
  test("are unique per kind", () => {
    expect(problems(`${POOL}${POOL}${stream("p", '[":80"]')}`)).toEqual([
      '5:6 error: There are two [[pool]] named "p" (The first is at /etc/causeway/causeway.toml:2)',
    ])
  })

  test("of a stream's pool exist", () => {
    expect(problems(stream("s", '[":80"]'))).toEqual([
      '4:8 error: There is no [[pool]] named "p" (Add a [[pool]] with name = "p")',
    ])
    expect(
      problems(`${POOL}${stream("s", '[":80"]').replace('pool = "p"', 'pool = "other"')}`),
    ).toEqual(['7:8 error: There is no [[pool]] named "other" (There are: p)'])
  })

  test("of what is tracked exist, but interfaces may come later", () => {
    const track =
      '[{ check = "c" }, { interface = "nope" }, { pool = "q", weight = -1 }, { pool = "p" }]'
    expect(problems(`${vrrp({ track })}${POOL}`)).toEqual([
      '6:20 error: There is no [[check]] named "c" (Add a [[check]] with name = "c")',
      '6:60 error: There is no [[pool]] named "q" (Did you mean "p"?)',
    ])
  })

  test("of a pool with a wrong value still exist", () => {
    expect(problems(`${POOL}max_fails = -1\n${stream("s", '[":80"]')}`)).toEqual([
      "4:13 error: max_fails must be an integer from 0 to 1000, not -1",
    ])
  })
})

describe("listeners", () => {
  test.each([
    [
      '["192.0.2.40:80", "192.0.2.40:81"]',
      '["192.0.2.40:80"]',
      ['10:9 error: 192.0.2.40:80 is already used by stream "a" (Choose another port or address)'],
    ],
    [
      '[":80"]',
      '["[::]:80"]',
      ['10:9 error: :80 is already used by stream "a" (Choose another port or address)'],
    ],
    [
      '["192.0.2.40:80", "192.0.2.40:80"]',
      '[":81"]',
      ['6:26 error: 192.0.2.40:80 is already used by stream "a" (Choose another port or address)'],
    ],
    [
      '["192.0.2.40:80"]',
      '["0.0.0.0:80"]',
      [
        '6:9 warning: 192.0.2.40:80 (stream "a") overlaps with 0.0.0.0:80 (stream "b") (Connections to 192.0.2.40:80 go to stream "a" alone)',
      ],
    ],
    [
      '[":80"]',
      '["192.0.2.40:80", "[2001:db8::1]:80"]',
      [
        '10:9 warning: 192.0.2.40:80 (stream "b") overlaps with :80 (stream "a") (Connections to 192.0.2.40:80 go to stream "b" alone)',
        '10:26 warning: [2001:db8::1]:80 (stream "b") overlaps with :80 (stream "a") (Connections to [2001:db8::1]:80 go to stream "b" alone)',
      ],
    ],
    ['["0.0.0.0:80"]', '["[2001:db8::1]:80"]', []],
    ['["192.0.2.40:80"]', '["192.0.2.41:80", "192.0.2.40:81"]', []],
    [
      '["127.0.0.1:9180"]',
      '[":81"]',
      ["6:9 error: 127.0.0.1:9180 is already used by [admin] (Choose another port or address)"],
    ],
    [
      '[":9180"]',
      '[":81"]',
      [
        '6:9 warning: 127.0.0.1:9180 ([admin]) overlaps with :9180 (stream "a") (Connections to 127.0.0.1:9180 go to [admin] alone)',
      ],
    ],
    ["[]", '[":81"]', ["6:8 error: A stream needs at least one address to listen on"]],
  ])("%s and %s", (first, second, expected) => {
    expect(problems(`${POOL}${stream("a", first)}${stream("b", second)}`)).toEqual(expected)
  })
})

describe("[admin]", () => {
  test.each([
    [
      'listen = [":9180"]',
      '2:11 error: [admin] needs token_file to listen beyond loopback (Add token_file, or listen on "127.0.0.1:9180")',
    ],
    ['listen = ["unix:/a", "unix:/a"]', "2:22 error: /a is listed twice"],
    [
      'listen = [":9180"]\ntoken_file = "/token"',
      "3:14 error: Cannot read /token: no such file (ENOENT)",
    ],
    ['token_file = "/empty"', "2:14 error: /empty is empty"],
  ])("with %s", (lines, problem) => {
    expect(problems(`[admin]\n${lines}\n`, { "/empty": "\n" })).toEqual([problem])
  })

  test("may listen on loopback, and anywhere with a token", () => {
    expect(problems('[admin]\nlisten = ["127.0.0.2:1", "[::1]:2"]')).toEqual([])
    expect(problems('[admin]\nlisten = [":1"]\ntoken_file = "/token"', { "/token": "x" })).toEqual(
      [],
    )
  })
})

describe("[[vrrp]]", () => {
  test.each([
    [
      { version: "2", advertisement_interval: '"1500ms"' },
      '7:26 error: Version 2 advertises in steps of 1s, from 1s to 255s (Write whole seconds such as "1s", or use version = 3)',
    ],
    [
      { advertisement_interval: '"15ms"' },
      "6:26 error: Version 3 advertises in steps of 10ms, from 10ms to 40.95s",
    ],
    [
      { advertisement_interval: '"41s"' },
      "6:26 error: Version 3 advertises in steps of 10ms, from 10ms to 40.95s",
    ],
    [
      { authentication: '{ type = "pass", password = "42" }' },
      "6:18 error: Version 3 has no authentication (RFC 9568 §9) (Remove it, or set version = 2)",
    ],
    [
      { priority: "255", preempt: "false" },
      "7:11 error: The address owner (priority = 255) always preempts (RFC 9568 §6.1) (Remove preempt = false, or use a priority up to 254)",
    ],
    [
      { preempt: "false", preempt_delay: '"5s"' },
      "7:17 warning: preempt_delay does nothing with preempt = false",
    ],
    [
      { track: '[{ interface = "a", weight = 0 }]' },
      "6:38 error: weight = 0 changes nothing (Leave weight out: being down then means fault)",
    ],
    [
      { priority: "255", track: '[{ interface = "a", weight = -1 }]' },
      "7:38 error: The priority of the address owner (255) is fixed (Leave weight out, or use a priority up to 254)",
    ],
    [
      { preempt: "false", track: '[{ interface = "a", weight = -1 }]' },
      "7:38 warning: With preempt = false a weight may never cause a failover (Leave weight out (fault): a backup that does not preempt ignores a lower priority)",
    ],
    [
      { track: '[{ interface = "a" }, { interface = "a", weight = 1 }]' },
      '6:31 error: interface "a" is tracked twice',
    ],
    [{ addresses: '["224.0.0.1"]' }, "5:14 error: 224.0.0.1 cannot be the address of a host"],
    [{ addresses: "[]" }, "5:13 error: A virtual router needs at least one address"],
    [{ addresses: '["127.0.0.1"]' }, "5:14 error: 127.0.0.1 cannot be the address of a host"],
    [
      { addresses: '["192.0.2.1", "192.0.2.1"]' },
      "5:27 error: 192.0.2.1 is listed twice (First at /etc/causeway/causeway.toml:5)",
    ],
    [
      { unadvertised_addresses: '["192.0.2.40"]' },
      "6:27 error: 192.0.2.40 is listed twice (First at /etc/causeway/causeway.toml:5)",
    ],
    [
      { addresses: '["192.0.2.1/24"]' },
      '5:14 warning: With /24 the host may choose 192.0.2.1 as its own source address (Write "192.0.2.1" unless hosts on the link need that)',
    ],
    [
      { notify: '"/opt/notify"' },
      "6:10 warning: Cannot find the program /opt/notify: no such file (ENOENT)",
    ],
  ])("with %j", (keys, problem) => {
    expect(problems(vrrp(keys as Record<string, string>))).toEqual([problem])
  })

  test.each([
    { version: "2", advertisement_interval: '"255s"' },
    { version: "2", authentication: '{ type = "pass", password = "12345678" }' },
    { advertisement_interval: '"40950ms"' },
    { priority: "255" },
    { track: '[{ interface = "a" }, { interface = "b", weight = 253 }]' },
    { lease: '"0s"' },
  ])("may have %j", (keys) => {
    expect(problems(vrrp(keys as Record<string, string>))).toEqual([])
  })

  test("carries at most 255 advertised addresses", () => {
    const list = (count: number) =>
      `[${Array.from({ length: count }, (_, index) => `"10.0.${index >> 7}.${index & 127}"`).join(", ")}]`
    expect(problems(vrrp({ addresses: list(255) }))).toEqual([])
    expect(problems(vrrp({ addresses: list(256) }))).toEqual([
      "5:13 error: An advertisement carries at most 255 addresses (Move the others to unadvertised_addresses)",
    ])
  })

  test("has its own VRID on an interface and its own addresses", () => {
    const second = vrrp({ name: '"w"', addresses: '["192.0.2.40", "192.0.2.41"]' })
    expect(problems(vrrp({}) + second)).toEqual([
      "9:21 error: virtual_router_id 1 is already used on eth0 (Choose another; the first is at /etc/causeway/causeway.toml:4)",
      "10:14 error: 192.0.2.40 is listed twice (First at /etc/causeway/causeway.toml:5)",
    ])
    const elsewhere = { name: '"w"', interface: '"eth1"', addresses: '["192.0.2.41"]' }
    expect(problems(vrrp({}) + vrrp(elsewhere))).toEqual([])
  })

  test("reads a password from a file, and warns when everybody can", () => {
    const authentication = '{ type = "pass", password_file = "/pw" }'
    const text = vrrp({ version: "2", authentication })
    expect(problems(text)).toEqual(["7:51 error: Cannot read /pw: no such file (ENOENT)"])
    expect(problems(text, { "/pw": "42\n" })).toEqual([])
    expect(problems(text, { "/pw": "123456789\n" })).toEqual([
      "7:51 error: The password must be 1 to 8 bytes long, not 9 (keepalived uses only the first 8 bytes of a longer one)",
    ])
    expect(problems(text, { "/pw": { text: "42", mode: 0o644 } })).toEqual([
      "7:51 warning: Every user may read /pw (Run chmod o-r /pw)",
    ])
  })
})

describe("a check", () => {
  const check = (lines: string, files: MemoryFiles = {}) =>
    problems(`[[check]]\nname = "c"\naddress = "192.0.2.1:80"\n${lines}\n`, files)

  test.each([
    [
      'type = "tcp"\ntimeout = "3s"',
      "5:11 warning: timeout is longer than interval (Checks will run less often than asked)",
    ],
    [
      'type = "tcp"\ninterval = "500ms"',
      "5:12 warning: timeout is longer than interval (Checks will run less often than asked)",
    ],
    [
      'type = "tcp"\nport = 3306',
      '4:8 warning: A check of type "tcp" makes MySQL and MariaDB block this host after 100 checks (Use type = "mysql"; it needs no login)',
    ],
    [
      'type = "http"\ntls = true\nca_file = "/ca"',
      "6:11 error: Cannot read /ca: no such file (ENOENT)",
    ],
    [
      'type = "http"\ntls = true\nca_file = "/text"',
      "6:11 error: There is no certificate in /text (It must be a PEM file)",
    ],
    ['type = "http"\nca_file = "/pem"', "5:11 error: ca_file needs tls = true"],
    [
      'type = "http"\ntls = true\ntls_verify = false\nca_file = "/pem"',
      "7:11 warning: ca_file does nothing with tls_verify = false",
    ],
    [
      'type = "mysql"\npassword_file = "/text"',
      '5:17 error: password_file needs a user (Add user = "…", or remove it to check the handshake alone)',
    ],
    [
      'type = "mysql"\ndatabase = "d"',
      '5:12 error: database needs a user (Add user = "…", or remove it to check the handshake alone)',
    ],
    [
      'type = "mysql"\nuser = "u"\npassword_file = "/pw"',
      "6:17 error: Cannot read /pw: no such file (ENOENT)",
    ],
    [
      'type = "command"\ncommand = ["/opt/x"]',
      "5:12 warning: Cannot find the program /opt/x: no such file (ENOENT)",
    ],
    [
      'type = "command"\ncommand = ["/text"]',
      "5:12 warning: /text is not executable (Run chmod +x /text)",
    ],
  ])("with %j", (lines, problem) => {
    expect(check(lines, { "/pem": CERTIFICATE, "/text": "x" })).toEqual([problem])
  })

  test("may take as long as its interval", () => {
    expect(check('type = "tcp"\ninterval = "1s"\ntimeout = "1s"')).toEqual([])
  })

  test("needs an address unless it is a command", () => {
    expect(problems('[[check]]\nname = "c"\ntype = "http"')).toEqual([
      '1:1 error: [[check]] of type "http" needs the key address (Add address = "192.0.2.11:6443")',
    ])
    const program = { "/x": { text: "", mode: 0o755 } }
    expect(problems('[[check]]\nname = "c"\ntype = "command"\ncommand = ["/x"]', program)).toEqual(
      [],
    )
  })

  test('of type "tcp" on a MySQL server of a pool is warned about', () => {
    const pool =
      '[[pool]]\nname="p"\nservers=["192.0.2.1:80","192.0.2.1:3306"]\n[pool.check]\ntype="tcp"\n'
    expect(problems(pool)).toEqual([
      '5:6 warning: A check of type "tcp" makes MySQL and MariaDB block this host after 100 checks (Use type = "mysql"; it needs no login)',
    ])
    expect(problems(`${pool}port=80\n`)).toEqual([])
  })
})

describe("a pool", () => {
  test.each([
    ["servers = []", "3:11 warning: The pool has no servers: its connections will be refused"],
    ["", "1:1 warning: The pool has no servers: its connections will be refused"],
    [
      'servers = [{ address = "192.0.2.1:80", weight = 0 }]',
      "3:11 warning: Every server has weight = 0: connections will be refused",
    ],
    [
      'servers = [{ address = "192.0.2.1:80", backup = true }]',
      "3:11 warning: Every server is a backup (Backup servers are used only while all others are down; remove backup = true)",
    ],
    [
      'servers = ["192.0.2.1:80", "192.0.2.1:80"]',
      '3:28 error: There are two servers named "192.0.2.1:80" in this pool',
    ],
    [
      'servers = ["192.0.2.1:80", { address = "192.0.2.1:80", name = "b" }]',
      '3:28 warning: 192.0.2.1:80 is already in this pool, as "192.0.2.1:80" (To give it more load, use weight)',
    ],
    [
      'servers = ["192.0.2.1:80"]\nsource = ["0.0.0.0"]',
      "4:11 error: source must be one address of this host, not 0.0.0.0 (Leave it out: the kernel chooses)",
    ],
  ])("with %s", (lines, problem) => {
    expect(problems(`[[pool]]\nname = "p"\n${lines}\n`)).toEqual([problem])
  })
})
