/** Two listeners on one address and port: the kernel would share the connections among them. */
import { type Address, ANY_IPV4, ANY_IPV6, type Endpoint, familyOf } from "../net/address.ts"
import type { AdminConfig, AdminListen } from "./config.ts"
import type { Context, Decoded } from "./decode.ts"
import type { Draft } from "./draft.ts"
import { readSecret } from "./named-file.ts"
import { locate, type TomlNode } from "./toml.ts"
import { formatBind, isLoopback } from "./values.ts"

interface Listener {
  /** As it reads in a sentence. */
  readonly owner: string
  readonly endpoint: Endpoint
  readonly node: TomlNode
}

export function checkListeners(draft: Draft, context: Context): void {
  checkAdmin(draft.admin, context)
  const byPort = Map.groupBy(listenersOf(draft), ({ endpoint }) => endpoint.port)
  for (const listeners of byPort.values()) checkPort(listeners, context)
  for (const { node, draft: stream } of draft.streams) {
    if (stream.bind?.length === 0) {
      context.report.error(locate(node, "bind"), "A stream needs at least one address to listen on")
    }
  }
  for (const { node, draft: http } of draft.http) {
    if (http.bind?.length === 0) {
      const message = "An HTTP listener needs at least one address to listen on"
      context.report.error(locate(node, "bind"), message)
    }
  }
}

function listenersOf({ admin, streams, http }: Draft): Listener[] {
  const adminListeners = (admin.draft.listen ?? []).flatMap((listen, index) =>
    listen.type === "unix"
      ? []
      : { owner: "[admin]", endpoint: listen.endpoint, node: locate(admin.node, "listen", index) },
  )
  const streamListeners = streams.flatMap(({ node, draft }) =>
    (draft.bind ?? []).map((endpoint, index) => {
      return { owner: `stream "${draft.name}"`, endpoint, node: locate(node, "bind", index) }
    }),
  )
  const httpListeners = http.flatMap(({ node, draft }) =>
    (draft.bind ?? []).map(({ endpoint }, index) => {
      const at = locate(node, "bind", index, "address")
      return { owner: `http "${draft.name}"`, endpoint, node: at }
    }),
  )
  return [...adminListeners, ...streamListeners, ...httpListeners]
}

/** Each against those before it; the first conflict says enough. */
function checkPort(listeners: readonly Listener[], { report }: Context): void {
  const first = new Map<string, Listener>()
  for (const listener of listeners) {
    const { endpoint, node } = listener
    const same = first.get(endpoint.address)
    if (same === undefined) first.set(endpoint.address, listener)
    else {
      const message = `${formatBind(endpoint)} is already used by ${same.owner}`
      report.error(node, message, "Choose another port or address")
    }
  }
  checkOverlap([...first.values()], report)
}

/** The kernel gives a connection to the most specific listener, which may be a surprise. */
function checkOverlap(listeners: readonly Listener[], report: Context["report"]): void {
  for (const listener of listeners) {
    const wide = listeners.find((other) =>
      covers(other.endpoint.address, listener.endpoint.address),
    )
    if (wide === undefined) continue
    // The default of admin.listen stands nowhere in the file.
    const at = listener.node.type === "string" ? listener.node : wide.node
    const message = `${describeListener(listener)} overlaps with ${describeListener(wide)}`
    const narrow = formatBind(listener.endpoint)
    report.warning(at, message, `Connections to ${narrow} go to ${listener.owner} alone`)
  }
}

function describeListener({ endpoint, owner }: Listener): string {
  return `${formatBind(endpoint)} (${owner})`
}

/** `::` is bound for both families. */
function covers(wide: Address, narrow: Address): boolean {
  if (wide === narrow) return false
  if (wide === ANY_IPV6) return true
  return wide === ANY_IPV4 && familyOf(narrow) === 4
}

function checkAdmin({ node, draft }: Decoded<AdminConfig>, context: Context): void {
  const { report } = context
  if (draft.tokenFile) readSecret(locate(node, "token_file"), draft.tokenFile, context)
  const seen = new Set<string>()
  for (const [index, listen] of (draft.listen ?? []).entries()) {
    const at = locate(node, "listen", index)
    if (listen.type === "unix") {
      if (seen.has(listen.path)) report.error(at, `${listen.path} is listed twice`)
      seen.add(listen.path)
    } else if (draft.tokenFile === "" && !isLocal(listen)) {
      const message = "[admin] needs token_file to listen beyond loopback"
      report.error(at, message, 'Add token_file, or listen on "127.0.0.1:9180"')
    }
  }
}

function isLocal(listen: AdminListen): boolean {
  return listen.type === "unix" || isLoopback(listen.endpoint.address)
}
