/**
 * Whether the mirror has seen what a fresh, consistent list of the Services says. A new writer
 * gives out addresses only then: what its predecessor wrote last may not have come through the
 * watch yet.
 */
import type { ApiFailure } from "../../kubernetes/api-failure.ts"
import type { ObjectKey, Service } from "../../kubernetes/objects.ts"
import { type ApiClient, apiPath } from "../../kubernetes/shell/api-client.ts"

export type ServiceVersions =
  | { readonly ok: true; readonly versions: ReadonlyMap<ObjectKey, string> }
  | { readonly ok: false; readonly failure: ApiFailure }

/** Services may be as large as the API takes them: fewer are asked for where many do not fit. */
const PAGES = [500, 63, 8, 1] as const
const LIST_BYTES_MAX = 64 * 1024 * 1024
const LIST_MS = 5_000

/** resourceVersion of every Service, of the newest state; `namespaces` empty: all. */
export async function listServiceVersions(
  client: Pick<ApiClient, "get">,
  namespaces: readonly string[],
): Promise<ServiceVersions> {
  const versions = new Map<ObjectKey, string>()
  for (const namespace of namespaces.length === 0 ? [""] : namespaces) {
    const failure = await listInto(versions, client, namespace)
    if (failure !== undefined) return { ok: false, failure }
  }
  return { ok: true, versions }
}

async function listInto(
  versions: Map<ObjectKey, string>,
  client: Pick<ApiClient, "get">,
  namespace: string,
): Promise<ApiFailure | undefined> {
  const path = apiPath({ groupVersion: "v1", resource: "services", namespace })
  let next = ""
  let size = 0
  while (true) {
    const query = { limit: `${PAGES[size]}`, ...(next === "" ? {} : { continue: next }) }
    const answer = await client.get(path, { query, timeoutMs: LIST_MS, bytesMax: LIST_BYTES_MAX })
    if (!answer.ok && isTooLarge(answer.failure) && size < PAGES.length - 1) {
      size++
      next = ""
      continue
    }
    if (!answer.ok) return answer.failure
    const page = answer.value as ServiceList
    for (const { metadata } of page.items ?? []) {
      versions.set(`${metadata.namespace}/${metadata.name}`, metadata.resourceVersion)
    }
    next = page.metadata?.continue ?? ""
    if (next === "") return undefined
  }
}

function isTooLarge(failure: ApiFailure): boolean {
  return failure.kind === "answer" && failure.reason === "too_large"
}

/** Nothing listed is missing or older, and what is not listed is gone or came later. */
export function isFresh(
  services: ReadonlyMap<ObjectKey, Service>,
  versions: ReadonlyMap<ObjectKey, string>,
): boolean {
  let newest = 0
  for (const [key, version] of versions) {
    newest = Math.max(newest, Number(version))
    const service = services.get(key)
    if (service === undefined) return false
    if (Number(service.meta.resourceVersion) < Number(version)) return false
  }
  for (const [key, { meta }] of services) {
    if (!versions.has(key) && Number(meta.resourceVersion) <= newest) return false
  }
  return true
}

interface ServiceList {
  readonly metadata?: { readonly continue?: string }
  readonly items?: readonly {
    readonly metadata: {
      readonly namespace: string
      readonly name: string
      readonly resourceVersion: string
    }
  }[]
}
