/**
 * Any input at all: an error or a plan, never an exception. The shipped files are mutated by
 * characters, lines and values, and documents are made up from our own keys, because random text
 * rarely gets past the first line of the parser. A failure prints the seed to repeat it.
 */
import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import fc from "fast-check"
import { diagnosticJson, formatDiagnostic } from "./diagnostic.ts"
import { diffConfig, isEmptyDiff } from "./diff.ts"
import { loadText } from "./fixtures/load-text.ts"
import { KNOWN_KEYS } from "./known-keys.ts"
import type { LoadResult } from "./load.ts"
import { formatPlan, planJson } from "./plan.ts"

const FOLDER = join(import.meta.dir, "../../config")
const SHIPPED = readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".toml"))
  .sort()
  .map((name) => readFileSync(join(FOLDER, name), "utf8"))

const VALUES = [
  ...['""', '"0s"', '"1s"', '"99999999999d"', '"auto"', '":80"', '"[::]:80"', '"192.0.2.1:80"'],
  ...['"192.0.2.1"', '"192.0.2.1/24"', '"::/0"', '"fe80::1%eth0"', '"256.1.1.1:0"', '"a"', '"/x"'],
  ...['"unix:/x"', '"200-399"', '"("', '"type"', '"\\u0000\\n\\u001b[31m"', '"日本"', '"/missing"'],
  ...["0", "1", "-1", "255", "9223372036854775807", "1e400", "nan", "0x7f", "true", "false"],
  ...[
    "1979-05-27",
    "07:32:00",
    "[]",
    "[[]]",
    "{}",
    '[""]',
    "[1, true]",
    "[{}]",
    '{ type = "tcp" }',
  ],
  ...['{ type = "pass", password = "1" }', '[{ check = "a" }]', '["192.0.2.1:80", "192.0.2.2:80"]'],
]

const KEYS = [...new Set([...KNOWN_KEYS.values()].flat()), "http", "__proto__", "sni", '"a b"']

function judge(text: string): LoadResult {
  const result = loadText(text, { "/x": "x", "/etc/causeway/conf.d/more.toml": "[log]\n" })
  if (result.ok) judgePlan(result)
  else judgeDiagnostics(result, text)
  return result
}

function judgePlan({ config, warnings }: Extract<LoadResult, { ok: true }>): void {
  expect(formatPlan(config).length).toBeGreaterThan(1)
  expect(JSON.parse(JSON.stringify(planJson(config)))).toBeObject()
  expect(isEmptyDiff(diffConfig(config, structuredClone(config)))).toBe(true)
  expect(warnings.every(({ severity }) => severity === "warning")).toBe(true)
}

function judgeDiagnostics({ diagnostics }: Extract<LoadResult, { ok: false }>, text: string): void {
  expect(diagnostics.some(({ severity }) => severity === "error")).toBe(true)
  const lines = text.split("\n").length
  for (const diagnostic of diagnostics) {
    expect(diagnostic.message).not.toBe("")
    expect(diagnostic.line).toBeGreaterThan(0)
    expect(diagnostic.line).toBeLessThanOrEqual(lines)
    expect(diagnostic.column).toBeGreaterThan(0)
    expect(diagnostic.column).toBeLessThanOrEqual(diagnostic.sourceLine.length + 1)
    expect(formatDiagnostic(diagnostic)).toMatch(/^\S+:\d+:\d+: (error|warning): /)
    expect(JSON.stringify(diagnosticJson(diagnostic))).toContain(diagnostic.severity)
  }
}

const shipped = fc.constantFrom(...SHIPPED)
const place = fc.nat({ max: 1_000_000 })

const charMutation = fc.record({
  at: place,
  removed: fc.nat({ max: 12 }),
  inserted: fc.oneof(
    fc.string({ unit: "binary", maxLength: 4 }),
    fc.constantFrom(
      '"',
      "'",
      '"""',
      "[",
      "]",
      "{",
      "}",
      "=",
      ".",
      ",",
      "#",
      "\n",
      "\r",
      "\0",
      "\\",
    ),
    fc.constantFrom("\u{feff}", "\u{2028}", "\u{d800}", "[[", "]]", "\t", "0x", "1_", "inf"),
  ),
})

const lineMutation = fc.record({
  at: place,
  to: place,
  kind: fc.constantFrom("delete", "duplicate", "move", "value", "key", "join"),
  value: fc.constantFrom(...VALUES),
  key: fc.constantFrom(...KEYS),
})

type CharMutation = typeof charMutation extends fc.Arbitrary<infer T> ? T : never
type LineMutation = typeof lineMutation extends fc.Arbitrary<infer T> ? T : never

function mutateChars(text: string, { at, removed, inserted }: CharMutation): string {
  const start = at % (text.length + 1)
  return text.slice(0, start) + inserted + text.slice(start + removed)
}

function mutateLines(text: string, { at, to, kind, value, key }: LineMutation): string {
  const lines = text.split("\n")
  const index = at % lines.length
  const line = lines[index] ?? ""
  if (kind === "delete") lines.splice(index, 1)
  else if (kind === "duplicate") lines.splice(to % lines.length, 0, line)
  else if (kind === "move") lines.splice(to % lines.length, 0, ...lines.splice(index, 1))
  else if (kind === "value") lines[index] = line.replace(/=.*/, () => `= ${value}`)
  else if (kind === "key") lines[index] = line.replace(/\w+(?= *=)/, () => key)
  else lines.splice(index, 2, line + (lines[index + 1] ?? ""))
  return lines.join("\n")
}

const mutatedByChars = fc
  .tuple(shipped, fc.array(charMutation, { minLength: 1, maxLength: 4 }))
  .map(([text, mutations]) => mutations.reduce(mutateChars, text))

const mutatedByLines = fc
  .tuple(shipped, fc.array(lineMutation, { minLength: 1, maxLength: 4 }))
  .map(([text, mutations]) => mutations.reduce(mutateLines, text))

const header = fc.constantFrom(
  ...["[node]", "[admin]", "[log]", "[[vrrp]]", "[[check]]", "[[pool]]", "[[stream]]", "[[http]]"],
  ...["[pool.check]", "[vrrp.announce]", "[[vrrp.track]]", "[[pool.servers]]", "[vrrp]", "[a.b.c]"],
)

const assignment = fc
  .tuple(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES))
  .map(([key, value]) => `${key} = ${value}`)

const madeUp = fc
  .array(fc.oneof({ arbitrary: header, weight: 1 }, { arbitrary: assignment, weight: 3 }), {
    maxLength: 20,
  })
  .map((lines) => lines.join("\n"))

const inputs: [string, fc.Arbitrary<string>][] = [
  ["shipped files with changed characters", mutatedByChars],
  ["shipped files with changed lines", mutatedByLines],
  ["documents made up of our keys", madeUp],
  ["random text", fc.string({ unit: "binary", maxLength: 200 })],
]

test.each(inputs)("loadConfig() answers an error or a plan for %s", (_title, input) => {
  const seen = { plans: 0, errors: 0 }
  fc.assert(
    fc.property(input, (text) => {
      seen[judge(text).ok ? "plans" : "errors"]++
    }),
    { numRuns: 2000, interruptAfterTimeLimit: 1200 },
  )
  expect(seen.errors).toBeGreaterThan(10)
})

test("loadConfig() answers a plan for some of the changed files", () => {
  const plans = fc
    .sample(mutatedByLines, { numRuns: 200, seed: 1 })
    .filter((text) => judge(text).ok)
  expect(plans.length).toBeGreaterThan(10)
})
