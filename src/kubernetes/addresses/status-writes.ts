/**
 * What has to be written so that a Service says in the API what the edge decided, from the Service
 * as it is now, or nothing when all is said.
 *
 * Everything is in the status, so one write says all of it at once and needs no other right, and
 * each write is based on the version it looked at. Compared is what the API shows, as it shows it:
 * a server before 1.30 drops `ipMode`, and no order of the list is asked for. Conditions are
 * patched strategically, by their type, so those of others stay as they are. An Event goes out with
 * the change of the condition that it explains, so a restarted edge does not repeat what is known.
 */
import type { Address } from "../../net/address.ts"
import type { Condition, Service } from "../objects.ts"
import type { Json, Write } from "../writes.ts"
import { formatRouters, recordedRouter, VIRTUAL_ROUTER } from "./carriers.ts"
import { WRITER } from "./fence.ts"

/** Has the Service an address, and is it served there? */
export const READY = "causeway.dev/Ready"
/** Present while something of the Service is not done as it asks. */
export const DEGRADED = "causeway.dev/Degraded"

export interface Problem {
  /** UpperCamelCase. */
  readonly type: string
  /** A sentence without a full stop. */
  readonly message: string
}

export interface Verdict {
  /** By address; recorded together with `addresses`. */
  readonly routers: ReadonlyMap<Address, string>
  /** Undefined: what is there is left alone. */
  readonly addresses: readonly Address[] | undefined
  readonly ready: { readonly isTrue: boolean; readonly reason: string; readonly message: string }
  readonly problems: readonly Problem[]
}

export interface Step {
  readonly write: Write & { readonly type: "patch" }
  /** Explain the write; pointless without it. */
  readonly events: readonly Write[]
  /** The addresses of the verdict are in it. */
  readonly isGiving: boolean
}

/** The next write towards the verdict; undefined: nothing is left to say. */
export function nextStep(service: Service, verdict: Verdict, epochMs: number): Step | undefined {
  const { addresses } = verdict
  const isSaid = addresses === undefined || listsExactly(service, addresses)
  const wanted = wantedConditions(service, verdict)
  const unsaid = wanted.filter(([type, condition]) => {
    return !isSameCondition(conditionOf(service, type), condition)
  })
  if (isSaid && unsaid.length === 0) return undefined
  const types = unsaid.map(([type]) => type)
  const events = [
    ...(types.includes(READY) ? [readyEvent(service, verdict)] : []),
    ...(types.includes(DEGRADED)
      ? verdict.problems.map((problem) => problemEvent(service, problem))
      : []),
  ]
  // The mark of a touch has done its work; removing it is not worth a write of its own.
  if (conditionOf(service, WRITER) !== undefined) unsaid.push([WRITER, undefined])
  const conditions = unsaid.map(([type, condition]) => {
    return conditionPatch(service, type, condition, epochMs)
  })
  const ingress = (addresses ?? []).map((ip): LoadBalancerEntry => ({ ip, ipMode: "Proxy" }))
  const status = { ...(isSaid ? {} : loadBalancerOf(ingress)), conditions }
  return { write: statusPatch(service, status), events, isGiving: !isSaid }
}

/** A change of the Service that means nothing but a new version (`fence.ts`). */
export function touchStep(service: Service, term: string, epochMs: number): Step {
  const touched = { status: "True", reason: "TookOver", message: term }
  const conditions = [conditionPatch(service, WRITER, touched, epochMs)]
  return { write: statusPatch(service, { conditions }), events: [], isGiving: false }
}

/** Takes back what we wrote into a Service that is not ours any more, and nothing else. */
export function releaseStep(
  service: Service,
  isFromOurPools: (address: Address) => boolean,
): Step | undefined {
  const ours = service.conditions.filter(({ type }) => OWN_CONDITIONS.includes(type))
  if (ours.length === 0) return undefined
  const left = service.ingress.filter(({ ip }) => ip === undefined || !isFromOurPools(ip))
  const conditions = ours.map(({ type }) => removal(type))
  const ingress = left.length === service.ingress.length ? {} : loadBalancerOf(left)
  return { write: statusPatch(service, { ...ingress, conditions }), events: [], isGiving: false }
}

/** An `ipMode` that is not there was dropped by a server that does not know it. */
function listsExactly({ ingress }: Service, addresses: readonly Address[]): boolean {
  if (ingress.length !== addresses.length) return false
  return ingress.every(
    ({ ip, ipMode }) => ip !== undefined && addresses.includes(ip) && ipMode !== "VIP",
  )
}

type Wanted = Omit<Condition, "type"> | undefined

