/**
 * What keeps an object in the cluster from being what it should be, as the write that mends it.
 *
 * Only what we set is compared. What others may well add (a session affinity, a label, a traffic
 * policy) stays, so two controllers do not write against each other over it.
 */
import type { EndpointSlice, Labels, ObjectMeta, Service } from "../objects.ts"
import type { Json, Write } from "../writes.ts"
import {
  OWNER_ANNOTATION,
  PORT_NAME,
  policyOf,
  SERVICE_LABELS,
  serviceSpec,
  sliceContent,
  sliceLabels,
  type WantedEndpoint,
  type WantedService,
  type WantedSlice,
} from "./wanted.ts"

/** The owner of what is marked as published; undefined: somebody else's object. */
export function ownerOf({ labels, annotations }: ObjectMeta): string | undefined {
  const isMarked = labels[MANAGED_BY] === SERVICE_LABELS[MANAGED_BY]
  return isMarked ? annotations[OWNER_ANNOTATION] : undefined
}

/** Undefined: nothing is wrong with it. */
export function mendService(found: Service, wanted: WantedService): Write | undefined {
  // The first family of a Service cannot be changed, so it is made anew (API: spec.ipFamilies).
  const [family] = found.ipFamilies
  const isOtherFamily = family !== undefined && !wanted.families.includes(family)
  if (isOtherFamily && wanted.families.length > 0) return deletion("services", found)
  if (isServiceAsWanted(found, wanted)) return undefined
  return {
    ...patchOf("services", found),
    patch: { spec: { ...serviceSpec(wanted), ...NOTHING } },
  }
}

/** Undefined: nothing is wrong with it. */
export function mendSlice(found: EndpointSlice, wanted: WantedSlice): Write | undefined {
  if (found.addressType !== wanted.addressType) return deletion("endpointslices", found)
  const labels = sliceLabels(wanted)
  if (hasAll(found.meta.labels, labels) && hasContent(found, wanted)) return undefined
  const patch: Json = { metadata: { labels }, ...sliceContent(withKnown(found, wanted)) }
  return { ...patchOf("endpointslices", found), patch }
}

export function deletion(
  resource: "services" | "endpointslices",
  { meta }: Service | EndpointSlice,
): Write {
  const { namespace, name, uid } = meta
  return { type: "delete", resource, namespace, name, uid }
}

function isServiceAsWanted(found: Service, wanted: WantedService): boolean {
  const [port, ...further] = found.ports
  return (
    found.type === "ClusterIP" &&
    !found.hasSelector &&
    found.externalIPs.length === 0 &&
    further.length === 0 &&
    port?.name === PORT_NAME &&
    port.protocol === "TCP" &&
    port.port === wanted.port &&
    (wanted.families.length === 0 || found.ipFamilyPolicy === policyOf(wanted.families))
  )
}

function hasContent(found: EndpointSlice, wanted: WantedSlice): boolean {
  const [port, ...further] = found.ports
  const { endpoints } = withKnown(found, wanted)
  return (
    further.length === 0 &&
    port?.name === PORT_NAME &&
    port.protocol === "TCP" &&
    port.port === wanted.port &&
    found.endpoints.length === endpoints.length &&
    found.endpoints.every(({ addresses, isReady, isServing, isTerminating }, index) => {
      const same = endpoints[index]
      const isAddress = addresses.length === 1 && addresses[0] === same?.address
      return isAddress && isReady === same?.isReady && isServing === isReady && !isTerminating
    })
  )
}

/** Whose checks have not spoken yet stays as it is published: restarts of edges change nothing. */
function withKnown(
  { endpoints }: EndpointSlice,
  wanted: WantedSlice,
): WantedSlice & {
  readonly endpoints: readonly (WantedEndpoint & { readonly isReady: boolean })[]
} {
  const published = new Map(endpoints.map(({ addresses, isReady }) => [addresses[0], isReady]))
  return {
    ...wanted,
    endpoints: wanted.endpoints.map(({ address, isReady }) => {
      return { address, isReady: isReady ?? published.get(address) ?? true }
    }),
  }
}

function patchOf(resource: "services" | "endpointslices", { meta }: Service | EndpointSlice) {
  const { namespace, name, resourceVersion } = meta
  const subresource = "" as const
  return { type: "patch" as const, resource, namespace, name, subresource, resourceVersion }
}

function hasAll(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value)
}

const MANAGED_BY = "app.kubernetes.io/managed-by"

/** What leads elsewhere; null takes a key away (RFC 7396). */
const NOTHING: { readonly [key: string]: Json } = {
  selector: null,
  externalIPs: null,
  externalName: null,
}
