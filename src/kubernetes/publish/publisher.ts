/**
 * Keeps the Services of `[[publish]]` in the cluster as they should be, and takes away those that
 * are not published any more, also by an earlier configuration or the other edge.
 *
 * An object is ours when it carries our label and names our Lease as its owner: two pairs of edges
 * in one cluster have two Leases. What lacks that is never written to; a Service of that name which
 * somebody else made is told of, in an Event and in the status. Slices are made only once the
 * Service is seen to be ours, else they would add endpoints to another's.
 *
 * Writes are bounded: an object is written at once when it was quiet, then again after 2 s at the
 * earliest, and while what was written does not show, ever more seldom, up to a minute. So neither
 * a flapping server, nor a namespace that does not exist yet, nor somebody who keeps changing our
 * objects makes a storm of writes.
 */
import type { PublishConfig } from "../../config/config.ts"
import { formatEndpoint } from "../../net/address.ts"
import { after, earlier, type Instant } from "../../net/time.ts"
import {
  type ClusterView,
  type EndpointSlice,
  keyOf,
  type ObjectMeta,
  type Service,
  serviceKeyOf,
} from "../objects.ts"
import type { Write } from "../writes.ts"
import { deletion, mendService, mendSlice, ownerOf } from "./difference.ts"
import {
  type PublishedServer,
  serviceObject,
  sliceObject,
  type WantedService,
  wantedService,
} from "./wanted.ts"

export interface PublishInput {
  readonly publish: readonly PublishConfig[]
  /** Servers that pods can reach, by pool; of the pools of `direct` tables. */
  readonly servers: ReadonlyMap<string, readonly PublishedServer[]>
  readonly view: Pick<ClusterView, "services" | "endpointSlices" | "namespaces">
  /** Services and EndpointSlices are known; until then nothing is missing or superfluous. */
  readonly isSynced: boolean
  /** This edge holds the Lease; the other one only looks. */
  readonly isWriter: boolean
}

export interface PublishOutcome {
  readonly writes: readonly Write[]
  readonly rows: readonly PublishRow[]
}

/** For the status, one for each `[[publish]]` and for each Service that is to go. */
export interface PublishRow {
  /** "release/lb-mysql-server". */
  readonly service: string
  readonly port: number
  /** "" of what is not published any more. */
  readonly stream: string
  readonly state: PublishState
  /** What is in the way; "" where nothing is. */
  readonly message: string
  /** "192.168.0.40:3306", those that are ready. */
  readonly endpoints: readonly string[]
}

export type PublishState =
  | "published"
  /** Asked of the API, or to be asked. */
  | "pending"
  /** Nobody to lead to: Service without endpoints. */
  | "empty"
  /** The object of that name is not ours. */
  | "conflict"
  | "missing_namespace"
  | "failed"
  /** Not published any more. */
  | "removing"
  /** The cluster is not known yet. */
  | "unknown"

interface Attempt {
  readonly at: Instant
  /** Writes since the object last was as it should be. */
  readonly count: number
  /** What the API said; "": nothing yet. */
  readonly failure: string
}

type Target = Pick<Exclude<Write, { type: "event" }>, "resource" | "namespace" | "name">

export class Publisher {
  /** The pair's Lease, "kube-system/causeway". */
  readonly #owner: string
  readonly #attempts = new Map<string, Attempt>()
  /** Services of others that were told of, by uid. */
  readonly #reported = new Set<string>()
  #deadline: Instant | undefined

  constructor(owner: string) {
    this.#owner = owner
  }

