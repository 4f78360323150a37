/** What `[[http]]` and `[[http.route]]` take: `fixtures/http-values.txt`. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { loadText, parseCases, problems } from "./fixtures/load-text.ts"
import type { RouteConfig } from "./http-config.ts"

const CASES = parseCases(readFileSync(`${import.meta.dir}/fixtures/http-values.txt`, "utf8"))

test.each(CASES.map((one) => [one.kind, one.text.trim(), one] as const))(
  "http-values.txt: in %s: %s",
  (_kind, _text, { kind, text, expected }) => {
    const said = problems(document(kind, text)).map((line) => line.replace(/^\d+:\d+ /, ""))
    expect(said).toEqual([...expected])
  },
)

test("http-values.txt is read to its end", () => {
  expect(CASES.length).toBe(85)
  expect(CASES.at(-1)?.text.trim()).toBe('proxy_set_header = "X"')
})

test("a size may be a bare zero, which is no limit", () => {
  expect(firstRoute('max_body = "0"').maxBodyBytes).toBe(0)
})

test("a rate limit lets as many through at once as in its period, unless it says otherwise", () => {
  expect(firstRoute("rate_limit = { requests = 7 }").rateLimit).toEqual({
    requests: 7,
    perMs: 1000,
    burst: 7,
    header: "",
    scope: "",
    exempt: [],
  })
})

test("routes without a name get host and path, each another one", () => {
  const text = document("route", "").replace(/$/, routes(4))
  expect(load(text).map(({ name }) => name)).toEqual([
    "*/",
    "k8s.com/a",
    "k8s.com/a#2",
    "k8s.com=/a",
    "k8s.com/a#3",
  ])
})

function routes(count: number): string {
  const route = (more: string) =>
    `[[http.route]]\nhost = "k8s.com"\npath = "/a"\nrespond = 404\n${more}`
  const more = ["", 'methods = ["GET"]\n', 'match = "exact"\n', 'methods = ["PUT"]\n']
  return more.slice(0, count).map(route).join("")
}

const POOL = ["[[pool]]", 'name = "p"', 'servers = ["192.0.2.1:80"]']
const HTTP = ["[[http]]", 'name = "h"', 'bind = [":80"]']
const ROUTE = ["[[http.route]]", 'pool = "p"']

/** The smallest document with these lines in its listener or route. */
function document(kind: string, lines: string): string {
  const key = /^\s*(\w+)/.exec(lines)?.[1] ?? ""
  const isOther = (line: string) => !line.startsWith(`${key} =`)
  if (kind === "http") return [...POOL, ...HTTP.filter(isOther), lines, ...ROUTE, ""].join("\n")
  return [...POOL, ...HTTP, ...ROUTE.filter(isOther), lines, ""].join("\n")
}

function firstRoute(lines: string): RouteConfig {
  return load(document("route", lines))[0] as RouteConfig
}

function load(text: string): readonly RouteConfig[] {
  const result = loadText(text)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.config.http[0]?.routes ?? []
}

test("a fixed response is as large as a data thread writes at once, and no larger", () => {
  const responding = (body: string) => {
    const route = `[[http.route]]\nrespond = { body = "${body}" }\n`
    return loadText(`[[http]]\nname = "h"\nbind = [":80"]\n${route}`)
  }
  const largest = "é".repeat(128 * 1024)
  expect(responding(largest).ok).toBe(true)
  const refused = responding(`${largest}x`)
  expect(refused.ok ? [] : refused.diagnostics.map(({ message }) => message)).toEqual([
    "body must be at most 256KiB",
  ])
})
