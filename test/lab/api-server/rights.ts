/**
 * Are all rights that a user was given made use of? A role is the least that does only if nothing
 * can be taken from it, and only a run of everything shows that.
 */

import type { ApiServer } from "./api-server.ts"
import { type Rule, ruleOf } from "./authorization.ts"
import { type ApiObject, recordsAt, textAt } from "./object.ts"
import type { UsedRight } from "./request-log.ts"

/** "verb group/resource/subresource name" of each right in the roles that was never used. */
export async function unusedRights(
  api: ApiServer,
  user: string,
  roles: readonly ApiObject[],
): Promise<string[]> {
  const used = await api.usage(user)
  const granted = roles.flatMap((role) =>
    recordsAt(role, "rules").flatMap((rule) => rightsOf(ruleOf(rule), role)),
  )
  return granted
    .filter((right) => !used.some((each) => isUseOf(each, right)))
    .map(({ verb, group, resource, name }) =>
      [verb, [group, resource].filter((word) => word !== "").join("/"), name].join(" ").trim(),
    )
}

interface Right {
  readonly verb: string
  readonly group: string
  /** "services" or "services/status". */
  readonly resource: string
  /** "" = any. */
  readonly name: string
  /** "" = any: a ClusterRole's. */
  readonly namespace: string
}

function rightsOf(rule: Rule, role: ApiObject): Right[] {
  const namespace = textAt(role, "metadata", "namespace")
  const names = rule.resourceNames.length === 0 ? [""] : rule.resourceNames
  return rule.verbs.flatMap((verb) =>
    rule.apiGroups.flatMap((group) =>
      rule.resources.flatMap((resource) =>
        names.map((name) => ({ verb, group, resource, name, namespace })),
      ),
    ),
  )
}

function isUseOf(used: UsedRight, right: Right): boolean {
  const { verb, group, resource, subresource, name, namespace } = used
  const path = subresource === "" ? resource : `${resource}/${subresource}`
  return (
    verb === right.verb &&
    group === right.group &&
    path === right.resource &&
    (right.name === "" || right.name === name) &&
    (right.namespace === "" || right.namespace === namespace)
  )
}
