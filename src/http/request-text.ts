/** What the access log says of a request; made only when there is one. */
import type { RequestHead } from "./head.ts"

export interface RequestText {
  readonly method: string
  readonly host: string
  readonly target: string
  readonly version: string
  readonly referer: string
  readonly userAgent: string
}

export function requestText(head: RequestHead): RequestText {
  return {
    method: head.method,
    host: head.host,
    target: head.bytes.toString("latin1", head.targetStart, head.targetEnd),
    version: `HTTP/1.${head.minorVersion}`,
    referer: head.valueByName("referer") ?? "",
    userAgent: head.valueByName("user-agent") ?? "",
  }
}

/** Of bytes that are no request. */
export const NO_REQUEST: RequestText = {
  method: "",
  host: "",
  target: "",
  version: "",
  referer: "",
  userAgent: "",
}
