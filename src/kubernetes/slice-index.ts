/**
 * EndpointSlices by the Service they belong to. A Service has as many slices as it has hundreds of
 * endpoints, two families and moments of transition, and each change arrives as one slice: this
 * finds the others without a walk over all of the cluster's.
 */
import type { EndpointSlice, ObjectKey } from "./objects.ts"
import { serviceKeyOf } from "./objects.ts"

export class SliceIndex {
  readonly #byService = new Map<ObjectKey, Map<ObjectKey, EndpointSlice>>()
  /** The Service a slice was filed under: its label may change. */
  readonly #services = new Map<ObjectKey, ObjectKey>()

  constructor(slices: ReadonlyMap<ObjectKey, EndpointSlice> = new Map()) {
    for (const [key, slice] of slices) this.set(key, slice)
  }

  /** Adds or replaces a slice. Returns the Services whose endpoints may be others now. */
  set(key: ObjectKey, slice: EndpointSlice): ObjectKey[] {
    const before = this.delete(key)
    if (slice.service === "") return before
    const service = serviceKeyOf(slice)
    const siblings = this.#byService.get(service) ?? new Map<ObjectKey, EndpointSlice>()
    siblings.set(key, slice)
    this.#byService.set(service, siblings)
    this.#services.set(key, service)
    return before.includes(service) ? before : [...before, service]
  }

  /** Returns the Service it belonged to, if any. */
  delete(key: ObjectKey): ObjectKey[] {
    const service = this.#services.get(key)
    if (service === undefined) return []
    this.#services.delete(key)
    const siblings = this.#byService.get(service)
    siblings?.delete(key)
    if (siblings?.size === 0) this.#byService.delete(service)
    return [service]
  }

  /** In no particular order. */
  slicesOf(service: ObjectKey): readonly EndpointSlice[] {
    return [...(this.#byService.get(service)?.values() ?? [])]
  }
}
