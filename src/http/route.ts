/**
 * What a route table answers to a request, and what the exchange reads of the chosen route. The
 * table itself is in `route-table.ts`; the driver only knows these shapes.
 */
import type { RouteTimeouts } from "../config/http-config.ts"
import type { Address } from "../net/address.ts"
import type { Instant } from "../net/time.ts"
import type { RequestHead } from "./head.ts"
import type { FieldFilter } from "./hop-by-hop.ts"

/** What is known of a request beside its head. */
export interface RequestOrigin {
  readonly client: Address
  readonly isTls: boolean
  /** Port the client connected to. */
  readonly port: number
  /** The client is a proxy that is believed. */
  readonly isTrusted: boolean
  /** Whether this address is that of a proxy that is believed. */
  trusts(address: Address): boolean
}

export interface Routes {
  /** Always an answer; a request that no route matches gets 404. */
  decide(head: RequestHead, origin: RequestOrigin, now: Instant): Decision
}

export type Decision = ForwardDecision | RespondDecision

export interface ForwardDecision {
  readonly type: "forward"
  readonly route: Route
  readonly pool: string
  /** Path and query for the server, Latin-1; undefined: as received. */
  readonly target: string | undefined
  /** Server that the client's sticky cookie names, -1: none. */
  readonly stickySlot: number
  /** Complete field lines for this request alone, beside the route's: towards the server … */
  readonly requestFields: string
  /** … and towards the client. */
  readonly responseFields: string
}

export interface RespondDecision {
  readonly type: "respond"
  readonly route: Route | undefined
  readonly status: number
  /** Complete field lines, each with CRLF; Content-Length and Connection are added. */
  readonly fields: string
  readonly body: string
  /** Who can ask, asks this first and does what `settle` says; this response is for who cannot. */
  readonly question?: Question
}

/** A compiled `[[http.route]]`. */
export interface Route {
  /** For logs and metrics: "k8s.com/api/v1". */
  readonly name: string
  readonly row: number
  /** Fields that do not go to the server, beside hop-by-hop ones. */
  readonly requestFilter: FieldFilter
  /** Complete field lines added towards the server. */
  readonly requestFields: string
  readonly responseFilter: FieldFilter
  readonly responseFields: string
  /** From the request's end to the first byte of the response. */
  readonly firstByteMs: number
  /** Overrides of the listener's time limits; `sendMs`: the server takes nothing of the request. */
  readonly timeouts: RouteTimeouts
  /** Bytes; 0 = unlimited. */
  readonly maxBodyBytes: number
  readonly retryStatuses: readonly number[]
  readonly retryAttempts: number
  /** Host field for the server; undefined: as the client asked. */
  readonly host: string | undefined
  /** Pool that gets a copy of each request, whose answer nobody reads; empty: none. */
  readonly mirror: string
  /**
   * Field lines of a Set-Cookie for the server used; undefined: not sticky. Only needed when it is
   * not the server of `ForwardDecision.stickySlot`.
   */
  readonly stickyFields: ((slot: number) => string) | undefined
}

/**
 * What a request must wait for before it is decided: somebody else's answer. The asker keeps the
 * head, asks, and calls `settle` with the answer, which decides the rest (or asks again).
 */
export type Question = PasswordQuestion | PermissionQuestion

/** The request again: the same head, parsed where it stands now. */
export interface HeldRequest {
  readonly head: RequestHead
  readonly origin: RequestOrigin
  readonly now: Instant
}

/** busy: too many wait to be verified; ask again. */
export type PasswordVerdict = "right" | "wrong" | "busy"

/** Is this the password? Slow by design (bcrypt, argon2), so not for a data thread. */
export interface PasswordQuestion {
  readonly type: "password"
  readonly password: string
  readonly hash: string
  settle(verdict: PasswordVerdict, request: HeldRequest): Decision
}

/** May this request pass? For a server of `pool`, which gets a GET with the request's fields. */
export interface PermissionQuestion {
  readonly type: "permission"
  readonly pool: string
  readonly target: string
  /** Fields of the request that do not go with the question; its body does not either. */
  readonly filter: FieldFilter
  /** Complete field lines that tell of the request, beside the forwarding fields. */
  readonly fields: string
  /** On 2xx it goes on; otherwise the server's answer is the client's. */
  settle(answer: PermissionAnswer, request: HeldRequest): Decision
}

export interface PermissionAnswer {
  /** 0: there was none. */
  readonly status: number
  /** Value of the first such field of the answer; the name is in lower case. */
  field(name: string): string | undefined
}
