/**
 * The way of a write through the server: decode, prepare, admit, validate, store. Every rule about
 * resourceVersion, uid, generation, finalizers and the status subresource is here and nowhere else
 * (apiserver/pkg/registry/generic/registry/store.go).
 */
import { randomUUID } from "node:crypto"
import { ingressStatusErrors, kindErrors, prepareKind } from "./kind-strategies.ts"
import { metadataErrors, metadataUpdateErrors } from "./metadata.ts"
import {
  type ApiObject,
  copyOf,
  isRecord,
  isSame,
  type JsonObject,
  keyOf,
  recordAt,
  textAt,
  timestamp,
} from "./object.ts"
import { PATCH_TYPES, patched } from "./patch.ts"
import { apiVersionOf, type Resource } from "./resources.ts"
import { decoded } from "./schemas.ts"
import {
  prepareService,
  prepareServiceStatus,
  type ServiceAllocator,
  serviceErrors,
  serviceStatusErrors,
} from "./service-strategy.ts"
import {
  type ApiError,
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  invalidValue,
  notFound,
} from "./status.ts"
import type { Change, Store, Stored } from "./store.ts"
import { withReadTimes } from "./times.ts"

export interface Place {
  readonly resource: Resource
  /** "" for a cluster-wide resource. */
  readonly namespace: string
  readonly name: string
  readonly subresource: string
}

export interface WriteOptions {
  /** Told of fields that the server does not know and dropped. */
  readonly onWarning?: (text: string) => void
  /** Unknown fields are refused (`fieldValidation=Strict`). */
  readonly isStrict?: boolean
  /** Name of the field manager: the first word of the client's User-Agent. */
  readonly manager?: string
  readonly isDryRun?: boolean
}

export interface Preconditions {
  readonly uid?: string
  readonly resourceVersion?: string
}

export interface Written {
  readonly stored: Stored
  readonly isCreated: boolean
}

export interface RegistryOptions {
  readonly store: Store
  readonly allocator: ServiceAllocator
  readonly resourceOf: (plural: string, group: string) => Resource | undefined
  /** Deletes what a deleted object owned, and empties deleted namespaces, as controllers do. */
  readonly collectsGarbage: boolean
}

export class Registry {
  readonly #options: RegistryOptions

