/**
 * Ingresses as routes, pools and certificates: the whole of it each time, since a new Ingress can
 * take something from any other; only what depends on one object alone is kept from one time to the
 * next. It decides nothing by time and writes nothing itself.
 */
import type { PoolConfig } from "../../config/config.ts"
import type { RouteConfig } from "../../config/http-config.ts"
import type { Address } from "../../net/address.ts"
import type { ClusterView, Ingress, ObjectKey } from "../objects.ts"
import type { Write } from "../writes.ts"
import { AccessTable } from "./access.ts"
import { AuthUsers } from "./basic-auth.ts"
import { Certificates, type IngressCertificate, type ReadCertificate } from "./certificates.ts"
import { isOurs, ourClasses } from "./class.ts"
import { inPatternOrder } from "./pattern-order.ts"
import { byAge, type Place, placesOf } from "./places.ts"
import { PoolTable } from "./pool-table.ts"
import { type IngressProblem, problemOf } from "./problem.ts"
import { routeOf } from "./route.ts"
import { type IngressRules, type RuleTarget, rulesOf } from "./rules.ts"
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
    const tls = this.#certificates.find(ingresses, view.secrets)
    const problems = rules.flatMap(({ ingress, findings }) =>
      findings.map((finding) => problemOf(ingress, finding)),
    )
    problems.push(...tls.problems)
    const places = placesOf(rules, problems)
    const { poolTemplate: template, crossNamespaceSecrets, servesTls } = settings
    const pools = new PoolTable(view, { template, problems })
    const access = new AccessTable({
      secrets: view.secrets,
      crossNamespaceSecrets,
      users: this.#users,
      pools,
      places,
      problems,
    })
    const tlsHosts = servesTls ? tls.hosts : new Set<string>()
    return {
      routes: routesOf(places.values(), { pools, access, tlsHosts }),
      pools: pools.pools,
      certificates: tls.certificates,
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

  /** The same for single Ingresses whose status is other, while nothing else is. */
  writesAgain(
    keys: Iterable<ObjectKey>,
    context: { readonly view: IngressView; readonly addresses: readonly Address[] },
  ): Write[] {
    return this.#status.again(keys, context)
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
  readonly pools: PoolTable
  readonly access: AccessTable
  /** Hosts that are reached by TLS here. */
  readonly tlsHosts: ReadonlySet<string>
}

function routesOf(places: Iterable<Place>, context: TranslationContext): RouteConfig[] {
  const byHost = Map.groupBy(places, ({ rule }) => rule.host)
  return [...byHost.values()].flatMap((ofHost) => {
    const { plain, patterns } = inPatternOrder(ofHost)
    return [
      ...plain.map((place) => routeAt(place, false, context)),
      ...patterns.map((place) => routeAt(place, place.rule.match === "prefix", context)),
    ]
  })
}

function routeAt(place: Place, asPattern: boolean, context: TranslationContext): RouteConfig {
  const { rule, owner, canary } = place
  const { pools, access, tlsHosts } = context
  const poolOf = (target: RuleTarget, by: IngressRules) => {
    if (target.type !== "backend") return undefined
    const { namespace } = by.ingress.meta
    // How its servers are spoken to a canary inherits.
    const { backend } = owner.options
    const { balance } = by.options
    return pools.nameOf(target.backend, { namespace, backend, balance, by: by.ingress })
  }
  return routeOf(place, {
    ...access.of(place),
    pool: poolOf(rule.target, owner),
    canaryPool: canary && poolOf(canary.rule.target, canary.owner),
    tlsRedirect: isSentToTls(place, tlsHosts),
    asPattern,
  })
}

function isSentToTls({ rule, owner }: Place, tlsHosts: ReadonlySet<string>): boolean {
  const { sslRedirect, forceSslRedirect } = owner.options
  if (rule.path.startsWith(ACME_CHALLENGE)) return false
  if (forceSslRedirect || !sslRedirect) return forceSslRedirect
  const wildcard = rule.host.replace(/^[^*.][^.]*\./, "*.")
  return rule.host !== "" && (tlsHosts.has(rule.host) || tlsHosts.has(wildcard))
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

/**
 * Who is about to get a certificate has none to show there yet (RFC 8555 §8.3); ingress-nginx:
 * no-tls-redirect-locations.
 */
const ACME_CHALLENGE = "/.well-known/acme-challenge"

/** The same is found once for each path. */
function distinct(problems: readonly IngressProblem[]): IngressProblem[] {
  const known = new Map<string, IngressProblem>()
  for (const problem of problems) known.set(`${problem.ingress} ${problem.message}`, problem)
  return [...known.values()]
}
