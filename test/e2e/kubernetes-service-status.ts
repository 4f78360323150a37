/** What the API says about a Service, as `kubectl describe` would show it. */
import type { ApiServer } from "../lab/api-server/api-server.ts"
import { eventually, type WaitOptions } from "../lab/wait.ts"

export interface ServiceStatus {
  readonly addresses: readonly string[]
  readonly ipModes: readonly string[]
  /** By type, "STATUS REASON: MESSAGE". */
  readonly conditions: ReadonlyMap<string, string>
}

/** `key`: "namespace/name". Undefined: there is none. */
export async function serviceStatus(
  api: ApiServer,
  key: string,
): Promise<ServiceStatus | undefined> {
  const object = await api.get("services", key)
  return object === undefined ? undefined : readStatus(object as ServiceObject)
}

/** Of all Services of type LoadBalancer, by key. */
export async function serviceStatuses(api: ApiServer): Promise<Map<string, ServiceStatus>> {
  const services = (await api.list("services")) as unknown as ServiceObject[]
  return new Map(
    services
      .filter(({ spec }) => spec.type === "LoadBalancer")
      .map((object) => [
        `${object.metadata.namespace}/${object.metadata.name}`,
        readStatus(object),
      ]),
  )
}

/** Waits until a Service has an address, and returns the first. */
export async function addressOf(
  api: ApiServer,
  key: string,
  options: WaitOptions = {},
): Promise<string> {
  return eventually(async () => (await serviceStatus(api, key))?.addresses[0], {
    what: `${key} to have an address`,
    ...options,
  })
}

/** Waits until a condition reads like this. */
export async function conditionOf(
  api: ApiServer,
  key: string,
  type: string,
  pattern: RegExp,
): Promise<string> {
  return eventually(
    async () => {
      const text = (await serviceStatus(api, key))?.conditions.get(type) ?? "none"
      if (!pattern.test(text)) throw new Error(text)
      return text
    },
    { what: `${type} of ${key} to be ${pattern}` },
  )
}

/** Waits for an Event about a Service with these words: "REASON: MESSAGE". */
export async function eventOf(api: ApiServer, name: string, pattern: RegExp): Promise<string> {
  return eventually(
    async () => {
      const events = (await api.events("Service", name)) as unknown as EventObject[]
      const texts = events.map(({ reason, message }) => `${reason}: ${message}`)
      const found = texts.find((text) => pattern.test(text))
      if (found === undefined) throw new Error(texts.join("\n"))
      return found
    },
    { what: `an Event about ${name} like ${pattern}` },
  )
}

function readStatus({ status = {} }: ServiceObject): ServiceStatus {
  const { loadBalancer = {}, conditions = [] } = status
  const ingress = loadBalancer.ingress ?? []
  return {
    addresses: ingress.flatMap(({ ip }) => ip ?? []),
    ipModes: ingress.flatMap(({ ipMode }) => ipMode ?? []),
    conditions: new Map(
      conditions.map(({ type, status: is, reason, message }) => [
        type,
        `${is} ${reason}: ${message}`,
      ]),
    ),
  }
}

interface ServiceObject {
  readonly metadata: { readonly namespace: string; readonly name: string }
  readonly spec: { readonly type?: string }
  readonly status?: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly ipMode?: string }[]
    }
    readonly conditions?: readonly {
      readonly type: string
      readonly status: string
      readonly reason: string
      readonly message: string
    }[]
  }
}

interface EventObject {
  readonly reason: string
  readonly message: string
}