  constructor(options: RegistryOptions) {
    this.#options = options
    options.store.onChange((change) => this.#account(change))
  }

  get(place: Place): Stored {
    const stored = this.#options.store.get(place.resource, keyIn(place))
    if (stored === undefined) throw notFound(place.resource, place.name)
    return stored
  }

  create(place: Place, body: unknown, options: WriteOptions = {}): Written {
    const { resource } = place
    const object = this.#decoded(place, body, options)
    const { metadata } = object
    if ((metadata.resourceVersion ?? "") !== "") {
      throw badRequest("resourceVersion should not be set on objects to be created")
    }
    if (metadata.name === "" && (metadata.generateName ?? "") !== "") {
      metadata.name = `${metadata.generateName}${randomSuffix()}`
    }
    metadata.uid = randomUUID()
    metadata.creationTimestamp = timestamp()
    delete metadata.deletionTimestamp
    delete metadata.generation
    if (resource.hasGeneration) metadata.generation = 1
    if (resource.hasStatus) delete object.status
    this.#prepare(resource, object, undefined, "")
    this.#admitNamespace(place)
    if (this.#options.store.get(resource, keyOf(metadata)) !== undefined) {
      throw alreadyExists(resource, metadata.name)
    }
    this.#validate(resource, object, undefined, "")
    note(object, options.manager, "")
    const stored = this.#put(resource, object, options)
    return { stored, isCreated: true }
  }

  update(place: Place, body: unknown, options: WriteOptions = {}): Written {
    const { resource, name } = place
    const object = this.#decoded(place, body, options)
    checkName(place, object)
    const before = this.#options.store.get(resource, keyIn(place))
    if (before === undefined) {
      if (!resource.allowsCreateOnUpdate || place.subresource !== "") {
        throw notFound(resource, name)
      }
      return this.create(place, body, options)
    }
    return { stored: this.#replace(place, object, before, options), isCreated: false }
  }

  patch(place: Place, contentType: string, body: unknown, options: WriteOptions = {}): Written {
    if (place.resource.isCustom && contentType === PATCH_TYPES.strategic) {
      throw badRequest("strategic merge patch is not supported by this resource")
    }
    const before = this.get(place)
    const result = patched(before.object, contentType, body)
    const object = this.#decoded(place, result, options, "patch")
    checkName(place, object)
    return { stored: this.#replace(place, object, before, options), isCreated: false }
  }

  /** The last state; with finalizers left, the object that now waits for them. */
  delete(place: Place, { uid, resourceVersion }: Preconditions = {}): Deleted {
    const { resource, name } = place
    const { object } = this.get(place)
    const { metadata } = object
    if (uid !== undefined && uid !== metadata.uid) {
      throw conflict(resource, name, preconditionText("UID", uid, metadata.uid))
    }
    if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
      const why = preconditionText("ResourceVersion", resourceVersion, metadata.resourceVersion)
      throw conflict(resource, name, why)
    }
    if (resource.kind === "Namespace") return this.#deleteNamespace(place, object)
    if ((metadata.finalizers ?? []).length === 0)
      return { stored: this.#remove(place), isGone: true }
    if (metadata.deletionTimestamp !== undefined) return { stored: this.get(place), isGone: false }
    const waiting = copyOf(object)
    waiting.metadata.deletionTimestamp = timestamp()
    waiting.metadata.deletionGracePeriodSeconds = 0
    if (resource.hasGeneration) waiting.metadata.generation = (metadata.generation ?? 0) + 1
    return { stored: this.#options.store.put(resource, waiting), isGone: false }
  }

  #replace(place: Place, object: ApiObject, before: Stored, options: WriteOptions): Stored {
    const { resource, name, subresource } = place
    const old = before.object
    this.#checkVersion(place, object, old)
    keepSystemFields(object, old)
    if (resource.hasStatus) {
      if (subresource === "") object.status = copyOf(old.status)
      else keepAllButStatus(object, old, resource.isCustom)
      if (object.status === undefined) delete object.status
    }
    this.#prepare(resource, object, old, subresource)
    if (resource.hasGeneration && subresource === "" && hasNewGeneration(object, old)) {
      object.metadata.generation = (old.metadata.generation ?? 0) + 1
    }
    const errors = metadataUpdateErrors(object.metadata, old.metadata)
    if (errors.length > 0) throw invalid(resource, name, errors)
    this.#validate(resource, object, old, subresource)
    if (isUnchanged(object, old)) return before
    note(object, options.manager, subresource)
    const isReleased =
      old.metadata.deletionTimestamp !== undefined &&
      (object.metadata.finalizers ?? []).length === 0
    if (isReleased && resource.kind !== "Namespace") return this.#remove(place, object)
    return this.#put(resource, object, options)
  }

  #checkVersion({ resource, name }: Place, object: ApiObject, old: ApiObject): void {
    const version = object.metadata.resourceVersion ?? ""
    if (version === "" || version === "0") {
      if (resource.allowsUnconditionalUpdate) return
      const error = invalidValue("metadata.resourceVersion", 0, "must be specified for an update")
      const named = { ...error, message: error.message.replace("0:", "0x0:") }
      throw invalid({ group: resource.group, kind: resource.plural }, name, [named])
    }
    if (!/^\d+$/.test(version)) {
      const error = invalidValue("metadata.resourceVersion", version, "invalid")
      throw invalid(resource, name, [error])
    }
    if (version !== old.metadata.resourceVersion) throw conflict(resource, name)
    const uid = object.metadata.uid ?? ""
    if (uid !== "" && uid !== old.metadata.uid) {
      throw conflict(resource, name, preconditionText("UID", uid, old.metadata.uid))
    }
  }

  #decoded(
    place: Place,
    body: unknown,
    options: WriteOptions,
    source: "body" | "patch" = "body",
  ): ApiObject {
    const { resource, namespace } = place
    const typed = typedObject(resource, body, options, source)
    const metadata = { name: "", ...withoutEmpty(recordAt(typed, "metadata")) }
    const object: ApiObject = { ...typed, metadata }
    if (resource.isNamespaced) {
      object.metadata.namespace ??= namespace
      if (object.metadata.namespace !== namespace) {
        throw badRequest(
          "the namespace of the provided object does not match the namespace sent on the request",
        )
      }
    } else delete object.metadata.namespace
    const read = withReadTimes(resource.kind, object)
    if (!read.ok) throw undecodable(resource, body, read.reason, source)
    return read.object
  }

  #prepare(
    resource: Resource,
    object: ApiObject,
    before: ApiObject | undefined,
    subresource: string,
  ): void {
    prepareKind(object)
    if (resource.kind === "Service") {
      if (subresource === "") prepareService(object, before, this.#options.allocator)
      prepareServiceStatus(object)
      object.status ??= { loadBalancer: {} }
    }
    if (resource.kind === "Ingress") {
      if (before === undefined) this.#admitIngressClass(object)
      object.status ??= { loadBalancer: {} }
    }
  }

  #validate(
    resource: Resource,
    object: ApiObject,
    before: ApiObject | undefined,
    subresource: string,
  ): void {
    const errors =
      subresource === "status"
        ? statusErrors(resource, object)
        : [
            ...metadataErrors(resource, object),
            ...kindErrors(object, before),
            ...(resource.kind === "Service"
              ? serviceErrors(object, before, this.#options.allocator)
              : []),
          ]
    if (errors.length > 0) throw invalid(resource, object.metadata.name, errors)
  }

  /** The admission plugin NamespaceLifecycle. */
  #admitNamespace({ resource, namespace, name }: Place): void {
    const namespaces = this.#options.resourceOf("namespaces", "")
    if (!resource.isNamespaced || namespaces === undefined) return
    const found = this.#options.store.get(namespaces, namespace)
    if (found === undefined) throw notFound(namespaces, namespace)
    if (found.object.metadata.deletionTimestamp === undefined) return
    const message = `namespace ${namespace} is being terminated`
    const ending = "because it is being terminated"
    const why = `unable to create new content in namespace ${namespace} ${ending}`
    const cause = { reason: "NamespaceTerminating", message, field: "metadata.namespace" }
    throw forbidden(resource, name, why, [cause])
  }

