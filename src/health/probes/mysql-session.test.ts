import { describe, expect, test } from "bun:test"
import { ANONYMOUS, DATABASE, LOGIN, SWITCH_TO_ED25519 } from "./fixtures/mysql.ts"
import { encodePacket, MysqlPacketReader } from "./mysql-protocol.ts"
import { type MysqlLogin, MysqlSession } from "./mysql-session.ts"

const CHECK: MysqlLogin = { user: "check", password: "check-password", database: "" }

/** Packet 3, of the size that client_ed25519 has. */
const WRONG_SIGNATURE = `40000003${"00".repeat(64)}`

/** Feeds packets in hex and returns what the session does: bytes in hex, or its finding. */
function converse(session: MysqlSession, ...received: string[]): unknown[] {
  const packets = new MysqlPacketReader()
  const done: unknown[] = []
  for (const bytes of received) {
    packets.push(Buffer.from(bytes, "hex"))
    for (let next = packets.next(); next?.ok; next = packets.next()) {
      for (const action of session.receive(next.value)) {
        done.push(action.type === "send" ? action.bytes.toString("hex") : action.finding)
      }
    }
  }
  return done
}

/** An ERR packet with SQL state, as packet number 2. */
function error(code: number, message: string): string {
  const payload = Buffer.from(`\xff\0\0#HY000${message}`, "latin1")
  payload.writeUInt16LE(code, 1)
  return encodePacket(2, payload).toString("hex")
}

describe("without a login", () => {
  test("receive() finds the server alive when it refuses the user", () => {
    expect(converse(new MysqlSession(undefined), ANONYMOUS.greeting, ANONYMOUS.denied)).toEqual([
      ANONYMOUS.response,
      { ok: true, reason: "alive, 10.11.19-MariaDB-0+deb12u1-log" },
    ])
  })

  test("receive() sends the empty password when the server switches to the native plugin", () => {
    const session = new MysqlSession(undefined)
    converse(session, ANONYMOUS.greeting)
    const payload = `\xfemysql_native_password\0${"s".repeat(20)}\0`
    const native = encodePacket(2, Buffer.from(payload, "latin1"))
    expect(converse(session, native.toString("hex"))).toEqual(["00000003"])
  })

  test("receive() quits when the user is let in", () => {
    expect(converse(new MysqlSession(undefined), ANONYMOUS.greeting, LOGIN.ok)).toEqual([
      ANONYMOUS.response,
      LOGIN.quit,
      { ok: true, reason: "alive, 10.11.19-MariaDB-0+deb12u1-log" },
    ])
  })

  test("receive() goes on to the refusal when the server switches the plugin", () => {
    const session = new MysqlSession(undefined)
    expect(converse(session, ANONYMOUS.greeting, SWITCH_TO_ED25519)).toEqual([
      ANONYMOUS.response,
      WRONG_SIGNATURE,
    ])
    expect(converse(session, error(1698, "Access denied"))).toMatchObject([{ ok: true }])
  })

  // code → alive?
  const refusals: [number, string, boolean][] = [
    [1044, "Access denied to database", true],
    [1045, "Access denied", true],
    [1105, "Server GSSAPI error", true],
    [1251, "Client does not support authentication protocol", true],
    [1698, "Access denied", true],
    [1862, "Your password has expired", true],
    [3118, "Account is locked", true],
    [3159, "Connections using insecure transport are prohibited", true],
    [4151, "Access denied, this account is locked", true],
    [1040, "Too many connections", false],
    [1053, "Server shutdown in progress", false],
    [1129, "Host 'edge' is blocked because of many connection errors", false],
    [1130, "Host 'edge' is not allowed to connect to this MariaDB server", false],
  ]
  test.each(refusals)("receive() judges error %p, %s", (code, message, ok) => {
    const [, finding] = converse(
      new MysqlSession(undefined),
      ANONYMOUS.greeting,
      error(code, message),
    )
    expect(finding).toEqual(
      ok
        ? { ok, reason: "alive, 10.11.19-MariaDB-0+deb12u1-log" }
        : { ok, reason: `${message} (error ${code})` },
    )
  })

  test("receive() fails with the server's words when it is refused before the greeting", () => {
    const blocked = encodePacket(0, Buffer.from("\xff\x69\x04Host 'edge' is blocked", "latin1"))
    expect(converse(new MysqlSession(undefined), blocked.toString("hex"))).toEqual([
      { ok: false, reason: "Host 'edge' is blocked (error 1129)" },
    ])
  })

  test("farewell() completes the handshake when the greeting has not come, and only then", () => {
    const session = new MysqlSession(undefined)
    expect(session.farewell()?.toString("hex")).toBe(ANONYMOUS.response + WRONG_SIGNATURE)
    converse(session, ANONYMOUS.greeting)
    expect(session.farewell()).toBeUndefined()
  })
})

