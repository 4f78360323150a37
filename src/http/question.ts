/**
 * What a request must wait for before it is decided: somebody else's answer. The asker keeps the
 * head, asks, and calls `settle` with the answer, which decides the rest (or asks again).
 */
import type { Instant } from "../net/time.ts"
import type { RequestHead } from "./head.ts"
import type { Decision, RequestOrigin } from "./route.ts"

export type Question = PasswordQuestion | PermissionQuestion

/** The request again: the same head, parsed where it stands now. */
export interface HeldRequest {
  readonly head: RequestHead
  readonly origin: RequestOrigin
  readonly now: Instant
}

/** Is this the password? Slow by design (bcrypt, argon2), so not for a data thread. */
export interface PasswordQuestion {
  readonly type: "password"
  readonly password: string
  readonly hash: string
  settle(isRight: boolean, request: HeldRequest): Decision
}

/** May this request pass? For a server of `pool`, which gets a GET with the request's fields. */
export interface PermissionQuestion {
  readonly type: "permission"
  readonly pool: string
  readonly target: string
  /** Complete field lines that tell of the request; its own fields go with them, its body does not. */
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
