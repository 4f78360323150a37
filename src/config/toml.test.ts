/** The tree and its positions, and what is said about text that is not TOML. */
import { expect, test } from "bun:test"
import { Report } from "./report.ts"
import { lineAndColumn, lineOf } from "./source.ts"
import { locate, parseToml, type TomlTable } from "./toml.ts"

function tree(text: string): TomlTable {
  const result = parseToml({ path: "t.toml", text })
  if (!result.ok) throw new Error(result.diagnostic.message)
  return result.table
}

test.each([
  [["a"], "integer", "1:8", "a"],
  [["b c", "d"], "string", "2:11", '"b c".d'],
  [["x", "y"], "table", "3:1", "x.y"],
  [["x", "y", "k", 1], "string", "4:13", "x.y.k[1]"],
  [["x", "y", "k", 2, "a", "b"], "float", "4:26", "x.y.k[2].a.b"],
  [["z", 1, "flag"], "boolean", "8:8", "z[1].flag"],
  [["z", 1, "sub", "when"], "datetime", "10:8", "z[1].sub.when"],
  [["z", 0], "table", "5:1", "z[0]"],
])("parseToml() knows where %p is", (steps, type, place, path) => {
  const root = tree(DOCUMENT)
  const node = locate(root, ...steps)
  const { line, column } = lineAndColumn(DOCUMENT, node.offset)
  expect([node.type, `${line}:${column}`, new Report(root).path(node)]).toEqual([type, place, path])
})

const DOCUMENT = `a   =  1
"b c".d = "x"
[x.y]
  k =  [ 1, "2", { a.b = 1.5 } ]
[[z]]
[[z]]

flag = true
[z.sub]
when = 1979-05-27
`

test("locate() answers the nearest node that exists", () => {
  const root = tree(DOCUMENT)
  expect(locate(root, "x", "y", "k", 7, "a")).toBe(locate(root, "x", "y", "k"))
  expect(locate(root, "nothing")).toBe(root)
})

test("parseToml() reads keys that JavaScript objects have", () => {
  const root = tree('__proto__ = 1\nconstructor = "x"\ntoString.valueOf = 2')
  expect([...root.entries.keys()]).toEqual(["__proto__", "constructor", "toString"])
})

test.each([
  ["priority = abc", "1:12", "Text, durations and addresses need quotes", 'Write priority = "abc"'],
  ["a = 1\nt = 3s # x", "2:6", "Text, durations and addresses need quotes", 'Write t = "3s"'],
  ['name = "x', "1:10", "The text has no closing quote", 'End it with "'],
  ["name: x", "1:5", 'Expected "=" between key and value, found ":"', "Write name = x"],
  ["name x", "1:6", 'Expected "=" after the key', "A line is: key = value"],
  ["name =", "1:7", "The value is missing", "A line is: key = value"],
  ["[[vrrp]", "1:8", "The table header is not closed", "Write [[name]]"],
  ["[vrrp", "1:6", "The table header is not closed", "Write [name]"],
  ["a = [1,\n", "2:1", "The file ends too early", "Close the last bracket, brace or quote"],
  ["a = [1\nb = 2", "2:1", 'Unexpected "b"', "A bracket or a quote further up may still be open"],
  ["a = [1.2.3.4]", "1:9", 'Unexpected "."', "Text, durations and addresses need quotes"],
  ["a = { b = x }", "1:11", 'Unexpected "x"', "Text, durations and addresses need quotes"],
  ["\r", "1:1", "The file ends too early", "Close the last bracket, brace or quote"],
  ["= 1", "1:1", 'Unexpected "="', ""],
  ["\u0000", "1:1", 'Unexpected "\\u0000"', ""],
  ['a = "\\q"', "1:6", "Invalid escape sequence", ""],
  ["a = 1\na = 2", "2:1", "Cannot redefine existing key 'a'", ""],
  ["[a]\n[a]", "2:1", "Cannot redefine existing key 'a'", ""],
  ["a = 1979-13-01", "1:5", "Invalid date: month 13 out of range", ""],
  [`a = ${"[".repeat(40)}`, "1:37", "Maximum nesting depth of 32 exceeded", ""],
])("parseToml() refuses %j", (text, place, message, hint) => {
  const result = parseToml({ path: "t.toml", text })
  if (result.ok) throw new Error("It was accepted")
  const { line, column, sourceLine, ...rest } = result.diagnostic
  expect({ place: `${line}:${column}`, message: rest.message, hint: rest.hint }).toEqual({
    place,
    message,
    hint,
  })
  expect(rest).toMatchObject({ file: "t.toml", path: "", severity: "error" })
  expect(sourceLine).toBe(text.split(/\r?\n|\r$/)[line - 1] ?? "")
})

test("parseToml() survives a key path deeper than the stack", () => {
  const result = parseToml({ path: "t.toml", text: `[${"a.".repeat(50_000)}a]` })
  expect(result.ok).toBe(true)
})

test("lineAndColumn() counts a line end to its line", () => {
  expect([0, 1, 2, 3].map((offset) => lineAndColumn("a\nb", offset))).toEqual([
    { line: 1, column: 1 },
    { line: 1, column: 2 },
    { line: 2, column: 1 },
    { line: 2, column: 2 },
  ])
})

test("lineOf() leaves out the line end", () => {
  expect([1, 2, 3, 4].map((line) => lineOf("a\r\nb\nc", line))).toEqual(["a", "b", "c", ""])
})
