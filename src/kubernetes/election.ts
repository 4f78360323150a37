/**
 * Which edge writes to the API: the one that holds a Lease (coordination.k8s.io/v1).
 *
 * The rules are those of client-go's leaderelection, so that people who know it find nothing new: a
 * lease of 15 s, renewed every 2 s; who could not renew it for 10 s stops; the others take it when
 * they have seen no change of it for its whole duration. That time is counted on the observer's own
 * monotonic clock from the moment it saw the last change, so no two clocks are ever compared; the
 * times in the object are for people. Every write names the version it is based on, so of two edges
 * that want the Lease in one moment the server lets one have it.
 *
 * Time alone is not all that keeps two edges apart: a new holder is told to look first
 * (`needsFreshView`), and `addresses/fence.ts` makes what its predecessor sent too late harmless.
 *
 * Serving never asks this machine anything.
 */
import { after, earlier, type Instant } from "../net/time.ts"
import type { Json } from "./writes.ts"

/** What the Lease says. */
export interface LeaseRecord {
  readonly resourceVersion: string
  /** "": nobody holds it. */
  readonly holderIdentity: string
  readonly leaseDurationSeconds: number
  /** As written; shown, never compared with a clock. */
  readonly acquireTime: string
  readonly renewTime: string
  readonly leaseTransitions: number
}

export type LeaseAnswer =
  | { readonly ok: true; readonly lease: LeaseRecord }
  /** "conflict": changed, or created by another, meanwhile. */
  | {
      readonly ok: false
      readonly reason: "not_found" | "conflict" | "forbidden" | "unreachable"
      readonly message: string
    }

export type ElectionInput =
  | { readonly type: "start" }
  /** Give the Lease back, if it is ours, and end. */
  | { readonly type: "stop" }
  | { readonly type: "timeout" }
  /** To the request of that number; each request gets exactly one. */
  | { readonly type: "answer"; readonly request: number; readonly answer: LeaseAnswer }

export interface LeaseSpec {
  readonly holderIdentity: string
  readonly leaseDurationSeconds: number
  readonly leaseTransitions: number
  /** Undefined: now. */
  readonly acquireTime: string | undefined
}

export type ElectionAction =
  | { readonly type: "get"; readonly request: number; readonly timeoutMs: number }
  | {
      readonly type: "create"
      readonly request: number
      readonly timeoutMs: number
      readonly spec: LeaseSpec
    }
  | {
      readonly type: "update"
      readonly request: number
      readonly timeoutMs: number
      readonly resourceVersion: string
      readonly spec: LeaseSpec
    }
  /**
   * The Lease is ours. List Services anew and consistently (no resourceVersion), and when the view
   * has that list and we still may write, become the writer with this term.
   */
  | { readonly type: "needsFreshView"; readonly term: string }
  /** Stop writing at once. */
  | { readonly type: "lost"; readonly reason: LossReason }
  | { readonly type: "stopped" }

export type LossReason = "deadline" | "taken" | "stopped"

export interface ElectionTiming {
  readonly leaseMs: number
  /** Not renewed for so long: stop. Less than the lease by more than a request's time limit. */
  readonly renewDeadlineMs: number
  readonly retryMs: number
  readonly requestMs: number
}

export interface ElectionOptions {
  /** Node name and something random: a restarted process is another one. */
  readonly identity: string
  /** 0 ≤ x < 1. */
  readonly random: () => number
  readonly timing?: ElectionTiming
}

export interface ElectionStatus {
  readonly state: "stopped" | "following" | "leading" | "releasing"
  /** As last seen; "" when nobody holds it or nothing was seen. */
  readonly holder: string
  readonly transitions: number
  /** Why the last request failed; "". */
  readonly problem: string
}

type State =
  | { readonly name: "stopped" }
  | { readonly name: "following"; readonly nextAt: Instant }
  | {
      readonly name: "leading"
      readonly nextAt: Instant
      /** When the last successful renewal was *sent*: others count from later. */
      readonly renewedAt: Instant
      readonly term: string
    }
  | { readonly name: "releasing" }

interface Pending {
  readonly request: number
  readonly type: "get" | "create" | "update"
  readonly sentAt: Instant
}

export class Election {
  readonly #identity: string
  readonly #random: () => number
  readonly #timing: ElectionTiming
  #state: State = { name: "stopped" }
  #observed: LeaseRecord | undefined
  /** When the record was last seen to have changed. */
  #observedAt: Instant | undefined
  #pending: Pending | undefined
  #requests = 0
  #terms = 0
  #problem = ""

  constructor({ identity, random, timing = CLIENT_GO }: ElectionOptions) {
    this.#identity = identity
    this.#random = random
    this.#timing = timing
  }

