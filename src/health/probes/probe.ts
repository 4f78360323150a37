/**
 * What a probe is: it looks at one target once and says what it found. One file per type beside
 * this one, the table of them in `probe-table.ts`, the promises they all keep in
 * `probe.contract.test.ts`:
 *
 * - Success and failure are both a `Finding`; a probe that throws has failed, with the message.
 * - It sets no timer. When `run.signal` aborts it ends promptly and leaves no socket or process.
 * - `run.phase` says at any time what it is doing, because "timed out" alone helps nobody.
 */
import type { CheckConfig } from "../../config/config.ts"
import type { Endpoint } from "../../net/address.ts"
import { encodeProxyHeader, type ProxyVersion } from "../../wire/proxy-protocol.ts"
import type { ProbeResult } from "../check-machine.ts"

export interface ProbeTarget<Check extends CheckConfig = CheckConfig> {
  readonly name: string
  readonly check: Check
  /** Undefined only for commands that stand for no server. */
  readonly address: Endpoint | undefined
  /** More of the environment for a command, on top of what `command.ts` sets. */
  readonly env: Readonly<Record<string, string>>
  /** The server wants a PROXY header before anything else. */
  readonly proxyProtocol?: ProxyVersion | undefined
}

export interface ProbeRun {
  readonly signal: AbortSignal
  /** Completes "no answer within 1000 ms, …"; empty at first. */
  phase: string
}

export interface Finding {
  readonly ok: boolean
  readonly reason: string
}

export type Probe<Check extends CheckConfig = CheckConfig> = (
  target: ProbeTarget<Check>,
  run: ProbeRun,
) => Promise<Finding>

/** Runs a probe once. Never rejects. */
export async function runProbe<Check extends CheckConfig>(
  probe: Probe<Check>,
  target: ProbeTarget<Check>,
  run: ProbeRun,
): Promise<ProbeResult> {
  const startedAt = performance.now()
  const finding = await attempt(probe, target, run)
  const durationMs = performance.now() - startedAt
  return { inconclusive: false, ...finding, reason: oneLine(finding.reason), durationMs }
}

async function attempt<Check extends CheckConfig>(
  probe: Probe<Check>,
  target: ProbeTarget<Check>,
  run: ProbeRun,
): Promise<Finding & { readonly inconclusive?: boolean }> {
  try {
    return await probe(target, run)
  } catch (error) {
    return {
      ok: false,
      reason: describeError(error, run.phase),
      inconclusive: OWN_SHORTAGES.has(errorCode(error)),
    }
  }
}

/** Where to connect to: the check's own port where it has one. Throws without an address. */
export function probedEndpoint({ address, check }: ProbeTarget): Endpoint {
  if (address === undefined) throw new Error(`A check of type ${check.type} needs an address`)
  return check.port === undefined ? address : { address: address.address, port: check.port }
}

/**
 * What a server must be sent first: that nobody is spoken for. Another port is another program's,
 * as HAProxy has it with `check port`. Undefined: nothing.
 */
export function probePreface({
  address,
  check,
  proxyProtocol,
}: ProbeTarget): Uint8Array | undefined {
  const isOwnPort = check.port === undefined || check.port === address?.port
  return proxyProtocol === undefined || !isOwnPort
    ? undefined
    : encodeProxyHeader(proxyProtocol, undefined)
}

/** Text from a server goes to logs and terminals: one line, no control characters, bounded. */
export function oneLine(text: string): string {
  const clean = text.replace(CONTROL_CHARACTERS, " ").replace(/ {2,}/g, " ").trim()
  return clean.length <= REASON_CHARS_MAX ? clean : `${clean.slice(0, REASON_CHARS_MAX - 1)}…`
}

function describeError(error: unknown, phase: string): string {
  const message = error instanceof Error ? error.message : String(error)
  const text = ERROR_TEXTS[errorCode(error)] ?? message
  return phase === "" ? text : `${text}, ${phase}`
}

function errorCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  return typeof code === "string" ? code : ""
}

/** What people call these; the other messages speak for themselves. */
const ERROR_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EPIPE: "connection reset",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "no answer (ETIMEDOUT)",
  EMFILE: "out of file descriptors (EMFILE)",
  ENFILE: "out of file descriptors (ENFILE)",
  ERR_SSL_WRONG_VERSION_NUMBER: "the server does not speak TLS",
  EADDRNOTAVAIL: "no local address or port left (EADDRNOTAVAIL)",
}

/** Errors of this machine: no word on the target. */
const OWN_SHORTAGES: ReadonlySet<string> = new Set([
  "EADDRNOTAVAIL",
  "EAGAIN",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
])

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g
const REASON_CHARS_MAX = 200
