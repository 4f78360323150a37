/** Runs the election over the API: its requests, its clock, and who is to be told. */
import { monotonicNow } from "../../linux/clock.ts"
import { type ApiFailure, describeFailure } from "../api-failure.ts"
import {
  Election,
  type ElectionAction,
  type ElectionInput,
  type ElectionStatus,
  type LeaseAnswer,
  type LossReason,
  leaseObject,
  leaseRecord,
} from "../election.ts"
import { type ApiClient, type ApiResult, apiPath } from "./api-client.ts"

export interface ElectionDriverOptions {
  readonly client: ApiClient
  readonly lease: { readonly namespace: string; readonly name: string }
  /** Different for each process. */
  readonly identity: string
  /** The Lease is ours: look at the cluster anew before anything is written. */
  readonly onWon: (term: string) => void
  readonly onLost: (reason: LossReason) => void
}

export class ElectionDriver {
  readonly #options: ElectionDriverOptions
  readonly #election: Election
  readonly #stopped = Promise.withResolvers<void>()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: ElectionDriverOptions) {
    this.#options = options
    this.#election = new Election({ identity: options.identity, random: Math.random })
  }

  start(): void {
    this.#handle({ type: "start" })
  }

  /** Gives the Lease back, so that the other edge need not wait for its end. */
  async stop(waitMs: number): Promise<void> {
    this.#handle({ type: "stop" })
    await Promise.race([this.#stopped.promise, Bun.sleep(waitMs)])
    clearTimeout(this.#timer)
  }

  mayWrite(): boolean {
    return this.#election.mayWrite(monotonicNow())
  }

  status(): ElectionStatus {
    return this.#election.status()
  }

  #handle(input: ElectionInput): void {
    const actions = this.#election.handle(input, monotonicNow())
    for (const action of actions) this.#act(action)
    clearTimeout(this.#timer)
    const deadline = this.#election.deadline()
    if (deadline === undefined) return
    const waitMs = Math.max(0, Math.ceil(deadline - monotonicNow()))
    this.#timer = setTimeout(() => this.#handle({ type: "timeout" }), waitMs)
  }

  #act(action: ElectionAction): void {
    switch (action.type) {
      case "needsFreshView":
        return this.#options.onWon(action.term)
      case "lost":
        return this.#options.onLost(action.reason)
      case "stopped":
        return this.#stopped.resolve()
      default:
        void this.#ask(action)
    }
  }

  async #ask(action: Extract<ElectionAction, { request: number }>): Promise<void> {
    const answer = answerOf(await this.#send(action))
    this.#handle({ type: "answer", request: action.request, answer })
  }

  async #send(action: Extract<ElectionAction, { request: number }>): Promise<ApiResult> {
    const { client, lease } = this.#options
    const { timeoutMs } = action
    const resource = { groupVersion: LEASES, resource: "leases", namespace: lease.namespace }
    const path = apiPath({ ...resource, name: lease.name })
    if (action.type === "get") return await client.get(path, { timeoutMs })
    if (action.type === "create") {
      const object = leaseObject(lease, action.spec, { epochMs: Date.now() })
      return await client.create(apiPath(resource), object, { timeoutMs })
    }
    const { resourceVersion } = action
    const object = leaseObject(lease, action.spec, { epochMs: Date.now(), resourceVersion })
    // A patch: labels and owners stay as they are, and RBAC grants no "update".
    return await client.patch(path, object, { timeoutMs })
  }
}

function answerOf(result: ApiResult): LeaseAnswer {
  if (!result.ok) return { ok: false, ...reasonOf(result.failure) }
  const lease = leaseRecord(result.value)
  if (lease !== undefined) return { ok: true, lease }
  return { ok: false, reason: "unreachable", message: "the answer is no Lease" }
}

function reasonOf(failure: ApiFailure): Omit<Extract<LeaseAnswer, { ok: false }>, "ok"> {
  const code = failure.kind === "status" ? failure.code : 0
  const reason = REASONS[code] ?? "unreachable"
  return { reason, message: describeFailure(failure) }
}

const REASONS: Readonly<Record<number, "not_found" | "conflict" | "forbidden">> = {
  401: "forbidden",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
}

const LEASES = "coordination.k8s.io/v1"
