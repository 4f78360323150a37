/** What each key takes, and what is said when it gets something else: `fixtures/values.txt`. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { loadText, parseCases, problems } from "./fixtures/load-text.ts"
import { KNOWN_KEYS } from "./known-keys.ts"

const CASES = parseCases(readFileSync(`${import.meta.dir}/fixtures/values.txt`, "utf8"))

test.each(CASES.map((one) => [one.kind, one.text.trim(), one] as const))(
  "values.txt: in %s: %s",
  (_kind, _text, { kind, text, expected }) => {
    expect(judge(kind, text)).toEqual([...expected])
  },
)

test("values.txt is read to its end", () => {
  expect(CASES.length).toBe(93)
  expect(CASES.at(-1)?.kind).toBe("stream")
})

test("a socket path has at most 107 bytes, as in sun_path", () => {
  const socket = (length: number) => `listen = ["unix:/${"x".repeat(length - 1)}"]`
  expect(judge("admin", socket(107))).toEqual([])
  expect(judge("admin", socket(108))).toEqual([
    "error: A socket path must be absolute and at most 107 bytes long",
    'hint: Write "unix:/run/causeway/admin.sock"',
  ])
})

test("a server given as text has the same defaults as one given as a table", () => {
  const pool = (server: string) => loadText(`[[pool]]\nname = "p"\nservers = [${server}]`)
  expect(pool('"192.0.2.1:80"')).toMatchObject({ ok: true })
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
    "[pool.tls]",
    "[pool.kubernetes]",
    "an entry of servers",
    "[[stream]]",
    "[[http]]",
    "an entry of bind",
    "tls",
    "an entry of certificates",
    "[[http.route]]",
    "redirect",
    "respond",
    "an entry of split",
    "a condition with a pattern",
    "retry",
    "sticky",
    "rate_limit",
    "basic_auth",
    "forward_auth",
    "cors",
    "[kubernetes]",
    "[[address_pool]]",
    "[[publish]]",
    "[[check]]",
    'checks of type "tcp"',
    'checks of type "http"',
    'checks of type "mysql"',
    'checks of type "command"',
  ])
})

/** Below the smallest table of its kind, and without the key that the lines set. */
function judge(kind: string, lines: string): string[] {
  const key = /^\s*(\w+)/.exec(lines)?.[1] ?? ""
  const table = (TABLES.get(kind) ?? []).filter((line) => !line.startsWith(`${key} =`))
  const text = `${table.join("\n")}\n${lines}\n`
  return problems(text).map((line) => line.replace(/^\d+:\d+ /, ""))
}

const POOL = ["[[pool]]", 'name = "p"', 'servers = ["192.0.2.1:80"]']
const TABLES: ReadonlyMap<string, readonly string[]> = new Map([
  ["node", ["[node]"]],
  ["admin", ["[admin]"]],
  ["log", ["[log]"]],
  [
    "vrrp",
    [
      "[[vrrp]]",
      'name = "v"',
      'interface = "e"',
      "virtual_router_id = 1",
      'addresses = ["192.0.2.1"]',
    ],
  ],
  ["check", ["[[check]]", 'name = "c"', 'address = "192.0.2.1:80"']],
  ["pool", POOL],
  ["stream", [...POOL, "[[stream]]", 'name = "s"', 'bind = [":80"]', 'pool = "p"']],
])
