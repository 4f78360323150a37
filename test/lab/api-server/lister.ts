/**
 * Lists: the newest state, "not older than", one exact revision, and pages of one revision
 * (apiserver/pkg/storage/etcd3/store.go, cacher.go; v0.32).
 */

import { type ListOptions, parsedVersion } from "./list-options.ts"
import type { ApiObject } from "./object.ts"
import { apiVersionOf, type Resource } from "./resources.ts"
import { badRequest, expired, tooLargeResourceVersion } from "./status.ts"
import { fullText, type Store, type Stored } from "./store.ts"

export interface ListScope {
  readonly resource: Resource
  /** "" = all. */
  readonly namespace: string
  /** Only the object of this name; "" = all. */
  readonly name: string
}

/** Does the object lie in the scope, and do the selectors want it? */
export function isWanted(
  { resource, namespace, name }: ListScope,
  { labels, fields }: Pick<ListOptions, "labels" | "fields">,
  object: ApiObject,
): boolean {
  const { metadata } = object
  if (resource.isNamespaced && namespace !== "" && metadata.namespace !== namespace) return false
  if (name !== "" && metadata.name !== name) return false
  return (labels?.(object) ?? true) && (fields?.(object) ?? true)
}

/** The body of the answer. Throws 400, 410, 504. */
export function listText(store: Store, scope: ListScope, options: ListOptions): string {
  const { revision, objects, after } = snapshot(store, scope, options)
  const wanted = objects.filter(
    ({ key, object }) => relativeKey(scope, key) >= after && isWanted(scope, options, object),
  )
  // From the watch cache everything is answered at once.
  const limit = options.resourceVersion === "0" ? 0 : options.limit
  const page = limit > 0 ? wanted.slice(0, limit) : wanted
  const last = page.at(-1)
  const rest = wanted.length - page.length
  const hasSelector = options.labels !== undefined || options.fields !== undefined
  const more =
    rest === 0 || last === undefined
      ? {}
      : {
          continue: encodedToken(revision, `${relativeKey(scope, last.key)}\0`),
          ...(hasSelector ? {} : { remainingItemCount: rest }),
        }
  return bodyText(scope.resource, { resourceVersion: String(revision), ...more }, page)
}

interface Snapshot {
  readonly revision: number
  readonly objects: readonly Stored[]
  /** Keys before this one were in earlier pages. */
  readonly after: string
}

function snapshot(store: Store, scope: ListScope, options: ListOptions): Snapshot {
  const { resource } = scope
  const newest = () => ({ revision: store.revision, objects: store.list(resource), after: "" })
  if (options.continueToken !== "") return continued(store, scope, options)
  const version = parsedVersion(options.resourceVersion)
  const isExact = options.match === "Exact" || (options.match === "" && options.limit > 0)
  if (version > store.revision) throw tooLargeResourceVersion(version, store.revision)
  if (version === 0 || !isExact) return newest()
  const objects = store.listAt(resource, version)
  if (objects === undefined) throw expired("The resourceVersion for the provided list is too old.")
  return { revision: version, objects, after: "" }
}

function continued(store: Store, { resource }: ListScope, options: ListOptions): Snapshot {
  const { revision, start } = decodedToken(options.continueToken)
  if (options.resourceVersion !== "" && options.resourceVersion !== "0") {
    throw badRequest("specifying resource version is not allowed when using continue")
  }
  if (revision < 0) return { revision: store.revision, objects: store.list(resource), after: start }
  const objects = store.listAt(resource, revision)
  if (objects === undefined) throw expired(TOKEN_EXPIRED, encodedToken(-1, start))
  return { revision, objects, after: start }
}

/** Keys in a token are told from where the list begins: inside its namespace. */
function relativeKey({ namespace }: ListScope, key: string): string {
  return namespace === "" ? key : key.slice(namespace.length + 1)
}

function encodedToken(revision: number, start: string): string {
  const token = { v: "meta.k8s.io/v1", rv: revision, start }
  return Buffer.from(JSON.stringify(token)).toString("base64url")
}

function decodedToken(text: string): { readonly revision: number; readonly start: string } {
  try {
    const token: unknown = JSON.parse(Buffer.from(text, "base64url").toString())
    const { v, rv, start } = token as { v?: unknown; rv?: unknown; start?: unknown }
    if (v === "meta.k8s.io/v1" && typeof rv === "number" && typeof start === "string") {
      return { revision: rv, start }
    }
  } catch {
    // Said below.
  }
  throw badRequest("invalid continue token: continue key is not valid")
}

function bodyText(resource: Resource, metadata: object, page: readonly Stored[]): string {
  const kind = `${resource.kind}List`
  const apiVersion = apiVersionOf(resource)
  if (resource.isCustom) {
    const items = page.map(({ bare }) => fullText(resource, bare)).join(",")
    const tail = `"kind":"${kind}","metadata":${JSON.stringify({ continue: "", ...metadata })}`
    return `{"apiVersion":"${apiVersion}","items":[${items}],${tail}}\n`
  }
  const items = page.map(({ bare }) => bare).join(",")
  const head = JSON.stringify(metadata)
  return `{"kind":"${kind}","apiVersion":"${apiVersion}","metadata":${head},"items":[${items}]}\n`
}

const TOKEN_EXPIRED =
  "The provided continue parameter is too old to display a consistent list result. You can " +
  "start a new list without the continue parameter, or use the continue token in this response " +
  "to retrieve the remainder of the results. Continuing with the provided token results in an " +
  "inconsistent list - objects that were created, modified, or deleted between the time the " +
  "first chunk was returned and now may show up in the list."
