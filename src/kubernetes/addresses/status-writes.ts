/**
 * What has to be written so that a Service says in the API what the edge decided: the next step
 * from the Service as it is now, or nothing when all is said.
 *
 * One step at a time, each based on the version it looks at: first the annotation that names the
 * virtual router, then the status. Compared is what the API shows, as it shows it: a server before
 * 1.30 drops `ipMode`, and no order of the list is asked for. Conditions are patched strategically,
 * by their type, so those of others stay as they are. An Event goes out with the change of the
 * condition that it explains, so that a restarted edge does not repeat what is known already.
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
  /** By address of the status; empty: nothing to record. */
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
  return annotationStep(service, verdict) ?? statusStep(service, verdict, epochMs)
}

/** A change of the Service that means nothing but a new version (`fence.ts`). */
export function touchStep(service: Service, term: string): Step {
  return annotationPatch(service, { [WRITER]: term })
}

/** Takes back what we wrote into a Service that is not ours any more, and nothing else. */
export function releaseStep(
  service: Service,
  isFromOurPools: (address: Address) => boolean,
): Step | undefined {
  const ours = service.conditions.filter(({ type }) => type === READY || type === DEGRADED)
  if (ours.length > 0) {
    const left = service.ingress.filter(({ ip }) => ip === undefined || !isFromOurPools(ip))
    const conditions = ours.map(({ type }) => removal(type))
    const ingress = left.length === service.ingress.length ? {} : loadBalancerOf(left)
    return statusPatch(service, { ...ingress, conditions }, [])
  }
  const noted = [VIRTUAL_ROUTER, WRITER].filter((name) => service.meta.annotations[name])
  if (noted.length === 0) return undefined
  return annotationPatch(service, Object.fromEntries(noted.map((name) => [name, null])))
}

function annotationStep(service: Service, { routers }: Verdict): Step | undefined {
  for (const [address, router] of routers) {
    if (recordedRouter(service, address) !== router) {
      return annotationPatch(service, { [VIRTUAL_ROUTER]: formatRouters(routers) })
    }
  }
  return undefined
}

function statusStep(service: Service, verdict: Verdict, epochMs: number): Step | undefined {
  const { addresses } = verdict
  const isSaid = addresses === undefined || listsExactly(service, addresses)
  const [ready, degraded] = wantedConditions(verdict)
  const isReadySaid = isSameCondition(conditionOf(service, READY), ready)
  const isDegradedSaid = isSameCondition(conditionOf(service, DEGRADED), degraded)
  if (isSaid && isReadySaid && isDegradedSaid) return undefined
  const conditions = [
    ...(isReadySaid ? [] : [conditionPatch(service, READY, ready, epochMs)]),
    ...(isDegradedSaid ? [] : [conditionPatch(service, DEGRADED, degraded, epochMs)]),
  ]
  const ingress = (addresses ?? []).map((ip): LoadBalancerEntry => ({ ip, ipMode: "Proxy" }))
  const status = {
    ...(isSaid ? {} : loadBalancerOf(ingress)),
    ...(conditions.length === 0 ? {} : { conditions }),
  }
  const events = [
    ...(isReadySaid ? [] : [readyEvent(service, verdict)]),
    ...(isDegradedSaid ? [] : verdict.problems.map((problem) => problemEvent(service, problem))),
  ]
  return { ...statusPatch(service, status, events), isGiving: !isSaid }
}

/** An `ipMode` that is not there was dropped by a server that does not know it. */
function listsExactly({ ingress }: Service, addresses: readonly Address[]): boolean {
  if (ingress.length !== addresses.length) return false
  return ingress.every(
    ({ ip, ipMode }) => ip !== undefined && addresses.includes(ip) && ipMode !== "VIP",
  )
}

type Wanted = Omit<Condition, "type"> | undefined

function wantedConditions({ ready, problems }: Verdict): [Wanted, Wanted] {
  const { isTrue, reason, message } = ready
  const [first] = problems
  const all = problems.map((problem) => problem.message).join("; ")
  return [
    { status: isTrue ? "True" : "False", reason, message },
    first && { status: "True", reason: first.type, message: clipped(all) },
  ]
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

function annotationPatch(service: Service, annotations: Readonly<Record<string, Json>>): Step {
  return { write: patchOf(service, "", { metadata: { annotations } }), events: [], isGiving: false }
}

function statusPatch(service: Service, status: Json, events: readonly Write[]): Step {
  return { write: patchOf(service, "status", { status }), events, isGiving: false }
}

function patchOf({ meta }: Service, subresource: "" | "status", patch: Json): Step["write"] {
  return {
    type: "patch",
    resource: "services",
    namespace: meta.namespace,
    name: meta.name,
    subresource,
    resourceVersion: meta.resourceVersion,
    patch,
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