  handle(input: ElectionInput, now: Instant): ElectionAction[] {
    const lost = input.type === "stop" ? [] : this.#checkDeadline(now)
    switch (input.type) {
      case "start":
        if (this.#state.name !== "stopped") return lost
        this.#state = { name: "following", nextAt: now }
        return this.#proceed(now)
      case "stop":
        return this.#stop(now)
      case "timeout":
        return [...lost, ...this.#proceed(now)]
      case "answer":
        return [...lost, ...this.#answered(input.request, input.answer, now)]
    }
  }

  deadline(): Instant | undefined {
    const state = this.#state
    if (state.name === "stopped" || state.name === "releasing") return undefined
    const nextAt = this.#pending === undefined ? state.nextAt : undefined
    return state.name === "leading" ? earlier(nextAt, this.#endOf(state)) : nextAt
  }

  /** May a write be sent at this moment? */
  mayWrite(now: Instant): boolean {
    return this.#state.name === "leading" && now < this.#endOf(this.#state)
  }

  status(): ElectionStatus {
    return {
      state: this.#state.name,
      holder: this.#observed?.holderIdentity ?? "",
      transitions: this.#observed?.leaseTransitions ?? 0,
      problem: this.#problem,
    }
  }

  #endOf({ renewedAt }: { readonly renewedAt: Instant }): Instant {
    return after(renewedAt, this.#timing.renewDeadlineMs)
  }

  #checkDeadline(now: Instant): ElectionAction[] {
    const state = this.#state
    if (state.name !== "leading" || now < this.#endOf(state)) return []
    return this.#lose("deadline", now)
  }

  #lose(reason: LossReason, now: Instant): ElectionAction[] {
    this.#state = { name: "following", nextAt: after(now, this.#retryDelayMs()) }
    // Its answer would belong to another state of affairs.
    this.#pending = undefined
    return [{ type: "lost", reason }]
  }

  #stop(now: Instant): ElectionAction[] {
    const state = this.#state
    const observed = this.#observed
    if (state.name === "stopped" || state.name === "releasing") return []
    if (state.name === "following" || observed === undefined || now >= this.#endOf(state)) {
      this.#state = { name: "stopped" }
      this.#pending = undefined
      const lost = state.name === "leading" ? [lostBy("stopped")] : []
      return [...lost, { type: "stopped" }]
    }
    this.#state = { name: "releasing" }
    const spec = { ...this.#specOf(observed), holderIdentity: "", leaseDurationSeconds: 1 }
    // A renewal may be under way; then this conflicts, and the Lease runs out by itself.
    return [lostBy("stopped"), this.#update(observed, spec, now)]
  }

  #proceed(now: Instant): ElectionAction[] {
    const state = this.#state
    if (state.name !== "following" && state.name !== "leading") return []
    if (this.#pending !== undefined || now < state.nextAt) return []
    if (state.name === "following" || this.#observed === undefined) return [this.#get(now)]
    return [this.#update(this.#observed, this.#specOf(this.#observed), now)]
  }

  #answered(request: number, answer: LeaseAnswer, now: Instant): ElectionAction[] {
    const pending = this.#pending
    if (pending?.request !== request) return []
    this.#pending = undefined
    this.#problem = answer.ok ? "" : answer.message
    if (this.#state.name === "releasing") {
      this.#state = { name: "stopped" }
      return [{ type: "stopped" }]
    }
    if (!answer.ok) return this.#failed(answer.reason, pending, now)
    this.#observe(answer.lease, now)
    if (pending.type !== "get") return this.#renewed(pending, now)
    return this.#state.name === "leading" ? this.#found(now) : this.#consider(now)
  }

  #observe(lease: LeaseRecord, now: Instant): void {
    if (!isSameRecord(this.#observed, lease)) this.#observedAt = now
    this.#observed = lease
  }

  #failed(
    reason: (LeaseAnswer & { ok: false })["reason"],
    { type }: Pending,
    now: Instant,
  ): ElectionAction[] {
    if (reason === "not_found") return this.#missing(now)
    // Who leads and is contradicted looks at once; the others after a while, each after another.
    if (reason === "conflict" && this.#state.name === "leading" && type !== "get") {
      return [this.#get(now)]
    }
    return this.#wait(now)
  }

  /** Nobody has it, as far as the server knows; the last holder may not know that yet. */
  #missing(now: Instant): ElectionAction[] {
    if (this.#state.name === "following" && this.#isHeldByAnother(now)) return this.#wait(now)
    const spec = {
      holderIdentity: this.#identity,
      leaseDurationSeconds: this.#timing.leaseMs / 1000,
      leaseTransitions: 0,
      acquireTime: undefined,
    }
    const request = this.#request("create", now)
    return [{ type: "create", request, timeoutMs: this.#timing.requestMs, spec }]
  }

  /** As leader, after a conflict: somebody took it, or only touched the object. */
  #found(now: Instant): ElectionAction[] {
    const lease = this.#observed
    if (lease?.holderIdentity !== this.#identity) return this.#lose("taken", now)
    return [this.#update(lease, this.#specOf(lease), now)]
  }

  /** As follower: take what is free. */
  #consider(now: Instant): ElectionAction[] {
    const lease = this.#observed
    if (lease === undefined || this.#isHeldByAnother(now)) return this.#wait(now)
    const spec = {
      holderIdentity: this.#identity,
      leaseDurationSeconds: this.#timing.leaseMs / 1000,
      leaseTransitions: lease.leaseTransitions + 1,
      acquireTime: undefined,
    }
    return [this.#update(lease, spec, now)]
  }

  #isHeldByAnother(now: Instant): boolean {
    const lease = this.#observed
    if (lease === undefined || this.#observedAt === undefined) return false
    if (lease.holderIdentity === "" || lease.holderIdentity === this.#identity) return false
    const durationMs = lease.leaseDurationSeconds * 1000 || this.#timing.leaseMs
    return now < after(this.#observedAt, durationMs)
  }

  /** The server took a creation or an update of ours. */
  #renewed({ sentAt }: Pending, now: Instant): ElectionAction[] {
    const before = this.#state
    const isNew = before.name !== "leading"
    if (isNew) this.#terms += 1
    const term = isNew ? `${this.#identity}/${this.#terms}` : before.term
    const nextAt = after(now, this.#timing.retryMs)
    this.#state = { name: "leading", nextAt, renewedAt: sentAt, term }
    // An answer that comes too late is worth nothing.
    const lost = this.#checkDeadline(now)
    if (lost.length > 0) return isNew ? [] : lost
    return isNew ? [{ type: "needsFreshView", term }] : []
  }

  #wait(now: Instant): ElectionAction[] {
    const state = this.#state
    if (state.name === "leading") {
      this.#state = { ...state, nextAt: after(now, this.#timing.retryMs) }
    } else this.#state = { name: "following", nextAt: after(now, this.#retryDelayMs()) }
    return []
  }

  /** client-go's JitterFactor of 1.2, so that the edges do not ask in step. */
  #retryDelayMs(): number {
    return this.#timing.retryMs * (1 + 1.2 * this.#random())
  }

  #specOf(lease: LeaseRecord): LeaseSpec {
    return {
      holderIdentity: this.#identity,
      leaseDurationSeconds: this.#timing.leaseMs / 1000,
      leaseTransitions: lease.leaseTransitions,
      acquireTime: lease.acquireTime,
    }
  }

  #get(now: Instant): ElectionAction {
    const request = this.#request("get", now)
    return { type: "get", request, timeoutMs: this.#timing.requestMs }
  }

  #update({ resourceVersion }: LeaseRecord, spec: LeaseSpec, now: Instant): ElectionAction {
    const request = this.#request("update", now)
    return { type: "update", request, timeoutMs: this.#timing.requestMs, resourceVersion, spec }
  }

  #request(type: Pending["type"], now: Instant): number {
    this.#requests += 1
    this.#pending = { request: this.#requests, type, sentAt: now }
    return this.#requests
  }
}

/** The object to create, or to put over the one that is there. */
export function leaseObject(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  spec: LeaseSpec,
  { epochMs, resourceVersion }: { readonly epochMs: number; readonly resourceVersion?: string },
): Json {
  const now = microTime(epochMs)
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { namespace, name, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: {
      holderIdentity: spec.holderIdentity,
      leaseDurationSeconds: spec.leaseDurationSeconds,
      leaseTransitions: spec.leaseTransitions,
      acquireTime: spec.acquireTime || now,
      renewTime: now,
    },
  }
}

/** What of a Lease object counts; undefined: it is none. */
export function leaseRecord(object: unknown): LeaseRecord | undefined {
  const { metadata, spec } = fieldsOf(object)
  const { resourceVersion } = fieldsOf(metadata)
  if (typeof resourceVersion !== "string") return undefined
  const fields = fieldsOf(spec)
  const text = (name: string) => (typeof fields[name] === "string" ? fields[name] : "")
  const number = (name: string) => (typeof fields[name] === "number" ? fields[name] : 0)
  return {
    resourceVersion,
    holderIdentity: text("holderIdentity"),
    leaseDurationSeconds: number("leaseDurationSeconds"),
    acquireTime: text("acquireTime"),
    renewTime: text("renewTime"),
    leaseTransitions: number("leaseTransitions"),
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {}
}

/** By what the spec says: a label on the object renews nothing. */
function isSameRecord(known: LeaseRecord | undefined, seen: LeaseRecord): boolean {
  return (
    known !== undefined &&
    known.holderIdentity === seen.holderIdentity &&
    known.leaseDurationSeconds === seen.leaseDurationSeconds &&
    known.acquireTime === seen.acquireTime &&
    known.renewTime === seen.renewTime &&
    known.leaseTransitions === seen.leaseTransitions
  )
}

/** metav1.MicroTime. */
function microTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace("Z", "000Z")
}

function lostBy(reason: LossReason): ElectionAction {
  return { type: "lost", reason }
}

/** The defaults of kube-controller-manager and kube-scheduler. */
const CLIENT_GO: ElectionTiming = {
  leaseMs: 15_000,
  renewDeadlineMs: 10_000,
  retryMs: 2000,
  requestMs: 3000,
}
