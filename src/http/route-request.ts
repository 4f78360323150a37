/**
 * The request that is being decided, as conditions and actions see it: its head, where it came
 * from, its path. One object serves all requests of a table.
 */
import { type Address, parseAddress } from "../net/address.ts"
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

  /** It came by TLS, to us or to a proxy that is believed. */
  get isSecure(): boolean {
    if (this.origin.isTls) return true
    return this.origin.isTrusted && FORWARDED_PROTO.valueIn(this.head)?.toLowerCase() === "https"
  }

  /**
   * Whose request it is: the peer, or where that is a proxy that is believed, the last address in
   * X-Forwarded-For that is none (as nginx's real_ip_recursive). What cannot be read ends the
   * search: before it anything may have been written by anybody.
   */
  get client(): Address {
    const { origin } = this
    let client = origin.client
    if (!origin.isTrusted) return client
    for (const text of forwardedFor(this.head).toReversed()) {
      const address = parseAddress(withoutPort(text))
      if (address === undefined) return client
      client = address
      if (!origin.trusts(address)) return client
    }
    return client
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

const FORWARDED_FOR = new Field("x-forwarded-for")
const FORWARDED_PROTO = new Field("x-forwarded-proto")
const PREFLIGHT_METHOD = new Field("access-control-request-method")
const NO_HEAD = new RequestHead()
const NO_ORIGIN: RequestOrigin = {
  client: "::" as Address,
  isTls: false,
  port: 0,
  isTrusted: false,
  trusts: () => false,
}

/** All lines of the field, in their order. */
function forwardedFor(head: RequestHead): string[] {
  const values: string[] = []
  let index = FORWARDED_FOR.indexIn(head)
  while (index >= 0) {
    values.push(...head.value(index).split(","))
    index = FORWARDED_FOR.indexIn(head, index + 1)
  }
  return values.map((value) => value.trim())
}

/** "192.0.2.1:40000" and "[2001:db8::1]:40000", as some proxies write them. */
function withoutPort(text: string): string {
  return text.replace(/^\[(.*)\](:\d+)?$/, "$1").replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, "$1")
}
