/**
 * The dialogue of a MySQL check, as a machine: packets in, bytes or a finding out.
 *
 *     greeting → handshake response → (auth switch, more data)* → OK → SELECT 1 → rows → quit
 *
 * Without a login it answers the handshake as a user that need not exist, and being refused is the
 * proof of life. That matters: a client that leaves before the answer counts in the server's
 * host_cache as an aborted handshake, and after `max_connect_errors` (100) of them the server
 * blocks this host, and with it everybody behind the edge. A refused login does not count there.
 * For the same reason a dialogue that cannot succeed is still brought to its end with `NO_PROOF`,
 * which plugins count as a wrong password; and `farewell()` exists: what to write when the check is
 * given up before the greeting came, so that a server that was only slow finds a complete handshake
 * when it wakes up.
 *
 * At `max_connections` a server still lets one more in as far as the login, for an administrator.
 * Only a check with a login can tell.
 */
import {
  AUTH_MORE_DATA_HEADER,
  AUTH_SWITCH_HEADER,
  authResponse,
  CACHING_SHA2_PASSWORD,
  COM_QUIT,
  EOF_HEADER,
  ERR_HEADER,
  encodeHandshakeResponse,
  encodePacket,
  encodeQuery,
  encryptPassword,
  type MysqlPacket,
  NATIVE_PASSWORD,
  OK_HEADER,
  parseAuthSwitch,
  parseError,
  parseGreeting,
} from "./mysql-protocol.ts"
import type { Finding } from "./probe.ts"

export interface MysqlLogin {
  readonly user: string
  readonly password: string
  /** Empty: none. */
  readonly database: string
}

export type MysqlAction =
  | { readonly type: "send"; readonly bytes: Buffer }
  | { readonly type: "done"; readonly finding: Finding }

type Stage =
  | { readonly name: "greeting" }
  | { readonly name: "login"; readonly plugin: string; readonly scramble: Buffer }
  | { readonly name: "key"; readonly scramble: Buffer }
  | { readonly name: "query"; readonly endsSeen: number }

export class MysqlSession {
  readonly #login: MysqlLogin | undefined
  #stage: Stage = { name: "greeting" }
  #serverVersion = ""
  /** Why the login is bound to be refused, where that is not the server's doing. */
  #excuse: string | undefined

  /** Without `login` it only finds out whether the server answers. */
  constructor(login: MysqlLogin | undefined) {
    this.#login = login
  }

  /** Completes "no answer within 1000 ms, …". */
  phase(): string {
    switch (this.#stage.name) {
      case "greeting":
        return "waiting for the greeting"
      case "query":
        return "waiting for the result of SELECT 1"
      default:
        return "logging in"
    }
  }