  /** To be called when the input or the time has changed; more often is harmless. */
  update(input: PublishInput, now: Instant): PublishOutcome {
    this.#deadline = undefined
    const wanted = input.publish.map((each) => {
      return { publish: each, service: wantedService(each, input.servers.get(each.pool) ?? []) }
    })
    if (!input.isSynced) {
      const rows = wanted.map((each) => rowOf(each, { state: "unknown", message: NOT_SYNCED }))
      return { writes: [], rows }
    }
    const steps = wanted.map(({ service }) => this.#stepsFor(service, input.view))
    const leftovers = this.#leftovers(wanted, input.view)
    const writes = [...steps.flatMap((step) => step.writes), ...leftovers]
    this.#forgetReported(writes)
    const due = this.#due(writes, now, input.isWriter)
    const rows = wanted.map((each, index) => rowOf(each, this.#stateOf(steps[index], input)))
    return { writes: due, rows: [...rows, ...this.#removals(leftovers, input.view)] }
  }

  /** When to call `update` although nothing has changed. */
  deadline(): Instant | undefined {
    return this.#deadline
  }

  /** The API did not take a write; `message` is for the status. It is tried again. */
  failed(target: Target, message: string): void {
    const id = idOf(target)
    const attempt = this.#attempts.get(id)
    if (attempt !== undefined) this.#attempts.set(id, { ...attempt, failure: message })
  }

  #stepsFor(wanted: WantedService, view: PublishInput["view"]): Step {
    const { namespaces, services } = view
    const found = services.get(wanted.key)
    if (found === undefined) {
      // None at all: we may not list them, or have not.
      const isMissing = namespaces.size > 0 && !namespaces.has(wanted.namespace)
      if (isMissing) return { wanted, writes: [], state: "missing_namespace" }
      return { wanted, writes: [this.#creation(wanted)], state: "pending" }
    }
    if (ownerOf(found.meta) !== this.#owner) {
      return { wanted, writes: this.#reportOf(found), state: "conflict", found }
    }
    if (found.meta.isDeleting) return { wanted, writes: [], state: "pending" }
    const service = mendService(found, wanted)
    this.#settle({ resource: "services", ...wanted }, service === undefined)
    // The slices of a Service that is made anew wait for it.
    if (service?.type === "delete") return { wanted, writes: [service], state: "pending" }
    return this.#slicesOf(wanted, view, service === undefined ? [] : [service])
  }

  #slicesOf(wanted: WantedService, view: PublishInput["view"], before: readonly Write[]): Step {
    const writes = [...before]
    for (const slice of wanted.slices) {
      const found = view.endpointSlices.get(slice.key)
      const target = { resource: "endpointslices", ...slice } as const
      if (found === undefined) {
        const { namespace, name } = slice
        const object = sliceObject(slice, this.#owner)
        writes.push({ type: "create", resource: "endpointslices", namespace, name, object })
      } else if (ownerOf(found.meta) !== this.#owner) {
        return { wanted, writes: before, state: "conflict", found }
      } else {
        const mended = mendSlice(found, slice)
        this.#settle(target, mended === undefined)
        if (mended !== undefined) writes.push(mended)
      }
    }
    const isEmpty = wanted.slices.length === 0
    return {
      wanted,
      writes,
      state: writes.length > 0 ? "pending" : isEmpty ? "empty" : "published",
    }
  }

  #creation(wanted: WantedService): Write {
    const { namespace, name } = wanted
    const object = serviceObject(wanted, this.#owner)
    return { type: "create", resource: "services", namespace, name, object }
  }

  /** Told once for each object; the status goes on saying it. */
  #reportOf({ meta }: Service): Write[] {
    const { namespace, name, uid } = meta
    const about = { kind: "Service", namespace, name, uid } as const
    const advice = "publish under another name, or delete it"
    const message = `${conflictMessage(meta)} and is left as it is: ${advice}`
    return [{ type: "event", about, severity: "Warning", reason: "PublishConflict", message }]
  }

  /** Ours, and wanted by nobody. Slices first: without them the Service leads nowhere. */
  #leftovers(wanted: readonly Wanted[], view: PublishInput["view"]): Write[] {
    const services = new Set(wanted.map(({ service }) => service.key))
    const slices = new Set(wanted.flatMap(({ service }) => service.slices.map(({ key }) => key)))
    const isOurs = ({ meta }: Service | EndpointSlice) => ownerOf(meta) === this.#owner
    /** A slice whose Service is not ours any more would add endpoints to another's. */
    const isWanted = (slice: EndpointSlice) => {
      const service = view.services.get(serviceKeyOf(slice))
      return slices.has(keyOf(slice.meta)) && (service === undefined || isOurs(service))
    }
    return [
      ...[...view.endpointSlices.values()]
        .filter((slice) => isOurs(slice) && !slice.meta.isDeleting && !isWanted(slice))
        .map((slice) => deletion("endpointslices", slice)),
      ...[...view.services.values()]
        .filter((service) => isOurs(service) && !service.meta.isDeleting)
        .filter(({ meta }) => !services.has(keyOf(meta)))
        .map((service) => deletion("services", service)),
    ]
  }

  /** Rows of Services that are to go. */
  #removals(leftovers: readonly Write[], { services }: PublishInput["view"]): PublishRow[] {
    return leftovers.flatMap((write) => {
      if (write.type === "event" || write.resource !== "services") return []
      const service = `${write.namespace}/${write.name}`
      const port = services.get(service)?.ports[0]?.port ?? 0
      const message = this.#attempts.get(idOf(write))?.failure ?? ""
      return { service, port, stream: "", state: "removing" as const, message, endpoints: [] }
    })
  }

  /** What may be written now; sets the deadline for the rest. */
  #due(writes: readonly Write[], now: Instant, isWriter: boolean): Write[] {
    const asked = new Set<string>()
    const due = writes.filter((write) => {
      if (!isWriter) return false
      if (write.type === "event") return this.#isNews(write.about.uid)
      const id = idOf(write)
      asked.add(id)
      const attempt = this.#attempts.get(id)
      const next = attempt === undefined ? now : after(attempt.at, gapMs(attempt.count))
      if (next > now) {
        this.#deadline = earlier(this.#deadline, next)
        return false
      }
      const count = (attempt?.count ?? 0) + 1
      this.#attempts.set(id, { at: now, count, failure: attempt?.failure ?? "" })
      this.#deadline = earlier(this.#deadline, after(now, gapMs(count)))
      return true
    })
    for (const [id, { at }] of this.#attempts) {
      if (!asked.has(id) && after(at, GAP_MAX_MS) <= now) this.#attempts.delete(id)
    }
    return due
  }

  /** What is no conflict any more is news when it becomes one again. */
  #forgetReported(writes: readonly Write[]): void {
    const current = new Set(
      writes.flatMap((write) => (write.type === "event" ? write.about.uid : [])),
    )
    for (const uid of this.#reported) if (!current.has(uid)) this.#reported.delete(uid)
  }

  #isNews(uid: string): boolean {
    if (this.#reported.has(uid)) return false
    this.#reported.add(uid)
    return true
  }

  /** The object is as it should be: the next change is written after the shortest gap. */
  #settle(target: Target, isSettled: boolean): void {
    const id = idOf(target)
    const attempt = this.#attempts.get(id)
    if (isSettled && attempt !== undefined) {
      this.#attempts.set(id, { at: attempt.at, count: 0, failure: "" })
    }
  }

  #stateOf(
    step: Step | undefined,
    { isWriter }: PublishInput,
  ): Pick<PublishRow, "state" | "message"> {
    if (step === undefined) return { state: "unknown", message: "" }
    const { wanted, state, writes, found } = step
    if (found !== undefined) return { state, message: conflictMessage(found.meta) }
    if (state === "pending" && !isWriter) return { state, message: "The other edge writes" }
    const failure = writes
      .flatMap((write) => (write.type === "event" ? [] : this.#attempts.get(idOf(write))?.failure))
      .find((message) => message !== undefined && message !== "")
    if (failure !== undefined) return { state: "failed", message: failure }
    if (state !== "missing_namespace") return { state, message: "" }
    return { state, message: `There is no namespace ${wanted.namespace}` }
  }
}

interface Step {
  readonly wanted: WantedService
  readonly writes: readonly Write[]
  readonly state: PublishState
  /** What is in the way. */
  readonly found?: Service | EndpointSlice
}

interface Wanted {
  readonly publish: PublishConfig
  readonly service: WantedService
}

function rowOf(
  { publish, service }: Wanted,
  state: Pick<PublishRow, "state" | "message">,
): PublishRow {
  const endpoints = service.slices.flatMap(({ endpoints, port }) => {
    const ready = endpoints.filter(({ isReady }) => isReady !== false)
    return ready.map(({ address }) => formatEndpoint({ address, port }))
  })
  return { service: service.key, port: publish.port, stream: publish.stream, ...state, endpoints }
}

function conflictMessage(meta: ObjectMeta): string {
  const owner = ownerOf(meta)
  if (owner === undefined) return `${keyOf(meta)} was not made by Causeway`
  return `${keyOf(meta)} is published by the edges with Lease ${owner}`
}

function idOf({ resource, namespace, name }: Target): string {
  return `${resource} ${namespace}/${name}`
}

function gapMs(count: number): number {
  return Math.min(GAP_MAX_MS, GAP_MS * 2 ** Math.max(0, count - 1))
}

const NOT_SYNCED = "The cluster's Services are not known yet"

const GAP_MS = 2000
const GAP_MAX_MS = 60_000
