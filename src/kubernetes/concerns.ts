/**
 * What a change of the mirror matters to. In a large cluster most changes are endpoints, and
 * resourceVersions and statuses that we wrote ourselves; what is worked out as a whole must not be
 * worked out anew for those.
 */
import type { PublishConfig } from "../config/config.ts"
import type { MirrorChange } from "./mirror.ts"
import type { Ingress, ObjectKey, Service } from "./objects.ts"
import { ownerOf } from "./publish/difference.ts"

/** Routes, their pools and certificates may be others now. `secrets`: those that are named. */
export function concernsRoutes(change: MirrorChange, secrets: ReadonlySet<ObjectKey>): boolean {
  const { kind, before, after } = change
  switch (kind) {
    case "ingresses":
      return !isSame(before, after, withoutStatus)
    case "services":
      return !isSame(before, after, backendOf)
    case "secrets":
      return secrets.has(change.key)
    case "ingressClasses":
      return true
    default:
      return false
  }
}

/** Something published, or in the way of it, may be other now. */
export function concernsPublishing(
  { kind, key, before, after }: MirrorChange,
  publish: readonly PublishConfig[],
): boolean {
  if (kind === "namespaces") return true
  if (kind !== "services" && kind !== "endpointSlices") return false
  const isMarked = [before, after].some(
    (each) => each !== undefined && ownerOf(each.meta) !== undefined,
  )
  // Slices that we would make are named after their Service.
  const isMeant = ({ namespace, service }: PublishConfig) =>
    key.startsWith(`${namespace}/${service}`)
  return isMarked || publish.some(isMeant)
}

function isSame<T>(before: T | undefined, after: T | undefined, part: (object: T) => object) {
  if (before === undefined || after === undefined) return false
  return Bun.deepEquals(part(before), part(after))
}

function withoutStatus(ingress: Ingress): object {
  return { ...ingress, ingress: [], meta: { ...ingress.meta, resourceVersion: "" } }
}

/** What is looked at of the Service behind a path (`service-port.ts`). */
function backendOf({ type, ports }: Service): object {
  return { type, ports }
}
