/**
 * What kube-controller-manager does for a Service with a selector, given its pods: EndpointSlices
 * of at most N endpoints, one set for each way in which the pods' ports differ, endpoints that stay
 * in the slice where they are, and only changed slices written
 * (kubernetes/pkg/controller/endpointslice, staging/src/k8s.io/endpointslice/reconciler.go).
 */
import type { ApiServer } from "./api-server.ts"
import { type ApiObject, copyOf, isSame, recordsAt, textAt } from "./object.ts"

export interface SimulatedPod {
  readonly name: string
  readonly address: string
  readonly node?: string
  readonly zone?: string
  /**
   * "starting": not ready yet. "terminating": told to end, still answering its readiness probe.
   * "ending": told to end and no longer answering.
   */
  readonly state: "starting" | "ready" | "terminating" | "ending"
  /** Port name of the Service → number, where a named targetPort differs between pods. */
  readonly ports?: Readonly<Record<string, number>>
}

export interface SlicePort {
  /** "" = the only port of the Service, without a name. */
  readonly name: string
  readonly port: number
  readonly protocol?: "TCP" | "UDP"
}

export interface SliceWriterOptions {
  readonly namespace: string
  readonly service: string
  readonly ports: readonly SlicePort[]
  /** Default: 100, as the controller's --max-endpoints-per-slice. */
  readonly endpointsMax?: number
  readonly addressType?: "IPv4" | "IPv6"
}

export class SliceWriter {
  readonly #api: ApiServer
  readonly #options: SliceWriterOptions
  #slices: ApiObject[] = []
  #created = 0

  constructor(api: ApiServer, options: SliceWriterOptions) {
    this.#api = api
    this.#options = options
  }

  /** Makes the Service's slices say this. Returns how many objects were written or deleted. */
  async write(pods: readonly SimulatedPod[]): Promise<number> {
    const wanted = [...this.#byPorts(pods)].flatMap(([ports, group]) => this.#placed(ports, group))
    // A Service without pods keeps one slice, empty.
    if (wanted.length === 0) wanted.push(this.#emptySlice())
    const names = new Set(wanted.map(({ metadata }) => metadata.name))
    const gone = this.#slices.filter(({ metadata }) => !names.has(metadata.name))
    const changed = wanted.filter((slice) => !this.#slices.some((old) => isSame(old, slice)))
    if (changed.length > 0) await this.#api.apply(await this.#owned(changed))
    for (const { metadata } of gone) {
      await this.#api.remove("endpointslices", `${this.#options.namespace}/${metadata.name}`)
    }
    this.#slices = wanted
    return changed.length + gone.length
  }

  #byPorts(pods: readonly SimulatedPod[]): Map<string, SimulatedPod[]> {
    const groups = new Map<string, SimulatedPod[]>()
    for (const pod of pods) {
      const ports = this.#options.ports.map(({ name, port, protocol = "TCP" }) => {
        return { name, port: pod.ports?.[name] ?? port, protocol }
      })
      const key = JSON.stringify(ports)
      groups.set(key, [...(groups.get(key) ?? []), pod])
    }
    return groups
  }

  /** The pods in slices with these ports: where they were, then where there is room, then new. */
  #placed(ports: string, pods: readonly SimulatedPod[]): ApiObject[] {
    const left = new Map(pods.map((pod) => [pod.name, pod]))
    const slices = this.#slices
      .filter((slice) => JSON.stringify(slice.ports) === ports)
      .map((slice) => this.#updated(slice, left))
      .filter((slice) => recordsAt(slice, "endpoints").length > 0)
    for (const pod of left.values()) {
      let slice = slices.find((each) => recordsAt(each, "endpoints").length < this.#endpointsMax)
      if (slice === undefined) {
        slice = this.#slice(JSON.parse(ports))
        slices.push(slice)
      }
      slice.endpoints = [...recordsAt(slice, "endpoints"), endpointOf(pod, this.#options)]
    }
    return slices
  }

  /** The slice without the pods that went; those it still has are taken from `left`. */
  #updated(slice: ApiObject, left: Map<string, SimulatedPod>): ApiObject {
    const endpoints = recordsAt(slice, "endpoints").flatMap((endpoint) => {
      const pod = left.get(textAt(endpoint, "targetRef", "name"))
      if (pod === undefined) return []
      left.delete(pod.name)
      return [endpointOf(pod, this.#options)]
    })
    return { ...copyOf(slice), endpoints }
  }

  #emptySlice(): ApiObject {
    const kept = this.#slices.find((slice) => recordsAt(slice, "ports").length === 0)
    return kept ?? this.#slice([])
  }

  #slice(ports: unknown[]): ApiObject {
    const { namespace, service, addressType = "IPv4" } = this.#options
    this.#created += 1
    return {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: `${service}-${this.#created.toString(36).padStart(5, "a")}`,
        namespace,
        labels: {
          "kubernetes.io/service-name": service,
          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        },
      },
      addressType,
      endpoints: [],
      ports,
    }
  }

  async #owned(slices: readonly ApiObject[]): Promise<ApiObject[]> {
    const { namespace, service } = this.#options
    const owner = await this.#api.get("services", `${namespace}/${service}`)
    const uid = owner?.metadata.uid
    if (uid === undefined) return [...slices]
    const reference = { apiVersion: "v1", kind: "Service", name: service, uid, controller: true }
    return slices.map((slice) => ({
      ...slice,
      metadata: { ...slice.metadata, ownerReferences: [reference] },
    }))
  }

  get #endpointsMax(): number {
    return this.#options.endpointsMax ?? 100
  }
}

/** The conditions that the controller derives (KEP-1672): never ready while terminating. */
function endpointOf(pod: SimulatedPod, { namespace }: SliceWriterOptions): object {
  const { name, address, node, zone, state } = pod
  return {
    addresses: [address],
    conditions: {
      ready: state === "ready",
      serving: state === "ready" || state === "terminating",
      terminating: state === "terminating" || state === "ending",
    },
    ...(node === undefined ? {} : { nodeName: node }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: { kind: "Pod", namespace, name },
  }
}
