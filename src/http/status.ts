/** Status codes (RFC 9110 §15): their phrases, and the answers the proxy gives by itself. */
import type { HeadError } from "./head.ts"
import type { HeadWriter } from "./parts.ts"

const PHRASES: Readonly<Record<number, string>> = {
  200: "OK",
  204: "No Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
}

export function phraseOf(status: number): string {
  return PHRASES[status] ?? "Response"
}

export function statusOfHeadError(error: HeadError): number {
  switch (error) {
    case "head-too-large":
    case "too-many-fields":
      return 431
    case "target-too-long":
      return 414
    case "unsupported-version":
      return 505
    case "method-not-served":
    case "unsupported-transfer-coding":
      return 501
    case "unknown-expectation":
      return 417
    default:
      return 400
  }
}

/** A whole response. Without `body` a short text that names the status is sent. */
export function errorResponse(
  writer: HeadWriter,
  response: {
    readonly status: number
    readonly detail: string
    /** Complete field line; left out where `fields` have one. */
    readonly date?: string
    /** What it says of the connection; empty: nothing, which keeps one of HTTP/1.1. */
    readonly connection: "close" | "keep-alive" | ""
    /** Complete field lines. */
    readonly fields?: string
    readonly body?: string
    readonly isHead?: boolean
  },
): void {
  const { status, fields = "" } = response
  const phrase = phraseOf(status)
  const text =
    response.body ?? `${status} ${phrase}${response.detail === "" ? "" : `: ${response.detail}`}\n`
  const body = Buffer.from(text, "utf8")
  const hasBody = status >= 200 && status !== 204 && status !== 304
  writer.text(`HTTP/1.1 ${status} ${phrase}\r\n`)
  if (response.date !== undefined && !/^date:/im.test(fields)) writer.text(response.date)
  writer.text(fields)
  if (hasBody) {
    if (!/^content-type:/im.test(fields)) writer.text("Content-Type: text/plain; charset=utf-8\r\n")
    writer.text(`Content-Length: ${body.length}\r\n`)
  }
  if (response.connection !== "") writer.field("Connection", response.connection)
  writer.text("\r\n")
  if (hasBody && response.isHead !== true) writer.copy(body, 0, body.length)
}
