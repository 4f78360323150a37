/**
 * `type = "mysql"`: with a user, logs in and has SELECT 1 answered; without one, lets the server
 * refuse a user that need not exist. The dialogue is `mysql-session.ts`.
 */
import { readFile } from "node:fs/promises"
import type { MysqlCheckConfig } from "../../config/config.ts"
import { Connection } from "./connection.ts"
import { MysqlPacketReader } from "./mysql-protocol.ts"
import { type MysqlLogin, MysqlSession } from "./mysql-session.ts"
import { type Finding, type Probe, type ProbeRun, probedEndpoint, probePreface } from "./probe.ts"

export const probeMysql: Probe<MysqlCheckConfig> = async (target, run) => {
  const session = new MysqlSession(await login(target.check))
  using connection = await Connection.open(probedEndpoint(target), run, {
    preface: probePreface(target),
  })
  return await converse(connection, session, run)
}

async function converse(
  connection: Connection,
  session: MysqlSession,
  run: ProbeRun,
): Promise<Finding> {
  const packets = new MysqlPacketReader()
  for (;;) {
    run.phase = session.phase()
    connection.lastWords = session.farewell()
    const packet = packets.next()
    if (packet === undefined) {
      const bytes = await connection.read()
      if (bytes === undefined) return { ok: false, reason: `connection closed, ${run.phase}` }
      packets.push(bytes)
      continue
    }
    if (!packet.ok) return packet
    for (const action of session.receive(packet.value)) {
      if (action.type === "done") return action.finding
      connection.write(action.bytes)
    }
  }
}

/** The file is read for every check, so that a new password counts without a reload. */
async function login(check: MysqlCheckConfig): Promise<MysqlLogin | undefined> {
  const { user, passwordFile, database } = check
  if (user === "") return undefined
  const password = passwordFile === "" ? "" : await readFile(passwordFile, "utf8")
  return { user, password: password.replace(/\r?\n$/, ""), database }
}
