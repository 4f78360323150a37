/**
 * One Ingress as a list of rules, each for a host and a path. It depends on nothing but the object,
 * so it is made once for each.
 */
import type { PathMatch, RedirectConfig } from "../../config/http-config.ts"
import type { Ingress, IngressBackend, IngressPath } from "../objects.ts"
import { CLASS_ANNOTATION } from "./class.ts"
import { type IngressOptions, readOptions } from "./options.ts"
import { type Finding, notice, warning } from "./problem.ts"
import { matchedPath, placeOf } from "./route-path.ts"

export interface IngressRules {
  readonly ingress: Ingress
  readonly options: IngressOptions
  readonly rules: readonly Rule[]
  readonly findings: readonly Finding[]
}

export interface Rule {
  /** Lower case; "*.k8s.com"; "": any. */
  readonly host: string
  readonly path: string
  readonly match: PathMatch
  readonly target: RuleTarget
  readonly rank: Rank
  /** Rules of the same place clash. */
  readonly place: string
}

export type RuleTarget =
  | { readonly type: "backend"; readonly backend: IngressBackend }
  | { readonly type: "redirect"; readonly redirect: RedirectConfig }

/**
 * Of rules for one place the first of these wins, and among equals the older Ingress.
 * "catch-all": the default backend of an Ingress without rules; "rest": of one with rules, for what
 * they do not match.
 */
export type Rank = "rule" | "app-root" | "alias" | "catch-all" | "rest" | "www"
export const RANKS: readonly Rank[] = ["rule", "app-root", "alias", "catch-all", "rest", "www"]

export function rulesOf(ingress: Ingress): IngressRules {
  const options = readOptions(ingress)
  const findings: Finding[] = [...classFindings(ingress), ...options.findings]
  const valid = ingress.rules.filter(({ host }) => isHost(host, findings))
  const hosts = [...new Set(valid.map(({ host }) => host.toLowerCase()))]
  const context = { options, findings }
  const rules = valid.flatMap(({ host, paths }) =>
    paths.flatMap((path) => pathRules(path, { host: host.toLowerCase(), rank: "rule" }, context)),
  )
  return {
    ingress,
    options,
    findings,
    rules: [
      ...rules,
      ...appRoots(hosts, options),
      ...aliases(rules, options),
      ...defaults(ingress, hosts),
      ...otherNames(hosts, options),
    ],
  }
}

interface Context {
  readonly options: IngressOptions
  readonly findings: Finding[]
}

function pathRules(
  path: IngressPath,
  { host, rank }: Pick<Rule, "host" | "rank">,
  { options, findings }: Context,
): Rule[] {
  const matched = matchedPath(path, options)
  if (matched.ok) {
    const place = placeOf(host, path)
    const target = { type: "backend", backend: path.backend } as const
    return [{ host, rank, place, target, ...matched.value }]
  }
  const where = JSON.stringify(`${host}${path.path}`)
  findings.push(warning("InvalidPath", `the path ${where} ${matched.reason}; it is not served`))
  return []
}

function appRoots(hosts: readonly string[], { redirects }: IngressOptions): Rule[] {
  const { appRoot } = redirects
  if (appRoot === "") return []
  const redirect = { ...NOWHERE, path: appRoot, isLiteral: true, status: 302 } as const
  return hosts.map((host) => ({
    host,
    path: "/",
    match: "exact",
    target: { type: "redirect", redirect },
    rank: "app-root",
    place: placeOf(host, { path: "/", pathType: "Exact" }),
  }))
}

/** All rules that have a host, once more for each further name. */
function aliases(rules: readonly Rule[], options: IngressOptions): Rule[] {
  return options.aliases.flatMap((alias) => {
    const host = alias.toLowerCase()
    const named = rules.filter((rule) => rule.host !== "" && rule.host !== host)
    return named.map((rule) => ({
      ...rule,
      host,
      rank: "alias" as const,
      place: host + rule.place.slice(rule.host.length),
    }))
  })
}

/** For all hosts, and before other Ingresses' for the hosts that this one names. */
function defaults({ defaultBackend, rules }: Ingress, hosts: readonly string[]): Rule[] {
  if (defaultBackend === undefined) return []
  const rank = rules.length === 0 ? "catch-all" : "rest"
  return [...new Set(["", ...hosts])].map((host) => ({
    ...everything(host),
    target: { type: "backend", backend: defaultBackend },
    rank,
  }))
}

/** "www.k8s.com" sends to "k8s.com" where that has the rules, and the other way round. */
function otherNames(hosts: readonly string[], { redirects }: IngressOptions): Rule[] {
  if (!redirects.fromToWww) return []
  const named = hosts.filter((host) => host !== "" && !host.startsWith("*"))
  return named.map((host) => ({
    ...everything(host.startsWith("www.") ? host.slice("www.".length) : `www.${host}`),
    target: { type: "redirect", redirect: { ...NOWHERE, host, status: 308 } },
    rank: "www",
  }))
}

function everything(host: string): Pick<Rule, "host" | "path" | "match" | "place"> {
  const place = placeOf(host, { path: "/", pathType: "Prefix" })
  return { host, path: "/", match: "prefix", place }
}

/** API of IngressSpec: "the controller may emit a warning". */
function classFindings({ meta, className }: Ingress): Finding[] {
  const named = meta.annotations[CLASS_ANNOTATION] || className
  if (className === undefined || named === className) return []
  const message = `${CLASS_ANNOTATION} says ${named} and ingressClassName ${className}`
  return [notice("ClassMismatch", `${message}; the annotation counts`)]
}

function isHost(host: string, findings: Finding[]): boolean {
  if (host === "" || (HOST.test(host) && host.length <= HOST_LENGTH_MAX)) return true
  const message = `${JSON.stringify(host)} is no host name; its rules are not served`
  findings.push(warning("InvalidHost", message))
  return false
}

const NOWHERE: RedirectConfig = {
  scheme: undefined,
  host: undefined,
  port: undefined,
  path: undefined,
  isLiteral: false,
  status: 302,
}

/** A wildcard is a whole first label. */
const HOST = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i
const HOST_LENGTH_MAX = 253
