/** Fixed responses. */
import { expect, test } from "bun:test"
import { decide, responded, routeTable } from "../fixtures/routing.ts"

test.each([
  ["404", { status: 404, fields: "", body: "" }],
  [
    '{ status = 503, body = "later" }',
    { status: 503, fields: "Content-Type: text/plain; charset=utf-8\r\n", body: "later" },
  ],
  [
    '{ body = "{}", content_type = "application/json" }',
    { status: 200, fields: "Content-Type: application/json\r\n", body: "{}" },
  ],
])("respond = %s", (value, expected) => {
  const table = routeTable(`[[http.route]]\nrespond = ${value}\n`)
  expect(responded(decide(table, "/x"))).toMatchObject(expected)
})

test("set_response_headers replaces Content-Type, remove_response_headers takes it away", () => {
  const fields = (more: string) => {
    const table = routeTable(`[[http.route]]\nrespond = { body = "x" }\n${more}\n`)
    return responded(decide(table, "/")).fields
  }
  expect(fields('set_response_headers = { content-type = "a/b" }')).toBe("content-type: a/b\r\n")
  expect(fields('remove_response_headers = ["Content-Type"]')).toBe("")
})
