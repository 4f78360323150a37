/** What must hold within a health check. */
import type { CheckConfig, HttpCheckConfig, MysqlCheckConfig, NamedCheckConfig } from "./config.ts"
import type { Context, Decoded } from "./decode.ts"
import { checkPem, checkProgram, readSecret } from "./named-file.ts"
import { locate, type TomlNode } from "./toml.ts"

export function checkNamedChecks(checks: readonly Decoded<NamedCheckConfig>[], context: Context) {
  for (const { node, draft } of checks) {
    if (draft.check === undefined) continue
    const needsAddress = draft.check.type !== "command" && !node.entries.has("address")
    if (needsAddress) {
      const message = `The key address is missing in [[check]] of type "${draft.check.type}"`
      context.report.error(node, message, 'Add address = "192.0.2.11:6443"')
    }
    checkCheck(
      node,
      { check: draft.check, ports: draft.address ? [draft.address.port] : [] },
      context,
    )
  }
}

/** `ports`: the ports it connects to unless it names one itself. */
export function checkCheck(
  node: TomlNode,
  { check, ports }: { readonly check: CheckConfig; readonly ports: readonly number[] },
  context: Context,
): void {
  if (check.timeoutMs > check.intervalMs) {
    const at = locate(
      node,
      node.type === "table" && node.entries.has("timeout") ? "timeout" : "interval",
    )
    context.report.warning(
      at,
      "timeout is longer than interval",
      "Checks will run less often than asked",
    )
  }
  switch (check.type) {
    case "tcp":
      return checkTcp(node, check.port === undefined ? ports : [check.port], context)
    case "http":
      return checkHttp(node, check, context)
    case "mysql":
      return checkMysql(node, check, context)
    case "command":
      return checkProgram(locate(node, "command", 0), check.command[0] ?? "", context)
  }
}

/** MariaDB counts a connection without a handshake as an error; after 100 it refuses the host. */
function checkTcp(node: TomlNode, ports: readonly number[], { report }: Context): void {
  if (!ports.includes(MYSQL_PORT)) return
  report.warning(
    locate(node, "type"),
    'A check of type "tcp" makes MySQL and MariaDB block this host after 100 checks',
    'Use type = "mysql"; it needs no login',
  )
}

function checkHttp(node: TomlNode, check: HttpCheckConfig, context: Context): void {
  const { report } = context
  const at = locate(node, "ca_file")
  if (check.caFile === "") return
  if (!check.tls) report.error(at, "ca_file needs tls = true")
  else if (!check.tlsVerify) report.warning(at, "ca_file does nothing with tls_verify = false")
  checkPem(at, check.caFile, context)
}

function checkMysql(node: TomlNode, check: MysqlCheckConfig, context: Context): void {
  if (check.passwordFile !== "")
    readSecret(locate(node, "password_file"), check.passwordFile, context)
  if (check.user !== "") return
  const unused = (["password_file", "database"] as const).find((key) =>
    key === "database" ? check.database !== "" : check.passwordFile !== "",
  )
  if (unused !== undefined) {
    const hint = 'Add user = "…", or remove it to check the handshake alone'
    context.report.error(locate(node, unused), `${unused} needs a user`, hint)
  }
}

const MYSQL_PORT = 3306
