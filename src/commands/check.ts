/**
 * `causeway check`: what is wrong with the configuration, or what it will do.
 *
 * The plan goes to standard output; what to look at goes to standard error, in the form of a
 * compiler's messages. Exit code 1 is for errors alone: a warning must not stop a deployment.
 */
import type { Status } from "../admin/backend.ts"
import { type Diagnostic, diagnosticJson, formatDiagnostics } from "../config/diagnostic.ts"
import { type LoadResult, loadConfig } from "../config/load.ts"
import { formatPlan, planJson } from "../config/plan.ts"
import { TlsStore } from "../daemon/tls-store.ts"
import { SystemError } from "../linux/errno.ts"
import { AdminClient } from "./admin-client.ts"
import {
  checkKubernetes,
  findingsJson,
  formatDenied,
  formatFindings,
  type KubernetesFindings,
} from "./check-kubernetes.ts"
import { CommandFailure, type CommandInput } from "./command.ts"
import { type Finding, hostFindings } from "./host-findings.ts"
import { viewHost } from "./host-view.ts"
import { printable, printError, printLine } from "./output.ts"

export async function check(input: CommandInput): Promise<number> {
  const loaded = loadConfig(input.configPath)
  if (!loaded.ok) {
    if (input.json) printJson({ ok: false, diagnostics: loaded.diagnostics.map(diagnosticJson) })
    else printError(`${formatDiagnostics(loaded.diagnostics)}\n\n${verdict(loaded.diagnostics)}`)
    return 1
  }
  const tls = tlsFindings(loaded)
  const findings = [...tls, ...(await findingsOf(loaded, input))]
  if (tls.some(({ severity }) => severity === "error")) {
    for (const { severity, message } of tls) printError(`${severity}: ${message}`)
    return 1
  }
  const kubernetes = input.kubernetes ? await checkKubernetes(loaded.config) : undefined
  const checked = { loaded, findings, kubernetes }
  if (input.json) printJson(resultJson(checked))
  else printResult(checked, input)
  return isAllowed(kubernetes) ? 0 : 1
}

function isAllowed(kubernetes: KubernetesFindings | undefined): boolean {
  return kubernetes === undefined || kubernetes.report.denied.length === 0
}

type Loaded = Extract<LoadResult, { readonly ok: true }>

interface Checked {
  readonly loaded: Loaded
  readonly findings: readonly Finding[]
  /** Undefined: the API was not asked. */
  readonly kubernetes: KubernetesFindings | undefined
}

async function findingsOf({ config }: Loaded, input: CommandInput): Promise<Finding[]> {
  const status = await runningStatus(input)
  try {
    return hostFindings(config, viewHost(status))
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
    return [{ severity: "note", message: `this host was not looked at: ${error.message}` }]
  }
}

/** What is wrong with the certificates and keys the configuration names. */
function tlsFindings({ config }: Loaded): Finding[] {
  try {
    const { warnings } = new TlsStore(() => {}).load(config)
    return warnings.map((message) => ({ severity: "warning", message }))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return message.split("\n").map((line) => ({ severity: "error", message: line }))
  }
}

/** Undefined: no edge runs here, or we may not ask it. */
async function runningStatus(input: CommandInput): Promise<Status | undefined> {
  try {
    return await new AdminClient(input).status()
  } catch (error) {
    if (error instanceof CommandFailure) return undefined
    throw error
  }
}

function printResult({ loaded, findings, kubernetes }: Checked, input: CommandInput): void {
  if (loaded.warnings.length > 0) printError(`${formatDiagnostics(loaded.warnings)}\n`)
  for (const { severity, message } of findings) printError(`${severity}: ${message}`)
  if (findings.length > 0) printError("")
  for (const line of formatPlan(loaded.config)) printLine(line)
  if (kubernetes !== undefined) printKubernetes(kubernetes)
  const warnings = findings.filter(({ severity }) => severity === "warning")
  const count = loaded.warnings.length + warnings.length
  const errors = isAllowed(kubernetes) ? "no errors" : "missing rights"
  printLine(`\n${input.configPath}: ${errors}${count === 0 ? "" : `, ${plural(count, "warning")}`}`)
}

function printKubernetes(findings: KubernetesFindings): void {
  printLine("")
  for (const line of formatFindings(findings)) printLine(printable(line))
  const { denied } = findings.report
  if (denied.length === 0) return
  printError("\nerror: the API server does not allow all that is configured")
  for (const line of formatDenied(denied)) printError(line)
}

function resultJson({ loaded, findings, kubernetes }: Checked) {
  const { config, warnings, files } = loaded
  return {
    ok: isAllowed(kubernetes),
    files,
    diagnostics: warnings.map(diagnosticJson),
    host: findings,
    plan: planJson(config),
    ...(kubernetes === undefined ? {} : { kubernetes: findingsJson(kubernetes) }),
  }
}

function printJson(value: unknown): void {
  printLine(JSON.stringify(value, undefined, 2))
}

function verdict(diagnostics: readonly Diagnostic[]): string {
  return plural(diagnostics.filter(({ severity }) => severity === "error").length, "error")
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`
}
