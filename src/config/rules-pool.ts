/** What must hold within a pool. */
import { type Endpoint, formatEndpoint } from "../net/address.ts"
import type { PoolConfig, ServerConfig } from "./config.ts"
import type { Context, Decoded } from "./decode.ts"
import { checkCheck } from "./rules-check.ts"
import { locate, type TomlNode } from "./toml.ts"
import { isWildcard } from "./values.ts"

export function checkPools(pools: readonly Decoded<PoolConfig>[], context: Context): void {
  for (const { node, draft } of pools) {
    const { servers, check, source, tls } = draft
    const isListed = locate(node, "kubernetes") === node
    if (isListed && servers !== undefined) checkServers(node, servers, context)
    for (const [index, address] of (source ?? []).entries()) {
      if (!isWildcard(address)) continue
      const message = `source must be one address of this host, not ${address}`
      context.report.error(
        locate(node, "source", index),
        message,
        "Leave it out: the kernel chooses",
      )
    }
    if (tls !== undefined && (tls.cert === "") !== (tls.key === "")) {
      const message = "cert and key go together: what is shown to servers that ask for one"
      context.report.error(locate(node, "tls"), message)
    }
    if (check !== undefined) {
      const ports = (servers ?? []).map(({ endpoint }) => endpoint.port)
      checkCheck(locate(node, "check"), { check, ports }, context)
    }
  }
}

function checkServers(node: TomlNode, servers: readonly ServerConfig[], context: Context): void {
  const { report } = context
  const at = locate(node, "servers")
  if (servers.length === 0) {
    report.warning(at, "The pool has no servers: its connections will be refused")
  } else if (servers.every(({ weight }) => weight === 0)) {
    report.warning(at, "Every server has weight = 0: connections will be refused")
  } else if (servers.every(({ backup }) => backup)) {
    const hint = "Backup servers are used only while all others are down; remove backup = true"
    report.warning(at, "Every server is a backup", hint)
  }
  checkServerNames(at, servers, context)
  checkServerEndpoints(at, servers, context)
}

function checkServerNames(at: TomlNode, servers: readonly ServerConfig[], { report }: Context) {
  const names = servers.map(({ name }) => name)
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) === index) continue
    report.error(locate(at, index), `There are two servers named "${name}" in this pool`)
  }
}

/** Two names for one server: it gets two shares of the load, and two checks. */
function checkServerEndpoints(at: TomlNode, servers: readonly ServerConfig[], { report }: Context) {
  const seen = new Map<string, Pick<ServerConfig, "name">>()
  for (const [index, { name, endpoint }] of servers.entries()) {
    const key = formatEndpoint(endpoint satisfies Endpoint)
    const earlier = seen.get(key)
    seen.set(key, { name })
    if (earlier === undefined || earlier.name === name) continue
    const message = `${key} is already in this pool, as "${earlier.name}"`
    report.warning(locate(at, index), message, "To give it more load, use weight")
  }
}
