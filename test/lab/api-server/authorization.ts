/**
 * RBAC from the Role and binding objects in the store (kubernetes/plugin/pkg/auth/authorizer/rbac):
 * a request is allowed when any rule bound to the user, or to one of their groups, allows it. There
 * are no denials. `system:masters` may do everything.
 */
import type { User } from "./identity.ts"
import { at, type JsonObject, recordsAt, textAt, textsAt } from "./object.ts"
import type { RequestInfo, Target } from "./request-info.ts"
import type { Resource } from "./resources.ts"
import { type ApiError, forbidden } from "./status.ts"
import type { Store } from "./store.ts"

export interface Decision {
  readonly isAllowed: boolean
  /** As the real server words it; "" for a plain no. */
  readonly reason: string
}

export interface Rule {
  readonly verbs: readonly string[]
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames: readonly string[]
  readonly nonResourceURLs: readonly string[]
}

export interface RbacResources {
  readonly roles: Resource
  readonly clusterRoles: Resource
  readonly roleBindings: Resource
  readonly clusterRoleBindings: Resource
}

export class Authorizer {
  readonly #store: Store
  readonly #resources: RbacResources

  constructor(store: Store, resources: RbacResources) {
    this.#store = store
    this.#resources = resources
  }

  decide(user: User, { verb, path, target }: RequestInfo): Decision {
    if (user.groups.includes("system:masters")) return { isAllowed: true, reason: "" }
    const problems: string[] = []
    for (const { rule, source } of this.#boundRules(user, target?.namespace ?? "", problems)) {
      const isMatch =
        target === undefined ? allowsPath(rule, verb, path) : allowsTarget(rule, verb, target)
      if (isMatch) return { isAllowed: true, reason: `RBAC: allowed by ${source}` }
    }
    return { isAllowed: false, reason: problems.length === 0 ? "" : `RBAC: ${problems.join(", ")}` }
  }

  /** The user's rules in one namespace, for SelfSubjectRulesReview. */
  rulesOf(user: User, namespace: string): Rule[] {
    return [...this.#boundRules(user, namespace, [])].map(({ rule }) => rule)
  }

  *#boundRules(user: User, namespace: string, problems: string[]): Generator<BoundRule> {
    const { clusterRoleBindings, roleBindings } = this.#resources
    for (const { object } of this.#store.list(clusterRoleBindings)) {
      const subject = subjectOf(object, user, "")
      if (subject === undefined) continue
      const { name } = object.metadata
      const source = `ClusterRoleBinding "${name}" of ${roleText(object)} to ${subject}`
      for (const rule of this.#rulesOf(object, "", problems)) yield { rule, source }
    }
    if (namespace === "") return
    for (const { object } of this.#store.list(roleBindings)) {
      if (object.metadata.namespace !== namespace) continue
      const subject = subjectOf(object, user, namespace)
      if (subject === undefined) continue
      const name = `${object.metadata.name}/${namespace}`
      const source = `RoleBinding "${name}" of ${roleText(object)} to ${subject}`
      for (const rule of this.#rulesOf(object, namespace, problems)) yield { rule, source }
    }
  }

  #rulesOf(binding: object, namespace: string, problems: string[]): Rule[] {
    const name = textAt(binding, "roleRef", "name")
    const isCluster = textAt(binding, "roleRef", "kind") === "ClusterRole"
    const resource = isCluster ? this.#resources.clusterRoles : this.#resources.roles
    const role = this.#store.get(resource, isCluster ? name : `${namespace}/${name}`)
    if (role === undefined) {
      const kind = isCluster ? "clusterrole" : "role"
      problems.push(`${kind}.rbac.authorization.k8s.io "${name}" not found`)
    }
    return recordsAt(role?.object, "rules").map(ruleOf)
  }
}

/** The 403 of a request. */
export function forbiddenRequest(user: User, info: RequestInfo, reason: string): ApiError {
  const { verb, path, target } = info
  const because = reason === "" ? "" : `: ${reason}`
  if (target === undefined) {
    const why = `User "${user.name}" cannot ${verb} path "${path}"${because}`
    return forbidden({ group: "", plural: "" }, "", why)
  }
  const { group, plural, subresource, namespace, name } = target
  const resource = subresource === "" ? plural : `${plural}/${subresource}`
  const where = namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`
  const what = `resource "${resource}" in API group "${group}" ${where}`
  const why = `User "${user.name}" cannot ${verb} ${what}${because}`
  return forbidden({ group, plural }, name, why)
}

interface BoundRule {
  readonly rule: Rule
  readonly source: string
}

function allowsTarget(rule: Rule, verb: string, target: Target): boolean {
  return (
    includes(rule.verbs, verb) &&
    includes(rule.apiGroups, target.group) &&
    rule.resources.some((resource) => matchesResource(resource, target)) &&
    (rule.resourceNames.length === 0 || rule.resourceNames.includes(target.name))
  )
}

function matchesResource(resource: string, { plural, subresource }: Target): boolean {
  if (resource === "*") return true
  if (subresource === "") return resource === plural
  return resource === `${plural}/${subresource}` || resource === `*/${subresource}`
}

function allowsPath(rule: Rule, verb: string, path: string): boolean {
  const isPath = rule.nonResourceURLs.some((pattern) =>
    pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern,
  )
  return isPath && includes(rule.verbs, verb)
}

function includes(list: readonly string[], value: string): boolean {
  return list.includes("*") || list.includes(value)
}

/** How the binding names this user; undefined: it does not. */
function subjectOf(binding: object, user: User, namespace: string): string | undefined {
  for (const subject of recordsAt(binding, "subjects")) {
    const name = textAt(subject, "name")
    const home = textAt(subject, "namespace") || namespace
    const kind = textAt(subject, "kind")
    if (kind === "User" && (name === user.name || name === "*")) return `User "${name}"`
    if (kind === "Group" && user.groups.includes(name)) return `Group "${name}"`
    if (kind === "ServiceAccount" && user.name === `system:serviceaccount:${home}:${name}`) {
      return `ServiceAccount "${name}/${home}"`
    }
  }
  return undefined
}

function roleText(binding: object): string {
  return `${textAt(binding, "roleRef", "kind")} "${textAt(binding, "roleRef", "name")}"`
}

/** An item of `rules` in a role. */
export function ruleOf(rule: JsonObject): Rule {
  const texts = (field: string) => (at(rule, field) === undefined ? [] : textsAt(rule, field))
  return {
    verbs: texts("verbs"),
    apiGroups: texts("apiGroups"),
    resources: texts("resources"),
    resourceNames: texts("resourceNames"),
    nonResourceURLs: texts("nonResourceURLs"),
  }
}
