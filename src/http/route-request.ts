/**
 * The request that is being decided, as conditions and actions see it: its head, where it came
 * from, its path. One object serves all requests of a table.
 */
import type { Instant } from "../net/time.ts"
import { Field } from "./field.ts"
import { FIELD } from "./field-names.ts"
import { RequestHead } from "./head.ts"
import type { RequestPath } from "./request-path.ts"
import type { HeldRequest, RequestOrigin } from "./route.ts"

/** Complete field lines that gates add towards the server and towards the client. */
export interface AddedFields {
  readonly requestFields: string
  readonly responseFields: string
}

export class RouteRequest implements AddedFields {
  readonly path: RequestPath
  head: RequestHead = NO_HEAD
  origin: RequestOrigin = NO_ORIGIN
  now: Instant = 0 as Instant
  /** The method a CORS preflight asks about; undefined: this is none. */
  preflightMethod: string | undefined = undefined
  requestFields = ""
  responseFields = ""

  constructor(path: RequestPath) {
    this.path = path
  }

  /** The same request again, after its head has moved. */
  resume({ head, origin, now }: HeldRequest, fields: AddedFields): void {
    this.path.read(head)
    this.begin(head, origin, now)
    this.requestFields = fields.requestFields
    this.responseFields = fields.responseFields
  }

  begin(head: RequestHead, origin: RequestOrigin, now: Instant): void {
    this.head = head
    this.origin = origin
    this.now = now
    this.requestFields = ""
    this.responseFields = ""
    this.preflightMethod =
      head.method === "OPTIONS" && head.find(FIELD.origin) >= 0
        ? PREFLIGHT_METHOD.valueIn(head)
        : undefined
  }
}

const PREFLIGHT_METHOD = new Field("access-control-request-method")
const NO_HEAD = new RequestHead()
const NO_ORIGIN = { client: "::", isTls: false, port: 0 } as RequestOrigin