  /** The admission plugin DefaultIngressClass: the newest class that is marked as default. */
  #admitIngressClass(ingress: ApiObject): void {
    const spec: { ingressClassName?: unknown } = recordAt(ingress, "spec")
    const annotations = ingress.metadata.annotations ?? {}
    if (spec.ingressClassName !== undefined) return
    if (annotations["kubernetes.io/ingress.class"] !== undefined) return
    const classes = this.#options.resourceOf("ingressclasses", "networking.k8s.io")
    if (classes === undefined) return
    const isDefault = "ingressclass.kubernetes.io/is-default-class"
    const [newest] = this.#options.store
      .list(classes)
      .filter(({ object }) => object.metadata.annotations?.[isDefault] === "true")
      .toSorted((one, other) => byAge(other.object, one.object))
    if (newest !== undefined) spec.ingressClassName = newest.object.metadata.name
  }

  #deleteNamespace(place: Place, namespace: ApiObject): Deleted {
    const { store, collectsGarbage } = this.#options
    const { metadata } = namespace
    if (metadata.deletionTimestamp === undefined) {
      const terminating = copyOf(namespace)
      terminating.metadata.deletionTimestamp = timestamp()
      terminating.status = { phase: "Terminating" }
      store.put(place.resource, terminating)
    }
    const waiting = this.get(place)
    if (!collectsGarbage) return { stored: waiting, isGone: false }
    this.#empty(metadata.name)
    store.delete(place.resource, metadata.name)
    return { stored: waiting, isGone: false }
  }

  #empty(namespace: string): void {
    const { store } = this.#options
    for (const resource of store.resources()) {
      if (!resource.isNamespaced) continue
      for (const { key, object } of store.list(resource)) {
        if (object.metadata.namespace === namespace) store.delete(resource, key)
      }
    }
  }

  #remove(place: Place, last?: ApiObject): Stored {
    const { store, collectsGarbage } = this.#options
    const stored = store.delete(place.resource, keyIn(place), last)
    if (stored === undefined) throw notFound(place.resource, place.name)
    if (collectsGarbage) this.#collect(stored.object.metadata.uid ?? "")
    return stored
  }

  /** Deletes what the object with this uid owned. */
  #collect(owner: string): void {
    const { store } = this.#options
    for (const resource of store.resources()) {
      for (const { object } of store.list(resource)) {
        const owners = object.metadata.ownerReferences ?? []
        if (!owners.some(({ uid }) => uid === owner)) continue
        const { namespace = "", name } = object.metadata
        this.delete({ resource, namespace, name, subresource: "" })
      }
    }
  }

  #put(resource: Resource, object: ApiObject, { isDryRun = false }: WriteOptions): Stored {
    const { store } = this.#options
    return isDryRun ? store.preview(resource, object) : store.put(resource, object)
  }

  #account({ resource, type, stored, previous }: Change): void {
    if (resource.kind !== "Service") return
    this.#options.allocator.release(previous?.object)
    if (type !== "DELETED") this.#options.allocator.take(stored.object)
  }
}

