/** Methods, headers and query parameters that a route asks for. */
import { expect, test } from "bun:test"
import { decide, outcome, route, routeTable } from "./fixtures/routing.ts"

const HEADER_CASES = [
  ['{ X-A = "1" }', ["X-A: 1"], true],
  ['{ X-A = "1" }', ["x-a: 1"], true],
  ['{ X-A = "1" }', ["X-A: 2", "X-A: 1"], true],
  ['{ X-A = "1" }', ["X-A: 11"], false],
  ['{ X-A = "1" }', ["X-AB: 1"], false],
  ['{ X-A = "1" }', [], false],
  ["{ X-A = true }", ["X-A:"], true],
  ["{ X-A = true }", [], false],
  ["{ X-A = false }", [], true],
  ["{ X-A = false }", ["X-A: 1"], false],
  ['{ X-A = "\u00e9" }', ["X-A: \xc3\xa9"], true],
  ['{ X-A = { pattern = "^v[12]$" } }', ["X-A: v2"], true],
  ['{ X-A = { pattern = "v" } }', ["X-A: a", "X-A: av1"], true],
  ['{ X-A = { pattern = "^$" } }', [], false],
  // A name that the parser knows by number
  ['{ Cookie = "a=1" }', ["Cookie: a=1"], true],
  ["{ Origin = true }", ["X-Origin: 1"], false],
  ["{ X-A = true, X-B = true }", ["X-B: 1"], false],
] as const

test.each(HEADER_CASES)("headers = %s with %j: %p", (headers, fields, isMet) => {
  const table = routeTable(route("a", `headers = ${headers}`))
  expect(outcome(decide(table, "/", fields))).toBe(isMet ? "a" : "404")
})

test.each([
  ['{ a = "1" }', "/?a=1", true],
  ['{ a = "1" }', "/?b=2&a=1", true],
  ['{ a = "1" }', "/?a=2", false],
  ['{ a = "1" }', "/a=1", false],
  ['{ a = "b c" }', "/?a=b+c", true],
  ['{ a = "b c" }', "/?a=b%20c", true],
  ['{ a = "\u00e9" }', "/?a=%C3%A9", true],
  ['{ a = "1" }', "/?%61=%31", true],
  // The first counts, as with Gateway API
  ['{ a = "1" }', "/?a=2&a=1", false],
  ["{ a = true }", "/?a", true],
  ["{ a = true }", "/?A", false],
  ["{ a = false }", "/?b", true],
  ["{ a = false }", "/?a=", false],
  ['{ a = "" }', "/?a=", true],
  ['{ a = { pattern = "^.x" } }', "/?a=%C3%A9x", true],
  ['{ a = { pattern = "x" } }', "/?b=x", false],
])("query = %s of %s: %p", (query, line, isMet) => {
  const table = routeTable(route("a", `query = ${query}`))
  expect(outcome(decide(table, line))).toBe(isMet ? "a" : "404")
})

test.each([
  ["GET", true],
  ["HEAD", true],
  ["PUT", true],
  ["POST", false],
  ["OPTIONS", false],
])('methods = ["GET", "PUT"] with %s: %p', (method, isMet) => {
  const table = routeTable(route("a", 'methods = ["GET", "PUT"]'))
  expect(outcome(decide(table, `${method} /`))).toBe(isMet ? "a" : "404")
})

test("HEAD needs GET", () => {
  const table = routeTable(route("a", 'methods = ["PUT"]'))
  expect(outcome(decide(table, "HEAD /"))).toBe("404")
})

test("a preflight asks for the route of the method it names, where that route has CORS", () => {
  const preflight = ["Origin: https://a.example", "Access-Control-Request-Method: PUT"]
  const cors = 'cors = { allow_origins = ["*"] }'
  const table = routeTable(
    route("a", `path = "/a"; methods = ["PUT"]; ${cors}`) + route("b", 'methods = ["PUT"]'),
  )
  expect(outcome(decide(table, "OPTIONS /a", preflight))).toBe("204")
  expect(outcome(decide(table, "OPTIONS /b", preflight))).toBe("404")
  expect(outcome(decide(table, "OPTIONS /a", preflight.slice(0, 1)))).toBe("404")
  expect(outcome(decide(table, "OPTIONS /a", preflight.slice(1)))).toBe("404")
})
