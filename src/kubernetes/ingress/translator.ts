/**
 * Ingresses as routes, pools and certificates: the whole of it each time, since a new Ingress can
 * take something from any other; only what depends on one object alone is kept from one time to the
 * next. It decides nothing by time and writes nothing itself.
 */
import type { PoolConfig } from "../../config/config.ts"
import type { RouteConfig } from "../../config/http-config.ts"
import type { Address } from "../../net/address.ts"
import type { ClusterView, Ingress, IngressBackend, ObjectKey } from "../objects.ts"
import type { Write } from "../writes.ts"
import { backendPool } from "./backend.ts"
import { AuthUsers } from "./basic-auth.ts"
import {
  Certificates,
  type CertificatesFound,
  type IngressCertificate,
  type ReadCertificate,
} from "./certificates.ts"
import { isOurs, ourClasses } from "./class.ts"
import { inPatternOrder } from "./pattern-order.ts"
import { byAge, type Place, placesOf } from "./places.ts"
import { type Finding, type IngressProblem, problemOf, warning } from "./problem.ts"
import { routeOf } from "./route.ts"
import { type IngressRules, rulesOf } from "./rules.ts"
import { IngressStatus } from "./status.ts"

export interface IngressSettings {
  /** `ingress_class`. */
  readonly ingressClass: string
  /** The listener has a bind with TLS. */
  readonly servesTls: boolean
  /** Annotations may name Secrets of other namespaces. */
  readonly crossNamespaceSecrets: boolean
  /** What the pools have in common; name, servers and tls are not read. */
  readonly poolTemplate: PoolConfig
}

export type IngressView = Pick<ClusterView, "ingresses" | "ingressClasses" | "services" | "secrets">

export interface IngressTranslation {
  /** For a listener with `ingress = true`; patterns in the order in which they are tried. */
  readonly routes: readonly RouteConfig[]
  /** Those that routes name, by name, without servers. */
  readonly pools: readonly PoolConfig[]
  /** To be added to the listener's own, which go first. */
  readonly certificates: readonly IngressCertificate[]
  readonly problems: readonly IngressProblem[]
  /** Ingresses that are ours, oldest first. */
  readonly ingresses: readonly Ingress[]
  /** Secrets that are named, whether they are there or not. */
  readonly secretsWanted: ReadonlySet<ObjectKey>
}

export class IngressTranslator {
  readonly #rules = new WeakMap<Ingress, IngressRules>()
  readonly #users = new AuthUsers()
  readonly #certificates: Certificates
  readonly #status = new IngressStatus()

  constructor(readCertificate: ReadCertificate) {
    this.#certificates = new Certificates(readCertificate)
  }

