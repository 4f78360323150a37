/**
 * Asks the running edge over its admin API. Failures are `CommandFailure`s that say what to do.
 *
 * Never through a proxy: HTTP_PROXY is meant for the operator's other work, and Bun's `fetch` would
 * send the token there (`proxy: ""` does not stop it, removing the variables does; tried with
 * 1.4.5).
 */
import type { Status } from "../admin/backend.ts"
import { type AdminAddress, adminAddresses, formatAdminAddress } from "./admin-address.ts"
import { CommandFailure, type CommandInput } from "./command.ts"

export interface Refusal {
  readonly ok: false
  readonly status: number
  readonly detail: string
}

export type Answer = { readonly ok: true; readonly value: unknown } | Refusal

export class AdminClient {
  readonly #addresses: readonly AdminAddress[]

  constructor(input: CommandInput) {
    this.#addresses = adminAddresses(input)
    for (const name of PROXY_VARIABLES) {
      delete process.env[name]
      delete process.env[name.toLowerCase()]
    }
  }

  /** The whole picture; from the first address that answers. */
  async status(): Promise<Status> {
    const question = { method: "GET", path: "/v1/status", body: undefined }
    const answer = await askFirst(this.#addresses, question)
    if (!answer.ok) throw refused(answer)
    return answer.value as Status
  }

  /** A change; `body` goes as JSON. A refusal by the edge is an answer, no exception. */
  change(method: "POST" | "PATCH", path: string, body?: unknown): Promise<Answer> {
    // Over TCP without the token it would be refused, and hide why the socket does not answer.
    const able = this.#addresses.filter((each) => each.type === "unix" || each.token !== undefined)
    return askFirst(able.length > 0 ? able : this.#addresses, { method, path, body })
  }
}

/** A refusal as the end of the command. */
export function refused({ detail }: Refusal): CommandFailure {
  return new CommandFailure(detail)
}

interface Question {
  readonly method: string
  readonly path: string
  readonly body: unknown
}

/** Where one address does not answer, the next is tried; if none does, the first one's failure. */
async function askFirst(addresses: readonly AdminAddress[], question: Question): Promise<Answer> {
  let failure: unknown
  for (const address of addresses) {
    try {
      return await ask(address, question)
    } catch (error) {
      failure ??= unreachable(address, error)
    }
  }
  throw failure
}

async function ask(address: AdminAddress, { method, path, body }: Question): Promise<Answer> {
  const token = address.type === "tcp" ? address.token : undefined
  const origin = address.type === "tcp" ? address.origin : "http://localhost"
  const response = await fetch(`${origin}${path}`, {
    method,
    keepalive: false,
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...(address.type === "unix" ? { unix: address.path } : {}),
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const value = parseJson(await response.text())
  return response.ok
    ? { ok: true, value }
    : { ok: false, status: response.status, ...problem(value) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function problem(value: unknown): { readonly detail: string } {
  const detail = (value as { readonly detail?: unknown } | undefined)?.detail
  return { detail: typeof detail === "string" ? detail : "The edge gave no reason" }
}

function unreachable(address: AdminAddress, error: unknown): CommandFailure {
  const { code, name } = error as NodeJS.ErrnoException
  const reason = name === "TimeoutError" ? "no answer" : (code ?? String(error))
  const advice = (reason === "EACCES" && address.type === "unix" && ACCESS_ADVICE) || START_ADVICE
  return new CommandFailure(
    `Cannot reach the edge at ${formatAdminAddress(address)}: ${reason} (${advice})`,
  )
}

const START_ADVICE = "is causeway running? see: systemctl status causeway"
const ACCESS_ADVICE = "use sudo, or become a member of the group causeway"

/** A reload waits for every thread, at most a second each. */
const TIMEOUT_MS = 30_000

const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
