/**
 * The probes by check type. To add one: its config in `config/config.ts`, its file here, a line in
 * this table; the compiler then asks for its entry in `probe.contract.test.ts`.
 */
import type { CheckConfig } from "../../config/config.ts"
import { probeCommand } from "./command.ts"
import { probeHttp } from "./http.ts"
import { probeMysql } from "./mysql.ts"
import type { Probe } from "./probe.ts"
import { probeTcp } from "./tcp.ts"

export type CheckType = CheckConfig["type"]

export type ProbeTable = {
  readonly [Type in CheckType]: Probe<Extract<CheckConfig, { type: Type }>>
}

export const PROBES: ProbeTable = {
  tcp: probeTcp,
  http: probeHttp,
  mysql: probeMysql,
  command: probeCommand,
}

/** The probe for a check of that type; the caller passes it targets of the same type only. */
export function probeOf(type: CheckType): Probe {
  return PROBES[type] as Probe
}
