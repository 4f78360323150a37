/**
 * What etcd and the watch cache are to the real server: all objects under one counter of revisions,
 * a bounded log of changes from which watches resume and old states are read, and a floor below
 * which nothing is remembered ("compacted").
 *
 * An object is kept with the text it is sent as, made once, so that a list of ten thousand is a
 * join of strings.
 */
import { type ApiObject, keyOf } from "./object.ts"
import { apiVersionOf, type Resource } from "./resources.ts"

/** An object at one revision; never changed. */
export interface Stored {
  readonly key: string
  readonly object: ApiObject
  readonly revision: number
  /** JSON without `kind` and `apiVersion`: the form that lists carry. */
  readonly bare: string
}

export interface Change {
  readonly revision: number
  readonly type: "ADDED" | "MODIFIED" | "DELETED"
  readonly resource: Resource
  /** State after the change; of a deletion the last one, with the deletion's revision. */
  readonly stored: Stored
  readonly previous: Stored | undefined
}

/** A copy to return to; plain references, since nothing stored is ever changed. */
export interface Backup {
  readonly revision: number
  readonly collections: ReadonlyMap<Resource, ReadonlyMap<string, Stored>>
}

export interface StoreOptions {
  readonly firstRevision: number
  /** Changes kept for each resource; those before the oldest one are forgotten. */
  readonly historyMax: number
}

export class Store {
  readonly #options: StoreOptions
  readonly #collections = new Map<Resource, Collection>()
  readonly #listeners = new Set<(change: Change) => void>()
  #revision: number

  constructor(options: StoreOptions) {
    this.#options = options
    this.#revision = options.firstRevision
  }

  get revision(): number {
    return this.#revision
  }

  onChange(listener: (change: Change) => void): void {
    this.#listeners.add(listener)
  }

  get(resource: Resource, key: string): Stored | undefined {
    return this.#of(resource).objects.get(key)
  }

  count(resource: Resource): number {
    return this.#of(resource).objects.size
  }

