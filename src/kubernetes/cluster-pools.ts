/**
 * Pools whose servers a Service names (`PoolConfig.kubernetes`), with the servers that the view has
 * for them. Each pool is worked out again only when something changes that it is made of, so that a
 * change of one EndpointSlice costs one pool, whatever the size of the cluster; a pool that comes
 * out the same stays the same object.
 */
import type { PoolConfig, ServerConfig } from "../config/config.ts"
import type { Endpoint, Family } from "../net/address.ts"
import { endpointServers, type ServersFound } from "./endpoints.ts"
import { nodePortServers } from "./node-port.ts"
import type { ClusterView, EndpointSlice, ObjectKey } from "./objects.ts"

/** Where the endpoints are found. */
export interface EndpointsView {
  readonly view: Pick<ClusterView, "services" | "nodes">
  slicesOf(service: ObjectKey): readonly EndpointSlice[]
}

export interface ClusterPoolRow {
  readonly pool: string
  /** "namespace/name". */
  readonly service: ObjectKey
  readonly port: string | number
  readonly servers: number
  /** Why there is none; "" where there is one. */
  readonly reason: string
}

interface Entry {
  readonly template: PoolConfig
  readonly pool: PoolConfig
  readonly whyEmpty: string
}

export class ClusterPools {
  readonly #source: EndpointsView
  readonly #families: readonly Family[]
  #entries = new Map<string, Entry>()
  /** Names of the pools of each Service, and of those that go through node ports. */
  #byService = new Map<ObjectKey, Set<string>>()
  #nodePortPools = new Set<string>()
  #isOwn: ((endpoint: Endpoint) => boolean) | undefined
  #isOwnOther = false

  /** `families`: those by which the edge reaches pods. */
  constructor(source: EndpointsView, families: readonly Family[] = [4, 6]) {
    this.#source = source
    this.#families = families
  }

  /** Where the edges themselves listen, which is no server's place; from `setTemplates` on. */
  setOwn(isOwn: (endpoint: Endpoint) => boolean): void {
    this.#isOwn = isOwn
    this.#isOwnOther = true
  }

  /** Makes `templates` the pools there are; those without `kubernetes` are left out. */
  setTemplates(templates: readonly PoolConfig[]): void {
    const previous = this.#entries
    this.#entries = new Map()
    this.#byService = new Map()
    this.#nodePortPools = new Set()
    for (const template of templates) {
      const { kubernetes, name } = template
      if (kubernetes === undefined) continue
      const service = `${kubernetes.namespace}/${kubernetes.service}`
      this.#byService.set(service, (this.#byService.get(service) ?? new Set()).add(name))
      if (kubernetes.reach === "node_port") this.#nodePortPools.add(name)
      const known = previous.get(name)
      const isSame =
        known !== undefined && !this.#isOwnOther && Bun.deepEquals(known.template, template)
      this.#entries.set(name, isSame ? known : this.#resolve(template, known))
    }
    this.#isOwnOther = false
  }

  /** Looks anew at the pools of these Services. Returns those that are others now. */
  refresh(services: Iterable<ObjectKey>, change: { readonly nodes: boolean }): PoolConfig[] {
    const names = new Set<string>(change.nodes ? this.#nodePortPools : [])
    for (const service of services) {
      for (const name of this.#byService.get(service) ?? []) names.add(name)
    }
    return [...names].flatMap((name) => {
      const known = this.#entries.get(name)
      if (known === undefined) return []
      const next = this.#resolve(known.template, known)
      this.#entries.set(name, next)
      return next.pool === known.pool ? [] : next.pool
    })
  }

  /** In the order of the templates. */
  pools(): PoolConfig[] {
    return [...this.#entries.values()].map(({ pool }) => pool)
  }

  status(): ClusterPoolRow[] {
    return [...this.#entries.values()].flatMap(({ pool, whyEmpty }) => {
      const { name, kubernetes, servers } = pool
      if (kubernetes === undefined) return []
      const service = `${kubernetes.namespace}/${kubernetes.service}`
      const { port } = kubernetes
      return { pool: name, service, port, servers: servers.length, reason: whyEmpty }
    })
  }

  #resolve(template: PoolConfig, known: Entry | undefined): Entry {
    const { servers: found, whyEmpty = "" } = this.#find(template)
    const before = known?.pool.servers ?? []
    const servers = withKnown(before, found)
    const isSame =
      known !== undefined &&
      Bun.deepEquals(known.template, template) &&
      before.length === servers.length &&
      servers.every((server, index) => server === before[index])
    return { template, pool: isSame ? known.pool : { ...template, servers }, whyEmpty }
  }

  #find({ kubernetes }: PoolConfig): Pick<ServersFound, "servers" | "whyEmpty"> {
    if (kubernetes === undefined) return { servers: [], whyEmpty: undefined }
    const { view } = this.#source
    const key = `${kubernetes.namespace}/${kubernetes.service}`
    const query = { ...kubernetes, families: this.#families, isOwn: this.#isOwn }
    const service = view.services.get(key)
    const slices = this.#source.slicesOf(key)
    if (kubernetes.reach === "pod") return endpointServers(query, service, slices)
    return nodePortServers(query, { service, nodes: view.nodes.values(), slices })
  }
}

/** Who stays is the same object. */
function withKnown(
  known: readonly ServerConfig[],
  found: readonly ServerConfig[],
): readonly ServerConfig[] {
  if (known.length === 0) return found
  const byName = new Map(known.map((server) => [server.name, server]))
  return found.map((server) => {
    const before = byName.get(server.name)
    return before !== undefined && Bun.deepEquals(before, server) ? before : server
  })
}
