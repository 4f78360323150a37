/** How diagnostics read: position, source line, caret, hint. */
import { expect, test } from "bun:test"
import {
  type Diagnostic,
  diagnosticJson,
  formatDiagnostic,
  formatDiagnostics,
  sortDiagnostics,
} from "./diagnostic.ts"

const diagnostic: Diagnostic = {
  severity: "error",
  file: "causeway.toml",
  line: 12,
  column: 12,
  path: "vrrp[0].priority",
  message: "priority must be an integer from 1 to 255, not 300",
  hint: "Write a smaller one",
  sourceLine: "priority = 300",
}

test("formatDiagnostic() shows place, line, caret and hint", () => {
  expect(formatDiagnostic(diagnostic)).toBe(
    [
      "causeway.toml:12:12: error: priority must be an integer from 1 to 255, not 300",
      "    priority = 300",
      "               ^",
      "hint: Write a smaller one",
    ].join("\n"),
  )
})

test("formatDiagnostic() shows no line when it is about the whole file", () => {
  const whole = { ...diagnostic, line: 0, column: 0, message: "Cannot read it", hint: "" }
  expect(formatDiagnostic(whole)).toBe("causeway.toml: error: Cannot read it")
})

test.each([
  ["\tname = 1", 9, "\t       ^"],
  ["a = '日本', x", 11, "            ^"],
  ["", 1, "^"],
])("formatDiagnostic() puts the caret under the column of %p", (sourceLine, column, caret) => {
  const lines = formatDiagnostic({ ...diagnostic, sourceLine, column }).split("\n")
  expect(lines[2]).toBe(`    ${caret}`)
})

test("formatDiagnostic() shows no control characters, but their place", () => {
  const sourceLine = "a = '\u{1b}[31m\u{0}' x"
  const lines = formatDiagnostic({ ...diagnostic, sourceLine, column: 14 }).split("\n")
  expect(lines[1]).toBe("    a = '\u{FFFD}[31m\u{FFFD}' x")
  expect(lines[2]).toBe("                 ^")
})

test("formatDiagnostic() shows a window of a long line", () => {
  const sourceLine = `${"a".repeat(5000)}X${"b".repeat(5000)}`
  const lines = formatDiagnostic({ ...diagnostic, sourceLine, column: 5001 }).split("\n")
  expect(lines[1]).toBe(`    ${"a".repeat(100)}X${"b".repeat(59)}`)
  expect(lines[2]).toBe(`    ${" ".repeat(100)}^`)
})

test("formatDiagnostics() separates them by an empty line", () => {
  const whole = { ...diagnostic, line: 0, message: "x", hint: "" }
  expect(formatDiagnostics([whole, whole])).toBe(
    "causeway.toml: error: x\n\ncauseway.toml: error: x",
  )
})

test("diagnosticJson() has the keys of the admin API", () => {
  expect(diagnosticJson(diagnostic)).toEqual({
    severity: "error",
    file: "causeway.toml",
    line: 12,
    column: 12,
    path: "vrrp[0].priority",
    message: "priority must be an integer from 1 to 255, not 300",
    hint: "Write a smaller one",
    source_line: "priority = 300",
  })
})

test("sortDiagnostics() goes file by file in reading order, then downwards", () => {
  const at = (file: string, line: number, column: number) => ({ ...diagnostic, file, line, column })
  const sorted = sortDiagnostics(
    [at("b", 1, 1), at("z", 3, 1), at("z", 2, 5), at("unread", 1, 1), at("z", 2, 4)],
    ["z", "b"],
  )
  expect(sorted.map(({ file, line, column }) => `${file}:${line}:${column}`)).toEqual([
    "z:2:4",
    "z:2:5",
    "z:3:1",
    "b:1:1",
    "unread:1:1",
  ])
})
