/**
 * A stand-in for kube-apiserver 1.32, for tests: no real one can be had on the machines this is
 * built on. It behaves as the real one does where a client can tell (each file says which source it
 * follows), keeps everything in memory, and can be broken in all the ways an API server breaks.
 *
 *     const api = await startApiServer()
 *     await api.apply(`kind: Service…`)
 *     const path = await api.kubeconfigFile("causeway")
 *     await api.faults.cutWatches()
 *     await api.close()
 *
 * Every method is asynchronous and takes plain data, so that the same interface serves a server in
 * another process (`control.ts`).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Authorizer } from "./authorization.ts"
import { bootstrapObjects } from "./bootstrap.ts"
import {
  type KeyPair,
  makeAuthority,
  makeClientCertificate,
  makeServerCertificate,
} from "./certificates.ts"
import {
  type ErrorOptions,
  Faults,
  serverErrors,
  type TooManyRequestsOptions,
  tooManyRequests,
} from "./faults.ts"
import { Handler, type HandlerSettings } from "./handler.ts"
import { HttpServer } from "./http.ts"
import { Identities } from "./identity.ts"
import { type Credentials, kubeconfigText } from "./kubeconfig.ts"
import { type ApiObject, isRecord, recordsAt, textAt } from "./object.ts"
import { PATCH_TYPES } from "./patch.ts"
import { type Place, Registry } from "./registry.ts"
import { type LoggedRequest, RequestLog, type UsedRight } from "./request-log.ts"
import { apiVersionOf, type CustomSet, type Resource, resourcesWith } from "./resources.ts"
import { type IpFamily, ServiceAllocator } from "./service-strategy.ts"
import { type Backup, Store } from "./store.ts"
import { WatchHub, type WatchSettings } from "./watcher.ts"

export interface ApiServerOptions {
  /** Default: 127.0.0.1. */
  readonly address?: string
  /** Default: one that is free. */
  readonly port?: number
  /** Further names and addresses of the certificate; the first one is what kubeconfigs name. */
  readonly names?: readonly string[]
  /** CustomResourceDefinitions that are there from the start; default: none. */
  readonly custom?: readonly CustomSet[]
  /** Streaming lists (`sendInitialEvents`); default: on, as in 1.32. */
  readonly watchList?: boolean
  /** Default: 60 s, as the real one. */
  readonly bookmarkIntervalMs?: number
  /** Changes kept per resource for watches to resume from; default: 10,000. */
  readonly historyMax?: number
  /** Unread bytes after which a watch is cut; default: 4 MiB. */
  readonly pendingBytesMax?: number
  /** How a forgotten resourceVersion is answered to a watch; default: "event", the real way. */
  readonly goneAs?: "event" | "http"
  /** Families of cluster addresses; default: IPv4 only. */
  readonly families?: readonly IpFamily[]
  /** Does somebody delete what its owner has left behind? Default: yes, as in a whole cluster. */
  readonly collectsGarbage?: boolean
  /** Wait for a version from the future; default: 3 s, as the real one. */
  readonly freshnessTimeoutMs?: number
  /** For certificates and kubeconfigs; default: a new one under the system's. */
  readonly directory?: string
  /** Default: 41,000, so that versions do not look like counts. */
  readonly firstRevision?: number
}

export interface UserOptions {
  readonly groups?: readonly string[]
}

export type KubeconfigForm =
  | "token"
  | "token-file"
  | "certificate"
  | "certificate-files"
  /** No credentials at all. */
  | "anonymous"

export interface KubeconfigOptions {
  /** Default: "token". */
  readonly form?: KubeconfigForm
  readonly namespace?: string
  /** Names the authority's file instead of embedding it. */
  readonly caFile?: boolean
}

