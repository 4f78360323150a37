import { expect, test } from "bun:test"
import { HeadWriter } from "./parts.ts"
import { errorResponse } from "./status.ts"

function response(answer: Parameters<typeof errorResponse>[1]): string {
  const writer = new HeadWriter(Buffer.alloc(2000), 0, 2000)
  errorResponse(writer, answer)
  return writer.bytes.toString("utf8", 0, writer.at)
}

test("errorResponse() names the status where it has nothing else to say", () => {
  expect(response({ status: 502, detail: "", connection: "close", fields: "A: b\r\n" })).toBe(
    "HTTP/1.1 502 Bad Gateway\r\nA: b\r\nContent-Type: text/plain; charset=utf-8\r\n" +
      "Content-Length: 16\r\nConnection: close\r\n\r\n502 Bad Gateway\n",
  )
  expect(response({ status: 599, detail: "why", connection: "" })).toBe(
    "HTTP/1.1 599 Response\r\nContent-Type: text/plain; charset=utf-8\r\n" +
      "Content-Length: 18\r\n\r\n599 Response: why\n",
  )
})

test("errorResponse() gives a body in bytes, and its length alone to HEAD", () => {
  const answer = { status: 200, detail: "", connection: "", body: "é" } as const
  const head = "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nContent-Length: 2\r\n\r\n"
  const fields = "content-type: a/b\r\n"
  expect(response({ ...answer, fields })).toBe(`${head}é`)
  expect(response({ ...answer, fields, isHead: true })).toBe(head)
})

test("errorResponse() gives no body, nor the length of one, where none may be", () => {
  for (const status of [204, 304]) {
    expect(response({ status, detail: "", connection: "keep-alive", body: "x" })).toMatch(
      /^HTTP\/1.1 \d+ .*\r\nConnection: keep-alive\r\n\r\n$/,
    )
  }
})

test("errorResponse() carries a date, unless its fields have one", () => {
  const date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
  const answer = { status: 204, detail: "", connection: "" } as const
  expect(response({ ...answer, date })).toBe(`HTTP/1.1 204 No Content\r\n${date}\r\n`)
  expect(response({ ...answer, date, fields: "date: x\r\n" })).toBe(
    "HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n",
  )
})
