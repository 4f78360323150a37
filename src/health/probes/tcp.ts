/**
 * `type = "tcp"`: the server accepts a connection. Closed with FIN, because some servers log or
 * count a reset. Servers that count a connection without a login as an attack, as MySQL does, need
 * their own type.
 */
import type { TcpCheckConfig } from "../../config/config.ts"
import { Connection } from "./connection.ts"
import { type Probe, probedEndpoint, probePreface } from "./probe.ts"

export const probeTcp: Probe<TcpCheckConfig> = async (target, run) => {
  using _connection = await Connection.open(probedEndpoint(target), run, {
    preface: probePreface(target),
  })
  return { ok: true, reason: "connected" }
}