export interface Deleted {
  readonly stored: Stored
  /** false: it waits for its finalizers. */
  readonly isGone: boolean
}

export function keyIn({ resource, namespace, name }: Place): string {
  return keyOf(resource.isNamespaced ? { namespace, name } : { name })
}

/** A copy of the body as a struct of the kind would hold it. */
function typedObject(
  resource: Resource,
  body: unknown,
  { onWarning, isStrict = false }: WriteOptions,
  source: "body" | "patch",
): JsonObject {
  if (!isRecord(body)) throw badRequest("the object provided is unrecognized (must be of type)")
  const wanted = apiVersionOf(resource)
  const { kind = resource.kind, apiVersion = wanted } = body
  if (kind !== resource.kind || apiVersion !== wanted) {
    throw badRequest(
      `the API version in the data (${apiVersion}) does not match the expected ` +
        `API version (${wanted})`,
    )
  }
  const result = decoded(
    resource.isCustom ? "" : resource.kind,
    copyOf({ ...body, kind, apiVersion }),
  )
  if (!result.ok) throw undecodable(resource, body, result.reason, source)
  const words = result.unknown.map((path) => `unknown field "${path}"`)
  if (isStrict && words.length > 0) {
    const list = `strict decoding error: ${words.join(", ")}`
    throw undecodable(resource, body, list, "body")
  }
  for (const text of words) onWarning?.(text)
  return result.value
}

