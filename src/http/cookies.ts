/** Reading one cookie of a request (RFC 6265 §4.2.1). */
import { FIELD } from "./field-names.ts"
import type { RequestHead } from "./head.ts"

/** Value of the first cookie called `name`; undefined: there is none. */
export function cookieIn(head: RequestHead, name: string): string | undefined {
  for (let index = 0; index < head.fieldCount; index++) {
    if (head.numbers[index] !== FIELD.cookie) continue
    const value = cookieOf(head.value(index), name)
    if (value !== undefined) return value
  }
  return undefined
}

/** `cookies` is the value of a Cookie field: "a=1; b=2". */
function cookieOf(cookies: string, name: string): string | undefined {
  let start = 0
  while (start < cookies.length) {
    const semicolon = cookies.indexOf(";", start)
    const end = semicolon < 0 ? cookies.length : semicolon
    while (cookies[start] === " ") start++
    if (cookies.startsWith(name, start) && cookies[start + name.length] === "=") {
      return unquoted(cookies.slice(start + name.length + 1, end).trim())
    }
    start = end + 1
  }
  return undefined
}

function unquoted(value: string): string {
  return /^".*"$/.test(value) ? value.slice(1, -1) : value
}
