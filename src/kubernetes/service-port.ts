/**
 * Which port of a Service a reference means. Pools and Ingresses name it as the Service does, by
 * name or by number; EndpointSlices know only the name ("" for the single port of a Service that
 * has none), so a number has to be looked up in the Service itself.
 */
import { keyOf, type Service, type ServicePort } from "./objects.ts"

export interface ServicePortRef {
  readonly namespace: string
  readonly service: string
  /** Name or number of the Service's port. */
  readonly port: string | number
}

export type ServicePortAnswer =
  /** `port` is undefined when the Service is not known and a name was given. */
  | { readonly ok: true; readonly name: string; readonly port: ServicePort | undefined }
  | { readonly ok: false; readonly reason: string }

/** Reasons are sentences for `status`, without a full stop. */
export function findServicePort(
  ref: ServicePortRef,
  service: Service | undefined,
): ServicePortAnswer {
  const wanted = portNumber(ref.port) ?? ref.port
  if (service === undefined) {
    if (typeof wanted === "string") return { ok: true, name: wanted, port: undefined }
    return { ok: false, reason: `no Service ${ref.namespace}/${ref.service}` }
  }
  const key = keyOf(service.meta)
  if (service.type === "ExternalName") {
    return { ok: false, reason: `Service ${key} is of type ExternalName and has no endpoints` }
  }
  const candidates = service.ports.filter((port) => isMeant(port, wanted))
  // One number may be open for TCP and UDP alike, as DNS does.
  const port = candidates.find(({ protocol }) => protocol === "TCP")
  if (port !== undefined) return { ok: true, name: port.name, port }
  const other = candidates[0]
  if (other === undefined) return { ok: false, reason: missing(wanted, service) }
  return { ok: false, reason: `port ${quoted(wanted)} of ${key} is ${other.protocol}, not TCP` }
}

/** How messages name a port: `"http"`, `80`. */
export function quoted(port: string | number): string {
  return typeof port === "number" ? String(port) : `"${port}"`
}

/** The name of a port has a letter in it (RFC 6335 §5.1), so digits alone are a number. */
function portNumber(port: string | number): number | undefined {
  if (typeof port === "number") return port
  return /^\d+$/.test(port) ? Number(port) : undefined
}

function isMeant(port: ServicePort, wanted: string | number): boolean {
  return typeof wanted === "number" ? port.port === wanted : port.name === wanted
}

function missing(wanted: string | number, service: Service): string {
  const has = service.ports.map(({ name, port }) => (name === "" ? `${port}` : `${name} (${port})`))
  const list = has.length === 0 ? "none" : has.join(", ")
  return `port ${quoted(wanted)} is not in Service ${keyOf(service.meta)}; it has: ${list}`
}