function wantedConditions(service: Service, verdict: Verdict): [string, Wanted][] {
  const { isTrue, reason, message } = verdict.ready
  const [first] = verdict.problems
  const all = verdict.problems.map((problem) => problem.message).join("; ")
  const degraded = first && { status: "True", reason: first.type, message: clipped(all) }
  const ready = { status: isTrue ? "True" : "False", reason, message: clipped(message) }
  const conditions: [string, Wanted][] = [
    [READY, ready],
    [DEGRADED, degraded],
  ]
  if (verdict.addresses === undefined || areRecorded(service, verdict)) return conditions
  const routers = formatRouters(verdict.routers)
  const record = { status: "True", reason: "Chosen", message: routers }
  return [...conditions, [VIRTUAL_ROUTER, verdict.routers.size === 0 ? undefined : record]]
}

/** By what it means: the record may be a name or a list. */
function areRecorded(service: Service, { routers }: Verdict): boolean {
  if (routers.size === 0) return conditionOf(service, VIRTUAL_ROUTER) === undefined
  return [...routers].every(([address, router]) => recordedRouter(service, address) === router)
}

export function conditionOf({ conditions }: Service, type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type)
}

function isSameCondition(known: Condition | undefined, wanted: Wanted): boolean {
  if (known === undefined || wanted === undefined) return known === wanted
  return (
    known.status === wanted.status &&
    known.reason === wanted.reason &&
    known.message === wanted.message
  )
}

/** Without lastTransitionTime, the strategic merge keeps the one that is there. */
function conditionPatch(service: Service, type: string, wanted: Wanted, epochMs: number): Json {
  if (wanted === undefined) return removal(type)
  const isTransition = conditionOf(service, type)?.status !== wanted.status
  const lastTransitionTime = new Date(epochMs).toISOString().replace(/\.\d+Z$/, "Z")
  return { type, ...wanted, ...(isTransition ? { lastTransitionTime } : {}) }
}

function removal(type: string): Json {
  return { type, $patch: "delete" }
}

interface LoadBalancerEntry {
  readonly ip?: Address | undefined
  readonly hostname?: string
  readonly ipMode?: string | undefined
}

/** The list has no merge key: it is replaced as a whole. */
function loadBalancerOf(entries: readonly LoadBalancerEntry[]): { readonly loadBalancer: Json } {
  const ingress = entries.map(({ ip, hostname, ipMode }) => ({
    ...(ip ? { ip } : {}),
    ...(hostname ? { hostname } : {}),
    ...(ipMode ? { ipMode } : {}),
  }))
  return { loadBalancer: { ingress: ingress.length === 0 ? null : ingress } }
}

function statusPatch({ meta }: Service, status: Json): Step["write"] {
  return {
    type: "patch",
    resource: "services",
    namespace: meta.namespace,
    name: meta.name,
    subresource: "status",
    resourceVersion: meta.resourceVersion,
    patch: { status },
    format: "strategic",
  }
}

/** With MetalLB's reasons, which people look for. */
function readyEvent(service: Service, { ready, addresses }: Verdict): Write {
  if (!ready.isTrue || addresses === undefined) {
    const what = ready.isTrue ? "The Service keeps its address" : "No address"
    const message = `${what} (${ready.reason}): ${ready.message}`
    return eventOf(service, "Warning", "AllocationFailed", message)
  }
  if (addresses.every((address) => service.ingress.some(({ ip }) => ip === address))) {
    return eventOf(service, "Normal", "Served", ready.message)
  }
  const list = addresses.map((address) => `"${address}"`).join(", ")
  return eventOf(service, "Normal", "IPAllocated", `Assigned IP [${list}]: ${ready.message}`)
}

function problemEvent(service: Service, { type, message }: Problem): Write {
  return eventOf(service, "Warning", type, message)
}

function eventOf(
  { meta: { namespace, name, uid } }: Service,
  severity: "Normal" | "Warning",
  reason: string,
  message: string,
): Write {
  const about = { kind: "Service" as const, namespace, name, uid }
  return { type: "event", about, severity, reason, message: clipped(message) }
}

/** The API takes 1,024 bytes in an Event. Compared as clipped, or it would be written for ever. */
function clipped(message: string): string {
  return message.length <= MESSAGE_CHARACTERS_MAX
    ? message
    : `${message.slice(0, MESSAGE_CHARACTERS_MAX)}…`
}

const MESSAGE_CHARACTERS_MAX = 900

const OWN_CONDITIONS: readonly string[] = [READY, DEGRADED, VIRTUAL_ROUTER, WRITER]