/** How an API server can be broken, and mended. */
export interface ApiServerFaults {
  /**
   * Refuses connections and resets the open ones, as a killed process does; with "end", watches get
   * their last chunk before, as in an orderly restart. The state stays.
   */
  stop(how?: "end" | "reset"): Promise<void>
  /** Listens again. As after a real restart, watches resume only from now on (or `keepHistory`). */
  start(options?: { readonly keepHistory?: boolean }): Promise<void>
  /** Ends every watch: cleanly ("end"), or in the middle ("reset", the default). */
  cutWatches(how?: "end" | "reset"): Promise<void>
  /** Open watches, and new ones, stay silent; with false they go on with what they missed. */
  stallWatches(isStalled?: boolean): Promise<void>
  /** New requests are taken and not answered, until `clear`. */
  stallRequests(): Promise<void>
  delay(ms: number): Promise<void>
  tooManyRequests(options?: TooManyRequestsOptions): Promise<void>
  serverErrors(options?: ErrorOptions): Promise<void>
  /** /readyz answers 500. */
  unready(isUnready?: boolean): Promise<void>
  /** Forgets all changes so far: every older resourceVersion is answered with 410. */
  compact(): Promise<void>
  /** Remembers the state under a name. */
  backup(name?: string): Promise<void>
  /** Goes back to it, revision included, with every connection reset, as after a disaster. */
  restore(name?: string): Promise<void>
  /** Lets the revision run ahead, as writes to other resources do. */
  advance(revisions: number): Promise<void>
  /** Mends delays, silence and refusals (not a stopped server). */
  clear(): Promise<void>
}

export interface ApiServer {
  readonly url: string
  readonly caPem: string
  /** Folder with its certificates and kubeconfigs; removed by `close`. */
  readonly directory: string
  readonly faults: ApiServerFaults
  /**
   * Creates or replaces objects: YAML with any number of documents, JSON, or values. A status in
   * them is written too, and a missing namespace is made.
   */
  apply(input: string | ApiObject | readonly ApiObject[]): Promise<ApiObject[]>
  /** `resource`: "services", "ipaddresspools"; `key`: "namespace/name" or "name". */
  get(resource: string, key: string): Promise<ApiObject | undefined>
  list(resource: string, namespace?: string): Promise<ApiObject[]>
  /** JSON merge patch. */
  patch(resource: string, key: string, patch: object): Promise<ApiObject>
  patchStatus(resource: string, key: string, patch: object): Promise<ApiObject>
  /** false: there was none. */
  remove(resource: string, key: string): Promise<boolean>
  /** Events about objects of this kind (and name), oldest first. */
  events(kind?: string, name?: string): Promise<ApiObject[]>
  /** Makes a CustomResourceDefinition's resources appear or go. */
  install(custom: CustomSet): Promise<void>
  uninstall(custom: CustomSet): Promise<void>
  setWatchList(isOn: boolean): Promise<void>
  /** Sends a bookmark to every watch that takes them. */
  bookmark(): Promise<void>
  revision(): Promise<number>
  addUser(name: string, options?: UserOptions): Promise<void>
  /** A further token of the user, who is made if need be. */
  issueToken(user: string): Promise<string>
  /** Every token so far is refused from now on. */
  revokeTokens(user: string): Promise<void>
  /** A kubeconfig's text. Unknown users are made, without rights; "admin" has all. */
  kubeconfig(user: string, options?: KubeconfigOptions): Promise<string>
  /** The same in a file; its path. */
  kubeconfigFile(user: string, options?: KubeconfigOptions): Promise<string>
  /** What was asked, oldest first, and since the last `clearRequests`. */
  requests(): Promise<LoggedRequest[]>
  clearRequests(): Promise<void>
  /** The rights that a user asked for and had. */
  usage(user: string): Promise<UsedRight[]>
  watchCount(): Promise<number>
  connectionCount(): Promise<number>
  close(): Promise<void>
}

