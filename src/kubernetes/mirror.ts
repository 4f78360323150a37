/**
 * The copy of the cluster that everything is computed from: a map per kind. Reflectors write into
 * it, each for its own source, and get back what really changed; an object that differs only in its
 * resourceVersion (managed fields, a heartbeat) is kept, because writes need its version, but is no
 * change.
 *
 * Two sources may hold the same object (a TLS Secret that is also watched by name), so each source
 * knows what it has told, and an object goes when the last source that had it says so.
 */
import type {
  ClusterView,
  EndpointSlice,
  MirroredKind,
  MirroredObjects,
  ObjectKey,
} from "./objects.ts"
import type { ObjectChange } from "./reflector.ts"
import type { Source } from "./resources.ts"
import { SliceIndex } from "./slice-index.ts"
import { shared } from "./structural-sharing.ts"

export type MirroredObject = MirroredObjects[MirroredKind]

/** `before` undefined: new. `after` undefined: gone. */
export type MirrorChange = {
  readonly [Kind in MirroredKind]: {
    readonly kind: Kind
    readonly key: ObjectKey
    readonly before: MirroredObjects[Kind] | undefined
    readonly after: MirroredObjects[Kind] | undefined
  }
}[MirroredKind]

/** Plain data, for the disk. */
export interface MirrorSnapshot {
  readonly version: typeof SNAPSHOT_VERSION
  readonly sources: readonly SourceSnapshot[]
}

export interface SourceSnapshot {
  readonly id: string
  readonly kind: MirroredKind
  readonly objects: readonly MirroredObject[]
}

/**
 * Raised whenever a type in `objects.ts` changes: a snapshot of other types would be read as these.
 */
export const SNAPSHOT_VERSION = 1

type Identity = Pick<Source, "id" | "kind">
type Objects = Map<ObjectKey, MirroredObject>

export class Mirror {
  readonly #kinds: { readonly [Kind in MirroredKind]: Map<ObjectKey, MirroredObjects[Kind]> } = {
    services: new Map(),
    endpointSlices: new Map(),
    nodes: new Map(),
    namespaces: new Map(),
    ingresses: new Map(),
    ingressClasses: new Map(),
    secrets: new Map(),
    metalLbPools: new Map(),
    l2Advertisements: new Map(),
    blockAffinities: new Map(),
    ciliumNodes: new Map(),
  }
  readonly #sources = new Map<string, { readonly kind: MirroredKind; objects: Objects }>()
  readonly #slices = new SliceIndex()

  /** Always the present state: it changes under its reader. */
  get view(): ClusterView {
    return this.#kinds
  }

  /** The slices of a Service, in no particular order. */
  slicesOf(service: ObjectKey): readonly EndpointSlice[] {
    return this.#slices.slicesOf(service)
  }

  /** How many objects a source has told. */
  countOf(id: string): number {
    return this.#sources.get(id)?.objects.size ?? 0
  }

  /** Of one watch, in order. */
  apply(source: Identity, changes: readonly ObjectChange<MirroredObject>[]): MirrorChange[] {
    const { objects } = this.#source(source)
    return changes.flatMap(({ key, object }) => {
      if (object === undefined) objects.delete(key)
      else objects.set(key, shared(objects.get(key), object))
      return this.#settle(source.kind, key)
    })
  }

  /** These are all the objects that the source has now. */
  replace(source: Identity, objects: ReadonlyMap<ObjectKey, MirroredObject>): MirrorChange[] {
    const own = this.#source(source)
    const gone = [...own.objects.keys()].filter((key) => !objects.has(key))
    const known = own.objects
    own.objects = new Map(objects)
    for (const [key, object] of known) {
      const next = objects.get(key)
      if (next !== undefined) own.objects.set(key, shared(object, next))
    }
    // New ones first: nobody is without its endpoints between two slices of one Service.
    return [...objects.keys(), ...gone].flatMap((key) => this.#settle(source.kind, key))
  }

  /** Nobody wants the source any more. */
  remove(id: string): MirrorChange[] {
    const source = this.#sources.get(id)
    if (source === undefined) return []
    this.#sources.delete(id)
    return [...source.objects.keys()].flatMap((key) => this.#settle(source.kind, key))
  }

  /** Shares the objects, which never change. */
  snapshot(): MirrorSnapshot {
    const sources = [...this.#sources].map(([id, { kind, objects }]) => ({
      id,
      kind,
      objects: [...objects.values()],
    }))
    return { version: SNAPSHOT_VERSION, sources }
  }

  #source({ id, kind }: Identity): { readonly kind: MirroredKind; objects: Objects } {
    const known = this.#sources.get(id)
    if (known !== undefined) return known
    const created = { kind, objects: new Map() }
    this.#sources.set(id, created)
    return created
  }

  /** Brings the map of the kind in line with what the sources have under `key`. */
  #settle(kind: MirroredKind, key: ObjectKey): MirrorChange[] {
    const map = this.#kinds[kind] as Map<ObjectKey, MirroredObject>
    const before = map.get(key)
    const after = this.#latest(kind, key)
    if (after === before) return []
    if (after === undefined) map.delete(key)
    else map.set(key, after)
    if (kind === "endpointSlices") this.#index(key, after as EndpointSlice | undefined)
    const isSame = before !== undefined && after !== undefined && isSameButVersion(before, after)
    return isSame ? [] : [{ kind, key, before, after } as MirrorChange]
  }

  #latest(kind: MirroredKind, key: ObjectKey): MirroredObject | undefined {
    let latest: MirroredObject | undefined
    for (const source of this.#sources.values()) {
      if (source.kind !== kind) continue
      const object = source.objects.get(key)
      if (object === undefined) continue
      if (latest === undefined || isNewer(object, latest)) latest = object
    }
    return latest
  }

  #index(key: ObjectKey, slice: EndpointSlice | undefined): void {
    if (slice === undefined) this.#slices.delete(key)
    else this.#slices.set(key, slice)
  }
}

function isNewer(left: MirroredObject, right: MirroredObject): boolean {
  return Number(left.meta.resourceVersion) > Number(right.meta.resourceVersion)
}

function isSameButVersion(left: MirroredObject, right: MirroredObject): boolean {
  const { resourceVersion: _, ...leftMeta } = left.meta
  const { resourceVersion: __, ...rightMeta } = right.meta
  return isSame({ ...left, meta: leftMeta }, { ...right, meta: rightMeta })
}

/** Equality of plain data; a key without a value counts as none, as in JSON. */
function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (typeof left !== "object" || typeof right !== "object") return false
  if (left === null || right === null) return false
  if (Array.isArray(left)) {
    return (
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((each, index) => isSame(each, right[index]))
    )
  }
  const one = left as Readonly<Record<string, unknown>>
  const other = right as Readonly<Record<string, unknown>>
  return (
    Object.keys(one).every((key) => isSame(one[key], other[key])) &&
    Object.keys(other).every((key) => other[key] === undefined || key in one)
  )
}
