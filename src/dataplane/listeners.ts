/** The listeners of one data thread, of every kind. */
import type { RouteResources } from "../http/compiled-route.ts"
import { CompiledRoutes } from "../http/compiled-routes.ts"
import { HttpListener, type HttpListenerSettings, type SecureLayer } from "../http/driver.ts"
import type { HttpContext, HttpSettings } from "../http/shell/context.ts"
import { membership } from "../net/prefix-set.ts"
import type { StreamContext } from "../stream/context.ts"
import { StreamListener } from "../stream/driver.ts"
import { TlsHandshake } from "../tls/shell/handshake.ts"
import { ServerTls } from "../tls/shell/server-tls.ts"
import type {
  DataHttpServiceUpdate,
  DataHttpSpec,
  DataListenerSpec,
  ToDataThread,
} from "./messages.ts"

/** What the endpoints of one `[[http]]` share on this thread. */
interface HttpService {
  readonly spec: DataHttpServiceUpdate
  readonly tls: ServerTls | undefined
  readonly secure: SecureLayer | undefined
  readonly sendsProxyHeader: HttpListenerSettings["sendsProxyHeader"]
  readonly settings: Omit<HttpSettings, "endpoint" | "isTls">
}

type RoutesMessage = Extract<ToDataThread, { readonly type: "routes" }>

export class Listeners {
  readonly #stream: StreamContext
  readonly #http: HttpContext
  readonly #resources: RouteResources
  readonly #streams = new Map<string, StreamListener>()
  readonly #https = new Map<string, { listener: HttpListener; spec: DataHttpSpec }>()
  readonly #services = new Map<string, HttpService>()
  readonly #routes = new Map<string, CompiledRoutes>()

  constructor(contexts: {
    readonly stream: StreamContext
    readonly http: HttpContext
    readonly resources: RouteResources
  }) {
    this.#stream = contexts.stream
    this.#http = contexts.http
    this.#resources = contexts.resources
  }

  /** For the `setService` that follows. */
  setRoutes({ http, isFresh, keys, routes }: RoutesMessage): void {
    const known = isFresh ? undefined : this.#routes.get(http.name)
    const compiled = known ?? new CompiledRoutes(http, this.#resources)
    this.#routes.set(http.name, compiled)
    compiled.set(keys, routes)
  }

  setService(spec: DataHttpServiceUpdate): void {
    const previous = this.#services.get(spec.config.name)
    this.#services.set(spec.config.name, this.#compile(spec))
    for (const { listener, spec: endpoint } of this.#https.values()) {
      if (endpoint.service === spec.config.name) listener.update(this.#httpSettings(endpoint))
    }
    previous?.tls?.close()
  }

  removeService(name: string): void {
    this.#services.get(name)?.tls?.close()
    this.#services.delete(name)
    this.#routes.delete(name)
  }

  set(spec: DataListenerSpec): void {
    if (spec.kind === "http") return this.#setHttp(spec)
    const known = this.#streams.get(spec.id)
    if (known !== undefined) return known.update(spec)
    this.#streams.set(spec.id, new StreamListener(this.#stream, spec.fd, spec))
  }

  remove(id: string): void {
    this.#streams.get(id)?.acceptor.detach()
    this.#https.get(id)?.listener.retire()
    this.#streams.delete(id)
    this.#https.delete(id)
  }

  /** Lets listeners that stand at their limit go on where there is room again. */
  resumePaused(): void {
    for (const { acceptor } of this.#streams.values()) {
      if (acceptor.isPaused) acceptor.resumeIfRoom()
    }
    for (const { listener } of this.#https.values()) {
      if (listener.acceptor.isPaused) listener.acceptor.resumeIfRoom()
    }
  }

  #compile(spec: DataHttpServiceUpdate): HttpService {
    const { config, row } = spec
    const routes = this.#routes.get(config.name) ?? new CompiledRoutes(config, this.#resources)
    const tls = spec.tls === undefined ? undefined : new ServerTls(spec.tls)
    const timeoutMs = spec.config.timeouts.handshakeMs
    return {
      spec,
      tls,
      secure: tls === undefined ? undefined : secureLayer(this.#http, { tls, timeoutMs }),
      sendsProxyHeader: membership(spec.config.acceptProxyProtocol),
      settings: {
        name: config.name,
        row,
        routes: routes.table(spec.routeKeys),
        limits: config.limits,
        timeouts: config.timeouts,
        trusts: membership(config.trustedProxies) ?? (() => false),
        maxConnections: config.maxConnections,
      },
    }
  }

  #setHttp(spec: DataHttpSpec & { readonly id: string; readonly fd: number }): void {
    const settings = this.#httpSettings(spec)
    const known = this.#https.get(spec.id)
    if (known !== undefined) return known.listener.update(settings)
    const listener = new HttpListener(this.#http, spec.fd, settings)
    this.#https.set(spec.id, { listener, spec })
  }

  #httpSettings(spec: DataHttpSpec): HttpListenerSettings {
    const service = this.#services.get(spec.service)
    if (service === undefined) throw new Error(`No HTTP service ${spec.service}`)
    const { allow, deny } = service.spec.config
    return {
      ...service.settings,
      endpoint: spec.endpoint,
      isTls: spec.isTls,
      allow,
      deny,
      sendsProxyHeader: service.sendsProxyHeader,
      secure: spec.isTls ? service.secure : undefined,
    }
  }
}

/** Handshakes of one service; each connection keeps the certificates it began with. */
function secureLayer(
  context: HttpContext,
  { tls, timeoutMs }: { readonly tls: ServerTls; readonly timeoutMs: number },
): SecureLayer {
  return {
    begin: (fd, user) => {
      new TlsHandshake(context.reactor, {
        fd,
        tls,
        timeoutMs,
        user: {
          secured: (transport) => user.secured(transport),
          handshakeFailed: (_fd, failure, detail) => user.failed(failure, detail),
          fault: (error) => context.log("error", "Fault in a handshake", { error: String(error) }),
        },
      })
    },
  }
}
