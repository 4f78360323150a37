/**
 * Which fields go no further than the next hop (RFC 9110 §7.6.1), and copying the rest.
 */
import { DISGUISED_FIELD, FIELD, OTHER_FIELD } from "./field-names.ts"
import type { Head } from "./head.ts"
import type { HeadWriter } from "./parts.ts"

/** What the fields of a message say about its connection. */
export interface ConnectionOptions {
  close: boolean
  keepAlive: boolean
  upgrade: boolean
  /** Other options: names of fields that are hop-by-hop here, lower case. */
  nominated: string[] | undefined
}

const NONE: ConnectionOptions = {
  close: false,
  keepAlive: false,
  upgrade: false,
  nominated: undefined,
}
const KEEP_ALIVE: ConnectionOptions = { ...NONE, keepAlive: true }

/** Reads the Connection field or fields. */
export function connectionOptions(head: Head): ConnectionOptions {
  let options = NONE
  for (let index = 0; index < head.fieldCount; index++) {
    if (head.numbers[index] !== FIELD.connection) continue
    if (options === NONE && head.hasValue(index, "keep-alive")) {
      options = KEEP_ALIVE
      continue
    }
    options = { ...options }
    for (const part of head.value(index).split(",")) addOption(options, part.trim().toLowerCase())
  }
  return options
}

function addOption(options: ConnectionOptions, option: string): void {
  if (option === "close") options.close = true
  else if (option === "keep-alive") options.keepAlive = true
  else if (option === "upgrade") options.upgrade = true
  else if (option !== "") {
    options.nominated ??= []
    options.nominated.push(option)
  }
}

const isHopByHop = new Uint8Array(256)
for (const name of [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  // No field at all, but the variable HTTP_PROXY of a CGI program (CVE-2016-5385).
  "proxy",
] as const) {
  isHopByHop[FIELD[name]] = 1
}
isHopByHop[DISGUISED_FIELD] = 1

/** Which fields are left out. */
export class FieldFilter {
  readonly #dropped = Uint8Array.from(isHopByHop)
  /** Names beyond those with a number, folded. */
  readonly #names: readonly string[]

  constructor(names: { readonly numbers: readonly number[]; readonly others: readonly string[] }) {
    for (const number of names.numbers) this.#dropped[number] = 1
    this.#names = names.others.map(foldedName)
  }

  /**
   * Whether field `index` of `head` stays. A sender may nominate only fields that mean nothing to
   * us: "Connection: Content-Length" must not make a body out of thin air, nor "Connection: Cookie"
   * a stranger out of a user whom another proxy has let in.
   */
  keeps(head: Head, index: number, nominated: readonly string[] | undefined): boolean {
    const number = head.numbers[index] as number
    if (number !== OTHER_FIELD) return this.#dropped[number] === 0
    for (const name of this.#names) if (head.hasName(index, name)) return false
    return nominated === undefined || !nominated.includes(head.name(index))
  }
}

/** A name as `Head.hasName` compares it. */
function foldedName(name: string): string {
  return name.toLowerCase().replaceAll("_", "-")
}

/** Copies the fields that stay, neighbours in one go. */
export function copyFields(
  head: Head,
  into: HeadWriter,
  options: {
    readonly filter: FieldFilter
    readonly nominated: readonly string[] | undefined
    /** For a message that has no body and must not seem to. */
    readonly dropsLength?: boolean
  },
): void {
  const { filter, nominated, dropsLength = false } = options
  let runStart = -1
  for (let index = 0; index < head.fieldCount; index++) {
    const isDropped = dropsLength && head.numbers[index] === FIELD["content-length"]
    if (!isDropped && filter.keeps(head, index, nominated)) {
      if (runStart < 0) runStart = head.fieldStart(index)
    } else if (runStart >= 0) {
      into.copy(head.bytes, runStart, head.fieldStart(index))
      runStart = -1
    }
  }
  if (runStart >= 0) into.copy(head.bytes, runStart, head.end - 2)
}
