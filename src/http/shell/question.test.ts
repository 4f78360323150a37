import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { ECONNRESET } from "../../linux/errno.ts"
import type { Endpoint } from "../../net/address.ts"
import { FIELD } from "../field-names.ts"
import { forward, Harness, type Peer, type Server } from "../fixtures/harness.ts"
import { FieldFilter } from "../hop-by-hop.ts"
import type { PermissionAnswer, RespondDecision } from "../route.ts"

const GET = "GET /page HTTP/1.1\r\nHost: a\r\nCookie: c\r\nX-Secret: s\r\n\r\n"
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const NO = "HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno"

let harness: Harness
let server: Server
let guard: Server
let endpoint: Endpoint

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
  guard = harness.server()
  harness.pool([server.endpoint])
  harness.pool([guard.endpoint], { name: "guard" })
  endpoint = harness.listen({ decide: permission() })
})

afterEach(() => {
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.close()).toEqual([])
})

/** Forwards what the guard lets pass, and tells the client what it says otherwise. */
function permission(): RespondDecision {
  const settle = ({ status, field }: PermissionAnswer) =>
    status >= 200 && status < 300
      ? forward({}, { requestFields: `X-User: ${field("x-user") ?? ""}\r\n` })
      : respond(status === 0 ? 500 : status, field("x-why") ?? "none")
  const filter = new FieldFilter({ numbers: [FIELD.host], others: ["x-secret"] })
  return {
    ...respond(500, ""),
    question: {
      type: "permission",
      pool: "guard",
      target: "/auth",
      filter,
      fields: "X-Asked: 1\r\n",
      settle,
    },
  }
}

function respond(status: number, body: string): RespondDecision {
  return { type: "respond", route: undefined, status, fields: "", body }
}

function ask(text = GET): Peer {
  const client = harness.connect(endpoint)
  client.send(text)
  return client
}

describe("a permission", () => {
  test("is asked for with the fields of the request, and lets it pass", () => {
    const client = ask(
      `POST /page HTTP/1.1\r\nHost: a\r\nX-Secret: s\r\nCookie: c\r\nContent-Length: 2\r\n\r\nhi${GET}`,
    )
    const asked = guard.accept()
    const head = asked.takeHead()
    expect(head.slice(0, 3)).toEqual(["GET /auth HTTP/1.1", "Host: a", "Cookie: c"])
    expect(head).toContain("X-Asked: 1")
    expect(head.join("\n")).not.toMatch(/X-Secret|Content-Length/)
    asked.send("HTTP/1.1 204 No Content\r\nX-User: me\r\n\r\n")
    const peer = server.accept()
    expect(peer.takeHead()).toContain("X-User: me")
    peer.take("hi")
    peer.send(OK)
    client.take(OK)
    expect(asked.takeHead()[0]).toBe("GET /auth HTTP/1.1")
    asked.send(NO)
    client.take(/HTTP\/1.1 403 Forbidden\r\n[\s\S]*because/)
    client.close()
    expect(harness.balance()).toEqual([])
  })

  test("comes in whatever pieces, behind interim responses", () => {
    for (const size of [1000, 30, 1]) {
      const client = ask()
      const asked = guard.tryAccept() ?? guard.accept()
      asked.takeHead()
      asked.sendInPieces(
        `HTTP/1.1 103 -\r\nLink: x\r\n\r\n${NO.slice(0, -2).replace("2", "0")}`,
        size,
      )
      client.take(/HTTP\/1.1 403 Forbidden\r\n[\s\S]*because/)
      asked.close()
      harness.settle()
    }
  })

  test("is asked for again when the guard has closed the connection meanwhile, once", () => {
    const client = ask()
    const asked = guard.accept()
    asked.takeHead()
    asked.send(NO)
    client.take(/[\s\S]*because/)
    client.send(GET)
    asked.takeHead()
    asked.close()
    const again = guard.accept()
    again.takeHead()
    again.send(NO)
    client.take(/HTTP\/1.1 403 [\s\S]*because/)
    client.send(GET)
    again.takeHead()
    again.close()
    const third = guard.accept()
    third.takeHead()
    third.close()
    client.take("HTTP/1.1 500 ")
  })

  test("that nobody gives is none", () => {
    harness.pool([harness.refusing()], { name: "guard" })
    ask().take(/HTTP\/1.1 500 [\s\S]*none/)
    harness.pool([], { name: "guard" })
    ask().take(/HTTP\/1.1 500 [\s\S]*none/)
  })

  test("with bytes behind it is the last of its connection", () => {
    const client = ask()
    const asked = guard.accept()
    asked.takeHead()
    asked.send(`${NO}HTTP/1.1 200 OK\r\n\r\n`)
    client.take(/HTTP\/1.1 403 [\s\S]*because/)
    client.send(GET)
    const again = guard.accept()
    again.takeHead()
    again.send(NO)
    client.take(/HTTP\/1.1 403 [\s\S]*because/)
  })

  test("is not waited for by a client that leaves", () => {
    const client = ask()
    const asked = guard.accept()
    asked.takeHead()
    client.close()
    expect(asked.untilEnd().how).toBe(-ECONNRESET)
    expect(harness.balance()).toEqual([])
    const later = ask()
    guard.accept().takeHead()
    later.close()
    expect(harness.balance()).toEqual([])
  })
})
