/** `causeway drain`, `maintain` and `ready`: what the operator wants of one server. */
import type { ServerStatus } from "../admin/backend.ts"
import { AdminClient, refused } from "./admin-client.ts"
import { CommandFailure, type CommandInput } from "./command.ts"
import { printLine } from "./output.ts"

export async function setServerState(
  state: ServerStatus["admin"],
  input: CommandInput,
): Promise<number> {
  const { pool, server } = parseServer(input.words[0] ?? "")
  const path = `/v1/pools/${encodeURIComponent(pool)}/servers/${encodeURIComponent(server)}`
  const answer = await new AdminClient(input).change("PATCH", path, { state })
  if (!answer.ok) throw refused(answer)
  const { connections } = answer.value as ServerStatus
  const open = `${connections} open connection${connections === 1 ? "" : "s"}`
  printLine(`${pool}/${server}: ${CONSEQUENCE[state]}, ${open}`)
  return 0
}

/** A pool's name has no slash, so the first one ends it. */
function parseServer(text: string): { readonly pool: string; readonly server: string } {
  const [, pool, server] = /^([^/]+)\/(.+)$/.exec(text) ?? []
  if (pool === undefined || server === undefined) {
    throw new CommandFailure(`Write POOL/SERVER, such as mysql/192.0.2.11:3306, not "${text}"`)
  }
  return { pool, server }
}

const CONSEQUENCE: Readonly<Record<ServerStatus["admin"], string>> = {
  ready: "ready",
  drain: "draining, no new connections",
  maintenance: "in maintenance",
}