/** Starts one in this process. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const { directory = mkdtempSync(join(tmpdir(), "causeway-api-")) } = options
  mkdirSync(directory, { recursive: true })
  const server = new LocalApiServer(options, directory)
  await server.open()
  return server
}

class LocalApiServer implements ApiServer {
  readonly directory: string
  readonly faults: ApiServerFaults
  readonly #options: ApiServerOptions
  readonly #custom: Set<CustomSet>
  readonly #settings: HandlerSettings & WatchSettings
  readonly #store: Store
  readonly #registry: Registry
  readonly #watches: WatchHub
  readonly #identities = new Identities()
  readonly #log = new RequestLog()
  readonly #faults = new Faults()
  readonly #handler: Handler
  readonly #backups = new Map<string, Backup>()
  #resources: readonly Resource[]
  #http: HttpServer | undefined
  #port: number
  #authority: KeyPair | undefined
  #files = 0

  constructor(options: ApiServerOptions, directory: string) {
    this.directory = directory
    this.#options = options
    this.#port = options.port ?? 0
    this.#custom = new Set(options.custom)
    this.#resources = resourcesWith(this.#custom)
    this.#settings = settingsOf(options)
    const { firstRevision = 41_000, historyMax = 10_000 } = options
    this.#store = new Store({ firstRevision, historyMax })
    this.#watches = new WatchHub(this.#store, this.#settings)
    this.#registry = new Registry({
      store: this.#store,
      allocator: new ServiceAllocator(options.families ?? ["IPv4"]),
      resourceOf: (plural, group) =>
        this.#resources.find((each) => each.plural === plural && each.group === group),
      collectsGarbage: options.collectsGarbage ?? true,
    })
    this.#handler = this.#makeHandler()
    this.faults = this.#makeFaults()
  }

  get url(): string {
    const host = this.#options.names?.[0] ?? this.#options.address ?? "127.0.0.1"
    return `https://${host.includes(":") ? `[${host}]` : host}:${this.#port}`
  }

  get caPem(): string {
    return this.#authority?.cert ?? ""
  }

  async open(): Promise<void> {
    const { address = "127.0.0.1", names = [] } = this.#options
    const ca = await makeAuthority(this.directory)
    const own = ["127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"]
    const all = new Set([...names, ...(address === "0.0.0.0" ? [] : [address]), ...own])
    const { key, cert } = await makeServerCertificate(this.directory, [...all])
    this.#authority = ca
    const handle = this.#handler.handle.bind(this.#handler)
    this.#http = new HttpServer({ key, cert, ca: ca.cert, handle })
    this.#identities.add("admin", ["system:masters"])
    await this.apply(bootstrapObjects())
    this.#port = await this.#http.listen(address, this.#port)
  }

  async apply(input: string | ApiObject | readonly ApiObject[]): Promise<ApiObject[]> {
    return documents(input).map((object) => this.#apply(object))
  }

  async get(resource: string, key: string): Promise<ApiObject | undefined> {
    return this.#store.get(this.#resource(resource), key)?.object
  }

  async list(resource: string, namespace = ""): Promise<ApiObject[]> {
    return this.#store
      .list(this.#resource(resource))
      .map(({ object }) => object)
      .filter(({ metadata }) => namespace === "" || metadata.namespace === namespace)
  }

  async patch(resource: string, key: string, patch: object): Promise<ApiObject> {
    const place = this.#place(resource, key, "")
    return this.#registry.patch(place, PATCH_TYPES.merge, patch).stored.object
  }

  async patchStatus(resource: string, key: string, patch: object): Promise<ApiObject> {
    const place = this.#place(resource, key, "status")
    return this.#registry.patch(place, PATCH_TYPES.merge, { status: patch }).stored.object
  }

  async remove(resource: string, key: string): Promise<boolean> {
    const place = this.#place(resource, key, "")
    if (this.#store.get(place.resource, key) === undefined) return false
    this.#registry.delete(place)
    return true
  }

  async events(kind?: string, name?: string): Promise<ApiObject[]> {
    const all = await this.list("events")
    return all
      .filter((event) => kind === undefined || textAt(event, "involvedObject", "kind") === kind)
      .filter((event) => name === undefined || textAt(event, "involvedObject", "name") === name)
      .toSorted((one, other) => versionOf(one) - versionOf(other))
  }

  async install(custom: CustomSet): Promise<void> {
    this.#custom.add(custom)
    // The resources that stay keep their identity, which the store goes by.
    const known = new Map(this.#resources.map((each) => [`${each.group}/${each.plural}`, each]))
    this.#resources = resourcesWith(this.#custom).map(
      (each) => known.get(`${each.group}/${each.plural}`) ?? each,
    )
  }

  async uninstall(custom: CustomSet): Promise<void> {
    this.#custom.delete(custom)
    const left = resourcesWith(this.#custom)
    const stays = (resource: Resource) =>
      left.some(({ group, plural }) => group === resource.group && plural === resource.plural)
    for (const resource of this.#resources) {
      if (stays(resource)) continue
      this.#watches.cut("end", resource)
      this.#store.drop(resource)
    }
    this.#resources = this.#resources.filter(stays)
  }

  async setWatchList(isOn: boolean): Promise<void> {
    this.#settings.hasWatchList = isOn
  }

  async bookmark(): Promise<void> {
    this.#watches.bookmark()
  }

  async revision(): Promise<number> {
    return this.#store.revision
  }

  async addUser(name: string, { groups = [] }: UserOptions = {}): Promise<void> {
    this.#identities.add(name, groups)
  }

  async issueToken(user: string): Promise<string> {
    return this.#identities.issueToken(user)
  }

  async revokeTokens(user: string): Promise<void> {
    this.#identities.revokeTokens(user)
  }

  async kubeconfig(user: string, options: KubeconfigOptions = {}): Promise<string> {
    const { form = "token", namespace, caFile = false } = options
    return kubeconfigText({
      url: this.url,
      caPem: this.caPem,
      ...(caFile ? { caPath: this.#authority?.certPath ?? "" } : {}),
      ...(namespace === undefined ? {} : { namespace }),
      credentials: await this.#credentials(user, form),
    })
  }

  async kubeconfigFile(user: string, options: KubeconfigOptions = {}): Promise<string> {
    return this.#write("kubeconfig", await this.kubeconfig(user, options))
  }

  async requests(): Promise<LoggedRequest[]> {
    return [...this.#log.requests]
  }

  async clearRequests(): Promise<void> {
    this.#log.clear()
  }

  async usage(user: string): Promise<UsedRight[]> {
    return this.#log.usageOf(user)
  }

  async watchCount(): Promise<number> {
    return this.#watches.count
  }

  async connectionCount(): Promise<number> {
    return this.#http?.connections ?? 0
  }

  async close(): Promise<void> {
    this.#watches.cut("reset")
    await this.#http?.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #apply(object: ApiObject): ApiObject {
    const resource = this.#resources.find(
      (each) => each.kind === object.kind && apiVersionOf(each) === object.apiVersion,
    )
    if (resource === undefined) {
      throw new Error(`no matches for kind "${object.kind}" in version "${object.apiVersion}"`)
    }
    const { name = "" } = object.metadata
    const namespace = resource.isNamespaced ? (object.metadata.namespace ?? "default") : ""
    const place = { resource, namespace, name, subresource: "" }
    const key = resource.isNamespaced ? `${namespace}/${name}` : name
    if (resource.isNamespaced) this.#ensureNamespace(namespace)
    const { resourceVersion: _, uid: __, ...metadata } = object.metadata
    const body = { ...object, metadata: { ...metadata, name } }
    const before = this.#store.get(resource, key)
    const { stored } =
      before === undefined
        ? this.#registry.create(place, body)
        : this.#registry.update(place, withVersion(body, before.revision))
    if (!resource.hasStatus || object.status === undefined) return stored.object
    const status = { status: object.status }
    const statusPlace = { ...place, name: stored.object.metadata.name, subresource: "status" }
    return this.#registry.patch(statusPlace, PATCH_TYPES.merge, status).stored.object
  }

  #ensureNamespace(name: string): void {
    const namespaces = this.#resource("namespaces")
    if (this.#store.get(namespaces, name) !== undefined) return
    const place = { resource: namespaces, namespace: "", name, subresource: "" }
    this.#registry.create(place, { metadata: { name } })
  }

  #resource(plural: string): Resource {
    const found = this.#resources.find((each) => each.plural === plural)
    if (found === undefined) throw new Error(`no resource ${plural}`)
    return found
  }

  #place(plural: string, key: string, subresource: string): Place {
    const resource = this.#resource(plural)
    const [namespace = "", name = ""] = resource.isNamespaced ? key.split("/") : ["", key]
    return { resource, namespace, name, subresource }
  }

  async #credentials(user: string, form: KubeconfigForm): Promise<Credentials> {
    if (form === "anonymous") return { type: "none" }
    if (this.#identities.get(user) === undefined) this.#identities.add(user)
    if (form === "token") return { type: "token", token: await this.issueToken(user) }
    if (form === "token-file") {
      return { type: "token-file", path: this.#write("token", await this.issueToken(user)) }
    }
    const groups = this.#identities.get(user)?.groups ?? []
    const pair = await makeClientCertificate(this.directory, user, groups)
    return form === "certificate"
      ? { type: "certificate", cert: pair.cert, key: pair.key }
      : { type: "certificate-files", certPath: pair.certPath, keyPath: pair.keyPath }
  }

  #write(name: string, text: string): string {
    this.#files += 1
    const path = join(this.directory, `${name}-${this.#files}`)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  #makeHandler(): Handler {
    const roleResource = (plural: string) => this.#resource(plural)
    return new Handler({
      store: this.#store,
      registry: this.#registry,
      watches: this.#watches,
      identities: this.#identities,
      authorizer: new Authorizer(this.#store, {
        roles: roleResource("roles"),
        clusterRoles: roleResource("clusterroles"),
        roleBindings: roleResource("rolebindings"),
        clusterRoleBindings: roleResource("clusterrolebindings"),
      }),
      faults: this.#faults,
      log: this.#log,
      settings: this.#settings,
      resources: () => this.#resources,
    })
  }

  #makeFaults(): ApiServerFaults {
    return {
      stop: async (how = "reset") => {
        if (how === "end") this.#watches.cut("end")
        await this.#http?.stop(how)
      },
      start: async ({ keepHistory = false } = {}) => {
        if (!keepHistory) this.#store.compact()
        await this.#http?.listen(this.#options.address ?? "127.0.0.1", this.#port)
      },
      cutWatches: async (how = "reset") => this.#watches.cut(how),
      stallWatches: async (isStalled = true) => this.#watches.stall(isStalled),
      stallRequests: async () => this.#faults.stall(),
      delay: async (ms) => this.#faults.delay(ms),
      tooManyRequests: async (options = {}) => this.#faults.refuse(tooManyRequests(options)),
      serverErrors: async (options = {}) => this.#faults.refuse(serverErrors(options)),
      unready: async (isUnready = true) => {
        this.#settings.isReady = !isUnready
      },
      compact: async () => this.#store.compact(),
      backup: async (name = "") => {
        this.#backups.set(name, this.#store.backup())
      },
      restore: async (name = "") => this.#restore(name),
      advance: async (revisions) => this.#store.advance(revisions),
      clear: async () => {
        this.#faults.clear()
        this.#watches.stall(false)
        this.#settings.isReady = true
      },
    }
  }

  async #restore(name: string): Promise<void> {
    const backup = this.#backups.get(name)
    if (backup === undefined) throw new Error(`no backup "${name}"`)
    await this.faults.stop()
    this.#store.restore(backup)
    await this.faults.start()
  }
}

function settingsOf(options: ApiServerOptions): HandlerSettings & WatchSettings {
  return {
    hasWatchList: options.watchList ?? true,
    freshnessTimeoutMs: options.freshnessTimeoutMs ?? 3_000,
    isReady: true,
    bookmarkIntervalMs: options.bookmarkIntervalMs ?? 60_000,
    pendingBytesMax: options.pendingBytesMax ?? 4 * 1024 * 1024,
    timeoutSecondsMin: 1_800,
    goneAs: options.goneAs ?? "event",
  }
}

/** Objects of YAML with `---` between documents, of JSON, of a List, or as they are. */
function documents(input: string | ApiObject | readonly ApiObject[]): ApiObject[] {
  const values: unknown[] =
    typeof input === "string"
      ? input.split(/^---.*$/m).map((text) => Bun.YAML.parse(text))
      : [input].flat()
  return values.filter(isRecord).flatMap((value) => {
    const isList = textAt(value, "kind").endsWith("List")
    return (isList ? recordsAt(value, "items") : [value]) as unknown as ApiObject[]
  })
}

function withVersion<T extends { metadata: object }>(body: T, revision: number): T {
  return { ...body, metadata: { ...body.metadata, resourceVersion: String(revision) } }
}

function versionOf({ metadata }: ApiObject): number {
  return Number(metadata.resourceVersion ?? 0)
}
