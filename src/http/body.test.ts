import { describe, expect, test } from "bun:test"
import { BodyCursor, NO_BODY, requestBody, responseBody } from "./body.ts"
import { bytes, LIMITS } from "./fixtures/heads.ts"
import { RequestHead, ResponseHead } from "./head.ts"

function request(fields: string): BodyCursor {
  const head = new RequestHead()
  const text = bytes(`POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`)
  expect(head.parse(text, 0, text.length, LIMITS)).toBe("complete")
  return requestBody(head)
}

function response(start: string, method = "GET", decodes = false): BodyCursor {
  const head = new ResponseHead()
  const text = bytes(`HTTP/1.1 ${start}\r\n\r\n`)
  expect(head.parse(text, 0, text.length, LIMITS)).toBe("complete")
  return responseBody(head, { method, decodes })
}

describe("requestBody()", () => {
  test("is none without a length (RFC 9112 §6.3, 7)", () => {
    expect(request("")).toBe(NO_BODY)
    expect(request("Content-Length: 0\r\n")).toBe(NO_BODY)
  })

  test("has the length or the chunks that the head says", () => {
    expect(request("Content-Length: 7\r\n")).toMatchObject({ framing: "length", left: 7 })
    expect(request("Transfer-Encoding: chunked\r\n").framing).toBe("chunked")
  })
})

describe("responseBody()", () => {
  test("is none where the status or the method rules it out (RFC 9112 §6.3, 1)", () => {
    const fields = "Content-Length: 5"
    expect(response(`200 OK\r\n${fields}`, "HEAD")).toBe(NO_BODY)
    expect(response("200 OK\r\nTransfer-Encoding: chunked", "HEAD")).toBe(NO_BODY)
    expect(response("200 OK", "HEAD")).toBe(NO_BODY)
    for (const status of [100, 103, 199, 204, 304]) {
      expect(response(`${status} -\r\n${fields}`)).toBe(NO_BODY)
      expect(response(`${status} -`)).toBe(NO_BODY)
    }
  })

  test("ends with the length, the last chunk or the connection", () => {
    expect(response("200 OK\r\nContent-Length: 0")).toBe(NO_BODY)
    expect(response("205 -\r\nContent-Length: 5")).toMatchObject({ framing: "length", left: 5 })
    expect(response("404 -\r\nTransfer-Encoding: chunked").framing).toBe("chunked")
    expect(response("200 OK").framing).toBe("until-close")
  })
})

describe("BodyCursor", () => {
  test("takes what belongs to a body of known length and no more", () => {
    const body = new BodyCursor("length", 5)
    const text = bytes("xxhelloGET")
    expect([body.take(text, 2, 4), body.isDone, body.blindBytes]).toEqual([4, false, 3])
    expect([body.take(text, 4, 10), body.isDone, body.left]).toEqual([7, true, 0])
    expect([body.take(text, 7, 10), body.contentBytes]).toEqual([7, 5])
  })

  test("takes everything until the connection closes", () => {
    const body = new BodyCursor("until-close", 0)
    expect([body.take(bytes("abc"), 1, 3), body.isDone]).toEqual([3, false])
    expect(body.blindBytes).toBe(Number.POSITIVE_INFINITY)
    body.pass(10)
    expect([body.contentBytes, body.isDone]).toEqual([12, false])
  })

  test("never lets chunks pass unseen", () => {
    expect(new BodyCursor("chunked", 0).blindBytes).toBe(0)
  })

  test("notes the insides of chunks when they are to be taken apart", () => {
    const body = response("200 OK\r\nTransfer-Encoding: chunked", "GET", true)
    const text = bytes("2\r\nab\r\n1\r\nc\r\n0\r\n\r\nnext")
    expect([body.take(text, 0, text.length), body.isDone]).toEqual([18, true])
    expect(body.lastContent).toEqual([
      [3, 5],
      [10, 11],
    ])
    expect(body.contentBytes).toBe(3)
  })

  test("says what is wrong with a chunk", () => {
    expect(new BodyCursor("chunked", 0).take(bytes("x\r\n"), 0, 3)).toBe("bad-chunk-size")
  })

  test("is done at once with an empty body", () => {
    expect(new BodyCursor("length", 0)).toMatchObject({ framing: "none", isDone: true })
    expect([NO_BODY.take(bytes("abc"), 1, 3), NO_BODY.isDone, NO_BODY.blindBytes]).toEqual([
      1,
      true,
      0,
    ])
  })
})
