/**
 * Who may pass each route: what an Ingress asks for, as far as its Secret and its auth server are
 * there. Where they are not, nobody passes.
 */
import type { ForwardAuthConfig } from "../../config/http-config.ts"
import type { ClusterView, Ingress, ObjectKey } from "../objects.ts"
import type { AuthUsers } from "./basic-auth.ts"
import type { BackendOptions } from "./options-backend.ts"
import type { ExternalAuth } from "./options-external-auth.ts"
import type { Place } from "./places.ts"
import type { PoolTable } from "./pool-table.ts"
import { type Finding, type IngressProblem, problemOf, warning } from "./problem.ts"
import { placeOf } from "./route-path.ts"
import type { IngressRules } from "./rules.ts"

export interface Access {
  /** undefined: no password is asked for. */
  readonly users: Readonly<Record<string, string>> | undefined
  /** undefined: no server is asked. */
  readonly forwardAuth: ForwardAuthConfig | undefined
  /** Nobody may pass. */
  readonly isRefused: boolean
}

export interface AccessContext {
  readonly secrets: ClusterView["secrets"]
  /** Secrets of other namespaces may be named. */
  readonly crossNamespaceSecrets: boolean
  readonly users: AuthUsers
  readonly pools: PoolTable
  readonly places: ReadonlyMap<string, Place>
  readonly problems: IngressProblem[]
}

export class AccessTable {
  readonly #context: AccessContext
  /** What is the same for all places of an Ingress. */
  readonly #known = new Map<IngressRules, Access>()

  constructor(context: AccessContext) {
    this.#context = context
  }

  of({ rule, owner }: Place): Access {
    const access = this.#known.get(owner) ?? this.#accessOf(owner)
    this.#known.set(owner, access)
    const { external } = owner.options.access
    if (access.isRefused || external === undefined) return access
    const pool = this.#authPool(external, rule.host, owner)
    if (pool === undefined) return REFUSED
    const { path, copyHeaders } = external
    const signinUrl = signinOf(external, rule.host)
    return { ...access, forwardAuth: { pool, path, copyHeaders, signinUrl } }
  }

  #accessOf({ ingress, options }: IngressRules): Access {
    const { secrets, users, crossNamespaceSecrets } = this.#context
    const { refusal, auth } = options.access
    const foreign = crossNamespaceSecrets ? undefined : foreignSecret(ingress, options)
    const isForeign = foreign === undefined ? "" : `the Secret ${foreign} is in another namespace`
    const why = refusal || isForeign
    if (why !== "") {
      this.#report(ingress, warning("AccessDenied", `${why}: nobody passes; answered with 503`))
      return REFUSED
    }
    if (auth === undefined) return OPEN
    const result = users.of(auth, secrets)
    for (const each of result.findings) this.#report(ingress, each)
    return result.ok ? { ...OPEN, users: result.users } : REFUSED
  }

  #authPool(
    { server, path }: ExternalAuth,
    host: string,
    { ingress }: IngressRules,
  ): string | undefined {
    const { pools, places } = this.#context
    if (server.type === "service") {
      const { namespace, service, port, isTls } = server
      const backend = isTls ? TLS_SERVER : PLAIN_SERVER
      const use = { namespace, backend, balance: undefined, by: ingress }
      return pools.nameOf({ type: "service", service, port }, use)
    }
    const place = placeFor(places, host, path)
    if (place?.rule.target.type === "backend") {
      const { namespace } = place.owner.ingress.meta
      const { backend, balance } = place.owner.options
      return pools.nameOf(place.rule.target.backend, { namespace, backend, balance, by: ingress })
    }
    const message = `no Ingress serves ${host || "*"}${path}, which says who may pass`
    this.#report(ingress, warning("AccessDenied", `${message}; answered with 503`))
    return undefined
  }

  #report(ingress: Ingress, finding: Finding): void {
    this.#context.problems.push(problemOf(ingress, finding))
  }
}

function foreignSecret(
  { meta }: Ingress,
  { access, backend }: IngressRules["options"],
): ObjectKey | undefined {
  const named = [access.auth?.secret ?? "", backend.tls?.secret ?? ""]
  return named.find((key) => key !== "" && !key.startsWith(`${meta.namespace}/`))
}

/** Where the host is not one alone, nobody can be sent to it: clients get the 401 as it is. */
function signinOf({ signin }: ExternalAuth, host: string): string {
  const isOne = host !== "" && !host.startsWith("*")
  if (!signin.includes("$host")) return signin
  return isOne ? signin.replace("$host", host) : ""
}

/** Whoever serves a path of a host: by its exact path, or its longest prefix. */
function placeFor(
  places: ReadonlyMap<string, Place>,
  host: string,
  target: string,
): Place | undefined {
  const [path = ""] = target.split("?")
  const exact = places.get(placeOf(host, { path, pathType: "Exact" }))
  if (exact !== undefined) return exact
  for (let end = path.length; end >= 0; end = path.lastIndexOf("/", end - 1)) {
    const prefix = places.get(placeOf(host, { path: path.slice(0, end), pathType: "Prefix" }))
    if (prefix !== undefined) return prefix
    if (end === 0) return undefined
  }
  return undefined
}

const OPEN: Access = { users: undefined, forwardAuth: undefined, isRefused: false }
const REFUSED: Access = { users: undefined, forwardAuth: undefined, isRefused: true }

const PLAIN_SERVER: BackendOptions = {
  protocol: "http",
  tls: undefined,
  connectTimeoutMs: undefined,
}
const TLS_SERVER: BackendOptions = {
  protocol: "https",
  tls: { verify: false, serverName: "", secret: "", minVersion: "1.2" },
  connectTimeoutMs: undefined,
}