/** A body that does not fit its kind is a bad request, a patched object an invalid patch. */
function undecodable(
  { kind, version }: Resource,
  body: unknown,
  reason: string,
  source: "body" | "patch",
): ApiError {
  if (source === "patch") {
    const error = invalidValue("patch", JSON.stringify(body), reason)
    return invalid({ group: "", kind: "" }, "", [error])
  }
  return badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${reason}`)
}

function checkName(place: Place, { metadata }: ApiObject): void {
  if (metadata.name === place.name) return
  throw badRequest(
    `the name of the object (${metadata.name}) does not match the name on the URL (${place.name})`,
  )
}

function preconditionText(field: string, wanted: string, found: string | undefined): string {
  const both = `${field} in precondition: ${wanted}, ${field} in object meta: ${found}`
  return `Precondition failed: ${both}`
}

/** Go leaves out empty lists and maps. */
function withoutEmpty(fields: JsonObject): JsonObject {
  const isEmpty = (value: unknown) =>
    (Array.isArray(value) && value.length === 0) ||
    (isRecord(value) && Object.keys(value).length === 0)
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)))
}

function statusErrors(resource: Resource, object: ApiObject) {
  if (resource.kind === "Service") return serviceStatusErrors(object)
  if (resource.kind === "Ingress") return ingressStatusErrors(object)
  return []
}

/** Fields of the metadata that nobody but the server writes. */
function keepSystemFields(object: ApiObject, old: ApiObject): void {
  const { metadata } = object
  const { uid, creationTimestamp, generation, deletionTimestamp } = old.metadata
  Object.assign(metadata, { uid, creationTimestamp, generation, deletionTimestamp })
  metadata.resourceVersion = old.metadata.resourceVersion ?? ""
  for (const field of ["generation", "deletionTimestamp"] as const) {
    if (old.metadata[field] === undefined) delete metadata[field]
  }
  if (old.metadata.managedFields !== undefined) {
    metadata.managedFields = [...old.metadata.managedFields]
  }
}

/**
 * A write to /status leaves the spec alone. The strategies of built-in kinds copy only that back,
 * so labels and annotations are written all the same; custom resources keep theirs.
 */
function keepAllButStatus(object: ApiObject, old: ApiObject, isCustom: boolean): void {
  const { status, metadata } = object
  for (const field of Object.keys(object)) delete (object as JsonObject)[field]
  Object.assign(object, copyOf(old), isCustom ? {} : { metadata })
  if (status === undefined) delete object.status
  else object.status = status
}

/** Anything but metadata and status, and for slices labels too. */
function hasNewGeneration(object: ApiObject, old: ApiObject): boolean {
  const { metadata, status: _, ...body } = object
  const { metadata: oldMetadata, status: __, ...oldBody } = old
  if (!isSame(body, oldBody)) return true
  return object.kind === "EndpointSlice" && !isSame(metadata.labels, oldMetadata.labels)
}

/** A write that changes nothing makes no new revision. */
function isUnchanged(object: ApiObject, old: ApiObject): boolean {
  return Bun.deepEquals(JSON.parse(JSON.stringify(object)), JSON.parse(JSON.stringify(old)))
}

/** managedFields, as every object has them: noise for a client that does not apply. */
function note(object: ApiObject, manager = "causeway-lab", subresource: string): void {
  const parts = Object.keys(object).filter(
    (field) => !["kind", "apiVersion", "metadata"].includes(field),
  )
  const written = subresource === "" ? parts : ["status"]
  const fieldsV1 = Object.fromEntries(
    written.map((part) => [
      `f:${part}`,
      Object.fromEntries(Object.keys(recordAt(object, part)).map((field) => [`f:${field}`, {}])),
    ]),
  )
  const others = (object.metadata.managedFields ?? []).filter(
    (entry) => textAt(entry, "manager") !== manager || textAt(entry, "subresource") !== subresource,
  )
  const entry = {
    manager,
    operation: "Update",
    apiVersion: object.apiVersion,
    time: timestamp(),
    fieldsType: "FieldsV1",
    fieldsV1,
    ...(subresource === "" ? {} : { subresource }),
  }
  object.metadata.managedFields = [...others, entry]
}

function byAge(one: ApiObject, other: ApiObject): number {
  const { creationTimestamp: first = "", name: oneName } = one.metadata
  const { creationTimestamp: second = "", name: otherName } = other.metadata
  if (first !== second) return first < second ? -1 : 1
  // Of the same age: the first by name.
  return oneName < otherName ? 1 : -1
}

/** Five of the letters that generated names are made of (apimachinery/pkg/util/rand). */
function randomSuffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789"
  const bytes = crypto.getRandomValues(new Uint8Array(5))
  return [...bytes].map((byte) => letters[byte % letters.length] ?? "b").join("")
}