  translate(view: IngressView, settings: IngressSettings): IngressTranslation {
    const classes = ourClasses(settings.ingressClass, view.ingressClasses.values())
    const ingresses = [...view.ingresses.values()].filter((each) => isOurs(each, classes))
    ingresses.sort(byAge)
    const rules = ingresses.map((ingress) => this.#rulesOf(ingress))
    const certificates = this.#certificates.find(ingresses, view.secrets)
    const problems = rules.flatMap(({ ingress, findings }) =>
      findings.map((finding) => problemOf(ingress, finding)),
    )
    problems.push(...certificates.problems)
    const places = placesOf(rules, problems)
    const build = new Translation({ view, settings, certificates, users: this.#users, problems })
    const routes = build.routesOf(places.values())
    return {
      routes,
      pools: build.pools,
      certificates: certificates.certificates,
      problems: distinct(problems),
      ingresses,
      secretsWanted: secretsOf(rules),
    }
  }

  /**
   * What is to be written now: `status.loadBalancer` wherever it is not `addresses`, and an Event
   * for each new warning. Without addresses status stays as it is. Call it after each translation,
   * and whenever one of the arguments changes.
   */
  writes(
    translation: IngressTranslation,
    context: {
      readonly view: IngressView
      /** Where the listener is reached. */
      readonly addresses: readonly Address[]
      /** Others write nothing, but see what they would. */
      readonly isWriter: boolean
    },
  ): Write[] {
    return this.#status.writes(translation, context)
  }

  #rulesOf(ingress: Ingress): IngressRules {
    const known = this.#rules.get(ingress)
    if (known !== undefined) return known
    const rules = rulesOf(ingress)
    this.#rules.set(ingress, rules)
    return rules
  }
}

interface TranslationContext {
  readonly view: IngressView
  readonly settings: IngressSettings
  readonly certificates: CertificatesFound
  readonly users: AuthUsers
  readonly problems: IngressProblem[]
}

/** One turn from places to routes. */
class Translation {
  readonly #context: TranslationContext
  readonly #pools = new Map<string, PoolConfig>()
  readonly #access = new Map<IngressRules, Access>()

  constructor(context: TranslationContext) {
    this.#context = context
  }

  get pools(): PoolConfig[] {
    return [...this.#pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  routesOf(places: Iterable<Place>): RouteConfig[] {
    const byHost = Map.groupBy(places, ({ rule }) => rule.host)
    return [...byHost.values()].flatMap((ofHost) => {
      const { plain, patterns } = inPatternOrder(ofHost)
      return [
        ...plain.map((place) => this.#route(place, false)),
        ...patterns.map((place) => this.#route(place, place.rule.match === "prefix")),
      ]
    })
  }

  #route(place: Place, asPattern: boolean): RouteConfig {
    const { rule, owner, canary } = place
    const { users, isRefused } = this.#accessOf(owner)
    const target = rule.target
    const pool = target.type === "backend" ? this.#pool(target.backend, owner) : undefined
    const canaryPool =
      canary?.rule.target.type === "backend"
        ? this.#pool(canary.rule.target.backend, canary.owner, owner)
        : undefined
    const tlsRedirect = this.#sendsToTls(place)
    return routeOf(place, { pool, canaryPool, users, isRefused, tlsRedirect, asPattern })
  }

  /** `main`: whose annotations say how a canary's servers are spoken to. */
  #pool(to: IngressBackend, owner: IngressRules, main = owner): string | undefined {
    const { ingress, options } = owner
    const { view, settings, problems } = this.#context
    const result = backendPool(to, {
      namespace: ingress.meta.namespace,
      backend: main.options.backend,
      balance: options.balance,
      services: view.services,
      secrets: view.secrets,
      template: settings.poolTemplate,
    })
    if (result.ok) {
      this.#pools.set(result.pool.name, result.pool)
      return result.pool.name
    }
    problems.push(problemOf(ingress, result.finding))
    return undefined
  }

  #sendsToTls({ rule, owner }: Place): boolean {
    const { sslRedirect, forceSslRedirect } = owner.options
    if (forceSslRedirect) return true
    const { settings, certificates } = this.#context
    if (!sslRedirect || !settings.servesTls || rule.host === "") return false
    const wildcard = rule.host.replace(/^[^*.][^.]*\./, "*.")
    return certificates.hosts.has(rule.host) || certificates.hosts.has(wildcard)
  }

  #accessOf(owner: IngressRules): Access {
    const known = this.#access.get(owner)
    if (known !== undefined) return known
    const { access, findings } = this.#readAccess(owner)
    for (const each of findings) this.#context.problems.push(problemOf(owner.ingress, each))
    this.#access.set(owner, access)
    return access
  }

  #readAccess({ ingress, options }: IngressRules): {
    readonly access: Access
    readonly findings: readonly Finding[]
  } {
    const { refusal, auth } = options.access
    const { settings, users, view } = this.#context
    const foreign = settings.crossNamespaceSecrets ? undefined : foreignSecret(ingress, options)
    const why =
      refusal === "" && foreign !== undefined ? `${foreign} is in another namespace` : refusal
    if (why !== "") {
      const message = `${why}: nobody is let in; answered with 503`
      return { access: REFUSED, findings: [warning("AccessDenied", message)] }
    }
    if (auth === undefined) return { access: OPEN, findings: [] }
    const result = users.of(auth, view.secrets)
    if (!result.ok) return { access: REFUSED, findings: [result.finding] }
    return { access: { users: result.users, isRefused: false }, findings: result.findings }
  }
}

interface Access {
  readonly users: Readonly<Record<string, string>> | undefined
  readonly isRefused: boolean
}

function foreignSecret(
  { meta }: Ingress,
  { access, backend }: IngressRules["options"],
): ObjectKey | undefined {
  const named = [access.auth?.secret, backend.tls?.secret]
  return named.find(
    (key) => key !== undefined && key !== "" && !key.startsWith(`${meta.namespace}/`),
  )
}

function secretsOf(rules: readonly IngressRules[]): Set<ObjectKey> {
  const keys = rules.flatMap(({ ingress, options }) => [
    ...ingress.tls.map(({ secretName }) =>
      secretName === "" ? "" : `${ingress.meta.namespace}/${secretName}`,
    ),
    options.access.auth?.secret ?? "",
    options.backend.tls?.secret ?? "",
  ])
  return new Set(keys.filter((key) => key !== ""))
}

/** The same is found once for each path. */
function distinct(problems: readonly IngressProblem[]): IngressProblem[] {
  const known = new Map<string, IngressProblem>()
  for (const problem of problems) known.set(`${problem.ingress} ${problem.message}`, problem)
  return [...known.values()]
}

const OPEN: Access = { users: undefined, isRefused: false }
const REFUSED: Access = { users: undefined, isRefused: true }
