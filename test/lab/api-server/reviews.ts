/** "May I?": SelfSubjectAccessReview and SelfSubjectRulesReview (authorization.k8s.io/v1). */
import type { Authorizer } from "./authorization.ts"
import type { User } from "./identity.ts"
import { at, isRecord, type JsonObject, recordAt, textAt } from "./object.ts"
import type { RequestInfo } from "./request-info.ts"
import { badRequest, invalid, invalidValue } from "./status.ts"

/** The review with its status filled in. Throws 400, 422. */
export function reviewed(
  plural: string,
  body: unknown,
  user: User,
  authorizer: Authorizer,
): JsonObject | undefined {
  if (!isRecord(body)) throw badRequest("the object provided is unrecognized")
  const head = { ...body, metadata: { creationTimestamp: null } }
  if (plural === "selfsubjectaccessreviews") {
    const { isAllowed, reason } = authorizer.decide(user, askedFor(body))
    const status = { allowed: isAllowed, ...(reason === "" ? {} : { reason }) }
    return { ...head, status }
  }
  if (plural === "selfsubjectrulesreviews") {
    return { ...head, status: rules(textAt(body, "spec", "namespace"), user, authorizer) }
  }
  return undefined
}

function askedFor(body: JsonObject): RequestInfo {
  const spec = recordAt(body, "spec")
  const attributes = recordAt(spec, "resourceAttributes")
  const path = recordAt(spec, "nonResourceAttributes")
  if (
    at(spec, "resourceAttributes") === undefined &&
    at(spec, "nonResourceAttributes") === undefined
  ) {
    const detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    const error = invalidValue("spec.resourceAttributes", null, detail)
    const kind = { group: "authorization.k8s.io", kind: "SelfSubjectAccessReview" }
    throw invalid(kind, "", [error])
  }
  if (at(spec, "resourceAttributes") === undefined) {
    return { verb: textAt(path, "verb"), path: textAt(path, "path"), target: undefined }
  }
  const field = (name: string) => textAt(attributes, name)
  return {
    verb: field("verb"),
    path: "",
    target: {
      group: field("group"),
      version: field("version"),
      namespace: field("namespace"),
      plural: field("resource"),
      subresource: field("subresource"),
      name: field("name"),
    },
  }
}

function rules(namespace: string, user: User, authorizer: Authorizer): object {
  const all = authorizer.rulesOf(user, namespace)
  return {
    resourceRules: all
      .filter(({ resources }) => resources.length > 0)
      .map(({ verbs, apiGroups, resources, resourceNames }) => ({
        verbs,
        apiGroups,
        resources,
        ...(resourceNames.length === 0 ? {} : { resourceNames }),
      })),
    nonResourceRules: all
      .filter(({ nonResourceURLs }) => nonResourceURLs.length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: false,
  }
}