  put(resource: Resource, object: ApiObject): Stored {
    const collection = this.#of(resource)
    const key = keyOf(object.metadata)
    const previous = collection.objects.get(key)
    this.#revision += 1
    const stored = storedAs(resource, object, this.#revision)
    if (previous === undefined) collection.sorted = undefined
    collection.objects.set(key, stored)
    const type = previous === undefined ? "ADDED" : "MODIFIED"
    this.#record({ revision: this.#revision, type, resource, stored, previous })
    return stored
  }

  /** The object as a `put` would store it. */
  preview(resource: Resource, object: ApiObject): Stored {
    return storedAs(resource, object, this.#revision)
  }

  resources(): readonly Resource[] {
    return [...this.#collections.keys()]
  }

  /** `last` is what watchers are told of it; default: the object as it was. */
  delete(resource: Resource, key: string, last?: ApiObject): Stored | undefined {
    const collection = this.#of(resource)
    const previous = collection.objects.get(key)
    if (previous === undefined) return undefined
    this.#revision += 1
    const stored = storedAs(resource, last ?? previous.object, this.#revision)
    collection.objects.delete(key)
    collection.sorted = undefined
    this.#record({ revision: this.#revision, type: "DELETED", resource, stored, previous })
    return stored
  }

  /** All objects in the order of their keys, as etcd has them. */
  list(resource: Resource): readonly Stored[] {
    const collection = this.#of(resource)
    collection.sorted ??= sortedKeys(collection.objects.keys())
    return collection.sorted.flatMap((key) => collection.objects.get(key) ?? [])
  }

  /** Same, as it was at `revision`; undefined where that is forgotten. */
  listAt(resource: Resource, revision: number): readonly Stored[] | undefined {
    if (revision >= this.#revision) return this.list(resource)
    const changes = this.changesAfter(resource, revision)
    if (changes === undefined) return undefined
    const objects = new Map(this.#of(resource).objects)
    for (const { stored, previous } of changes.toReversed()) {
      if (previous === undefined) objects.delete(stored.key)
      else objects.set(stored.key, previous)
    }
    return sortedKeys(objects.keys()).flatMap((key) => objects.get(key) ?? [])
  }

  /** Changes after `revision`, oldest first; undefined where some of them are forgotten. */
  changesAfter(resource: Resource, revision: number): readonly Change[] | undefined {
    const { changes, floor } = this.#of(resource)
    if (revision < floor) return undefined
    const first = changes.findIndex((change) => change.revision > revision)
    return first < 0 ? [] : changes.slice(first)
  }

  /** The oldest revision from which a watch of this resource can resume. */
  floor(resource: Resource): number {
    return this.#of(resource).floor
  }

  /** Forgets every change so far, as compaction and a new watch cache do. */
  compact(): void {
    for (const collection of this.#collections.values()) {
      collection.changes = []
      collection.floor = this.#revision
    }
  }

  /** Lets the counter run ahead, as writes to kinds not kept here would. */
  advance(revisions: number): void {
    this.#revision += revisions
  }

  backup(): Backup {
    const copies = [...this.#collections].map(([resource, { objects }]) => {
      return [resource, new Map(objects)] as const
    })
    return { revision: this.#revision, collections: new Map(copies) }
  }

  /** Back to an earlier state, its revision included; nobody is told. */
  restore({ revision, collections }: Backup): void {
    this.#revision = revision
    for (const [resource, collection] of this.#collections) {
      collection.objects = new Map(collections.get(resource))
      collection.sorted = undefined
      collection.changes = []
      collection.floor = revision
    }
  }

  /** A resource that is no longer served loses its objects. */
  drop(resource: Resource): void {
    this.#collections.delete(resource)
  }

  #record(change: Change): void {
    const collection = this.#of(change.resource)
    collection.changes.push(change)
    // A quarter at a time, so that the array is not moved at every write.
    const excess = collection.changes.length - this.#options.historyMax
    if (excess > this.#options.historyMax / 4) {
      collection.floor = collection.changes[excess - 1]?.revision ?? collection.floor
      collection.changes = collection.changes.slice(excess)
    }
    for (const listener of this.#listeners) listener(change)
  }

  #of(resource: Resource): Collection {
    const known = this.#collections.get(resource)
    if (known !== undefined) return known
    const fresh: Collection = {
      objects: new Map(),
      sorted: undefined,
      changes: [],
      floor: this.#options.firstRevision,
    }
    this.#collections.set(resource, fresh)
    return fresh
  }
}

/** With `kind` and `apiVersion`, in the order in which the real server prints them. */
export function fullText(resource: Resource, bare: string): string {
  const kind = `"kind":"${resource.kind}"`
  const apiVersion = `"apiVersion":"${apiVersionOf(resource)}"`
  const head = resource.isCustom ? `${apiVersion},${kind}` : `${kind},${apiVersion}`
  return `{${head},${bare.slice(1)}`
}

interface Collection {
  objects: Map<string, Stored>
  /** Keys in order; undefined after one came or went. */
  sorted: string[] | undefined
  changes: Change[]
  /** Changes up to this revision are forgotten. */
  floor: number
}

function storedAs(resource: Resource, object: ApiObject, revision: number): Stored {
  const { apiVersion: _, kind: __, metadata, ...rest } = object
  const complete = { metadata: { ...metadata, resourceVersion: String(revision) }, ...rest }
  const head = { kind: resource.kind, apiVersion: apiVersionOf(resource) }
  return {
    key: keyOf(metadata),
    object: { ...head, ...complete },
    revision,
    bare: JSON.stringify(complete),
  }
}

/** Byte order of "namespace/name", which for these names is the order of code units. */
function sortedKeys(keys: Iterable<string>): string[] {
  return [...keys].sort()
}