  receive({ sequence, payload }: MysqlPacket): MysqlAction[] {
    if (payload[0] === ERR_HEADER) return [this.#refused(payload)]
    const reply = sequence + 1
    switch (this.#stage.name) {
      case "greeting":
        return [this.#answerGreeting(payload, reply)]
      case "login":
        return this.#continueLogin(this.#stage, payload, reply)
      case "key":
        return [this.#sendPassword(this.#stage.scramble, payload, reply)]
      case "query":
        return this.#readResult(this.#stage.endsSeen, payload)
    }
  }

  /** What to write when the check is given up; undefined when nothing is owed. */
  farewell(): Buffer | undefined {
    if (this.#stage.name !== "greeting") return undefined
    // The second answers a switch of the plugin, as packet 2, if there will be one.
    return Buffer.concat([encodePacket(1, anonymousResponse()), encodePacket(3, NO_PROOF)])
  }

  #answerGreeting(payload: Buffer, reply: number): MysqlAction {
    const greeting = parseGreeting(payload)
    if (!greeting.ok) return failed(greeting.reason)
    const { serverVersion, scramble, authPlugin } = greeting.value
    this.#serverVersion = serverVersion.replace(/^5\.5\.5-/, "") // MariaDB's disguise
    this.#stage = { name: "login", plugin: authPlugin, scramble }
    if (this.#login === undefined) return send(reply, anonymousResponse())
    const { user, database, password } = this.#login
    const proof = authResponse(authPlugin, password, scramble)
    return send(
      reply,
      encodeHandshakeResponse({
        user,
        database,
        // A plugin not spoken here may be the server's default and not this user's.
        authPlugin: proof === undefined ? NATIVE_PASSWORD : authPlugin,
        authResponse: proof ?? authResponse(NATIVE_PASSWORD, password, scramble) ?? EMPTY,
      }),
    )
  }

  #continueLogin(
    stage: Extract<Stage, { name: "login" }>,
    payload: Buffer,
    reply: number,
  ): MysqlAction[] {
    switch (payload[0]) {
      case OK_HEADER:
        return this.#loggedIn()
      case AUTH_SWITCH_HEADER:
        return [this.#switchPlugin(payload, reply)]
      case AUTH_MORE_DATA_HEADER:
        return this.#moreData(stage, payload, reply)
      default:
        return [failed("not MySQL")]
    }
  }

  #loggedIn(): MysqlAction[] {
    if (this.#login === undefined) return [send(0, COM_QUIT), this.#alive()]
    this.#stage = { name: "query", endsSeen: 0 }
    return [send(0, encodeQuery("SELECT 1"))]
  }

  #switchPlugin(payload: Buffer, reply: number): MysqlAction {
    const { plugin, scramble } = parseAuthSwitch(payload)
    this.#stage = { name: "login", plugin, scramble }
    if (this.#login === undefined) return send(reply, noProof(plugin))
    const proof = authResponse(plugin, this.#login.password, scramble)
    return proof === undefined ? this.#giveIn(plugin, reply) : send(reply, proof)
  }

  /** caching_sha2_password: 3 = the fast path was enough, 4 = the whole password is wanted. */
  #moreData(
    { plugin, scramble }: Extract<Stage, { name: "login" }>,
    payload: Buffer,
    reply: number,
  ): MysqlAction[] {
    if (plugin !== CACHING_SHA2_PASSWORD) return [this.#giveIn(plugin, reply)]
    if (payload[1] === FAST_AUTH_SUCCESS) return []
    if (this.#login === undefined) return [send(reply, NO_PROOF)]
    this.#stage = { name: "key", scramble }
    return [send(reply, REQUEST_PUBLIC_KEY)]
  }

  #sendPassword(scramble: Buffer, payload: Buffer, reply: number): MysqlAction {
    this.#stage = { name: "login", plugin: CACHING_SHA2_PASSWORD, scramble }
    const publicKey = payload.subarray(1).toString("latin1")
    const encrypted = encryptPassword(this.#login?.password ?? "", scramble, publicKey)
    if (encrypted !== undefined) return send(reply, encrypted)
    this.#excuse = "the server sent no usable RSA key"
    return send(reply, NO_PROOF)
  }

  /** Lets the server refuse a login that would need a plugin we do not speak. */
  #giveIn(plugin: string, reply: number): MysqlAction {
    this.#excuse = `the server wants plugin ${plugin} for this user, which a check does not speak`
    return send(reply, noProof(plugin))
  }

  /** Column count, column, EOF, row, EOF. What the row says does not matter. */
  #readResult(endsSeen: number, payload: Buffer): MysqlAction[] {
    const isEnd = payload[0] === EOF_HEADER && payload.length < 9
    if (!isEnd) return []
    if (endsSeen === 1) return [send(0, COM_QUIT), this.#alive()]
    this.#stage = { name: "query", endsSeen: endsSeen + 1 }
    return []
  }

  #refused(payload: Buffer): MysqlAction {
    const { code, message } = parseError(payload)
    const isProof = this.#login === undefined && PROOFS_OF_LIFE.has(code)
    return isProof ? this.#alive() : failed(this.#excuse ?? `${message} (error ${code})`)
  }

  #alive(): MysqlAction {
    const asked = this.#login === undefined ? "alive" : "SELECT 1 answered"
    return { type: "done", finding: { ok: true, reason: `${asked}, ${this.#serverVersion}` } }
  }
}

function anonymousResponse(): Buffer {
  return encodeHandshakeResponse({
    user: ANONYMOUS_USER,
    database: "",
    authPlugin: NATIVE_PASSWORD,
    authResponse: EMPTY,
  })
}

/** mysql_native_password minds the size; there it is the empty password. */
function noProof(plugin: string): Buffer {
  return plugin === NATIVE_PASSWORD ? EMPTY : NO_PROOF
}

function send(sequence: number, payload: Uint8Array): MysqlAction {
  return { type: "send", bytes: encodePacket(sequence, payload) }
}

function failed(reason: string): MysqlAction {
  return { type: "done", finding: { ok: false, reason } }
}

/** Shows in the server's log; need not exist. */
const ANONYMOUS_USER = "causeway-check"

const EMPTY = Buffer.alloc(0)
/**
 * An answer that no plugin takes for a handshake gone wrong: just the size of client_ed25519's, not
 * empty as parsec's first should be, the wrong size for both SHA-2 plugins, and, as it begins with
 * NUL, the empty password where passwords are sent as text.
 */
const NO_PROOF = Buffer.alloc(64)
const FAST_AUTH_SUCCESS = 3
const REQUEST_PUBLIC_KEY = Buffer.from([2])

/**
 * Refusals that only a server able to log somebody in gives. Not among them: 1040 too many
 * connections, 1129 host blocked, 1130 host not allowed, 1053 shutting down. Clients behind this
 * edge get those too.
 */
const PROOFS_OF_LIFE: ReadonlySet<number> = new Set([
  1044, // access denied to the database
  1045, // access denied
  1105, // unknown error: how some plugins refuse, such as GSSAPI
  1251, // authentication protocol not supported by the client
  1698, // access denied, the user has another way to log in
  1862, // password expired
  3118, // account locked (MySQL)
  3159, // insecure transport prohibited (MySQL)
  4151, // account locked (MariaDB)
])