describe("with a login", () => {
  test("receive() logs in, asks SELECT 1, reads the result, quits", () => {
    const session = new MysqlSession(CHECK)
    expect(converse(session, LOGIN.greeting)).toEqual([LOGIN.response])
    expect(session.phase()).toBe("logging in")
    expect(converse(session, LOGIN.ok)).toEqual([LOGIN.query])
    expect(session.phase()).toBe("waiting for the result of SELECT 1")
    expect(converse(session, LOGIN.result)).toEqual([
      LOGIN.quit,
      { ok: true, reason: "SELECT 1 answered, 10.11.19-MariaDB-0+deb12u1-log" },
    ])
  })

  test("receive() fails when access is denied", () => {
    const session = new MysqlSession({ ...CHECK, database: "lab" })
    expect(converse(session, DATABASE.greeting, DATABASE.denied)).toEqual([
      DATABASE.response,
      { ok: false, reason: "Access denied for user 'check'@'%' to database 'lab' (error 1044)" },
    ])
  })

  test("receive() fails when the query does", () => {
    const session = new MysqlSession(CHECK)
    converse(session, LOGIN.greeting, LOGIN.ok)
    expect(converse(session, error(1927, "Connection was killed"))).toEqual([
      { ok: false, reason: "Connection was killed (error 1927)" },
    ])
  })

  test("receive() lets itself be refused, then names the plugin, when it is not spoken", () => {
    const session = new MysqlSession(CHECK)
    expect(converse(session, LOGIN.greeting, SWITCH_TO_ED25519)).toEqual([
      LOGIN.response,
      WRONG_SIGNATURE,
    ])
    expect(converse(session, error(1045, "Access denied"))).toEqual([
      {
        ok: false,
        reason:
          "the server wants plugin client_ed25519 for this user, which a check does not speak",
      },
    ])
  })

  // mysql_native_password → caching_sha2_password with the scramble of LOGIN
  const switchToSha2 = encodePacket(
    2,
    Buffer.from(
      `\xfecaching_sha2_password\0${Buffer.from(LOGIN.scramble, "hex").toString("latin1")}\0`,
      "latin1",
    ),
  ).toString("hex")
  const sha2Answer = "2000000392445e9d23cdff0afbad16221624ab616757f777a3a950bce1d28836e2f76e51"

  test("receive() takes the fast path of caching_sha2_password when it is offered", () => {
    const session = new MysqlSession(CHECK)
    expect(converse(session, LOGIN.greeting, switchToSha2)).toEqual([LOGIN.response, sha2Answer])
    expect(converse(session, "020000040103", "0700000500000002000000")).toEqual([LOGIN.query])
  })

  test("receive() asks for the RSA key when the server wants the whole password", () => {
    const session = new MysqlSession(CHECK)
    converse(session, LOGIN.greeting, switchToSha2)
    expect(converse(session, "020000040104")).toEqual(["0100000502"])
    const badKey = encodePacket(6, Buffer.from("\x01no key", "latin1")).toString("hex")
    expect(converse(session, badKey)).toEqual([`40000007${"00".repeat(64)}`])
    expect(converse(session, error(1045, "Access denied"))).toEqual([
      { ok: false, reason: "the server sent no usable RSA key" },
    ])
  })
})
