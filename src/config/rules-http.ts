/** What must hold within an HTTP listener: its TLS, its files, and its routes among themselves. */
import type { Context, Decoded } from "./decode.ts"
import type { HttpConfig, RouteConfig, TlsConfig } from "./http-config.ts"
import { checkPem, readSecret } from "./named-file.ts"
import { checkRouteOrder } from "./rules-route-order.ts"
import type { DecodedHttp } from "./schema-http.ts"
import { locate, type TomlNode } from "./toml.ts"

export function checkHttp(listeners: readonly DecodedHttp[], context: Context): void {
  for (const listener of listeners) {
    const { node, draft, routes } = listener
    checkTls(node, draft, context)
    checkRouteNames(routes, context)
    for (const route of routes) checkRoute(route, context)
    checkRouteOrder(routes, context)
    if (routes.length === 0 && !draft.ingress) {
      const hint = "Add [[http.route]] with a pool"
      context.report.warning(node, "No route: every request will be answered with 404", hint)
    }
  }
}

function checkTls(node: TomlNode, draft: Decoded<HttpConfig>["draft"], context: Context): void {
  const { report } = context
  const { bind, tls } = draft
  if (bind === undefined) return
  const tlsBind = bind.findIndex((each) => each.tls)
  if (tls === undefined) {
    if (tlsBind < 0 || locate(node, "tls") !== node || draft.ingress) return
    const hint = 'Add tls = { certificates = [{ cert = "…", key = "…" }] }'
    report.error(locate(node, "bind", tlsBind, "tls"), "A bind with TLS needs a certificate", hint)
    return
  }
  const at = locate(node, "tls")
  if (tlsBind < 0) {
    const hint = 'Write bind = [{ address = ":443", tls = true }]'
    if (tls.redirect) report.error(locate(at, "redirect"), "redirect needs a bind with TLS", hint)
    else report.warning(at, "tls has no effect without a bind with TLS", hint)
  } else if (tls.redirect && bind.every((each) => each.tls)) {
    report.warning(locate(at, "redirect"), "redirect has no effect without a bind without TLS")
  }
  if (tls.certificates.length === 0 && !draft.ingress) {
    report.error(locate(at, "certificates"), "TLS needs at least one certificate")
  }
  checkTlsFiles(at, tls, context)
}

function checkTlsFiles(at: TomlNode, tls: TlsConfig, context: Context): void {
  const { report, files } = context
  for (const [index, { cert, key }] of tls.certificates.entries()) {
    checkPem(locate(at, "certificates", index, "cert"), cert, context)
    const keyAt = locate(at, "certificates", index, "key")
    const text = readSecret(keyAt, key, context)
    if (typeof text === "string" && !/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
      report.error(keyAt, `There is no private key in ${key}`, "It must be a PEM file")
    }
  }
  const { clientCertificates, clientCaFile, sessionTicketKeyFile } = tls
  if (clientCertificates !== "off" && clientCaFile === "") {
    const message = `client_certificates = "${clientCertificates}" needs client_ca_file`
    report.error(locate(at, "client_certificates"), message)
  }
  if (clientCaFile !== "") {
    if (clientCertificates === "off") {
      const message = "client_ca_file has no effect without client_certificates"
      report.warning(locate(at, "client_ca_file"), message)
    }
    checkPem(locate(at, "client_ca_file"), clientCaFile, context)
  }
  if (sessionTicketKeyFile === "") return
  const keyAt = locate(at, "session_ticket_key_file")
  const mode = files.mode(sessionTicketKeyFile)
  if (!mode.ok) report.error(keyAt, `Cannot read ${sessionTicketKeyFile}: ${mode.reason}`)
  else if ((mode.value & 0o004) !== 0) {
    const message = `Every user may read ${sessionTicketKeyFile}`
    report.warning(keyAt, message, `Run chmod o-r ${sessionTicketKeyFile}`)
  }
}

/** Names that the file gives; the others are made unique. */
function checkRouteNames(routes: readonly Decoded<RouteConfig>[], { report }: Context): void {
  const first = new Map<string, TomlNode>()
  for (const { node, draft } of routes) {
    if (draft.name === undefined || draft.name === "") continue
    const at = locate(node, "name")
    const earlier = first.get(draft.name)
    first.set(draft.name, earlier ?? at)
    if (earlier === undefined) continue
    const hint = `The first is at ${report.place(earlier)}`
    report.error(at, `There are two routes named "${draft.name}" in this listener`, hint)
  }
}

function checkRoute({ node, value }: Decoded<RouteConfig>, { report }: Context): void {
  if (value === undefined) return
  const isForwarded = value.action.type === "pool" || value.action.type === "split"
  if (isForwarded) return
  for (const key of FORWARD_KEYS) {
    if (!node.entries.has(key)) continue
    const message = `${key} has no effect: this route does not go to a pool`
    report.warning(locate(node, key), message, "Remove it")
  }
  if (value.action.type === "respond" && value.rewrite !== undefined) {
    report.warning(locate(node, "rewrite"), "rewrite has no effect with respond", "Remove it")
  }
}

const FORWARD_KEYS = [
  "set_headers",
  "add_headers",
  "remove_headers",
  "timeout",
  "retry",
  "sticky",
  "mirror",
  "max_body",
]
