/**
 * Asks the API whether we may do what we need (authorization.k8s.io/v1, SelfSubjectAccessReview),
 * which every user who is known at all may ask.
 *
 * The answers are those of the authorizer and not guesses from roles, so a cluster with another
 * authorizer than RBAC is asked just as well.
 */
import type { AccessRule } from "../access-rules.ts"
import type { ApiFailure } from "../api-failure.ts"
import type { ApiClient } from "./api-client.ts"

export type AccessReviewResult =
  | { readonly ok: true; readonly report: AccessReport }
  | { readonly ok: false; readonly failure: ApiFailure }

export interface AccessReport {
  /** "v1.32.1". */
  readonly version: string
  /** "system:serviceaccount:kube-system:causeway"; "": the server does not say (before 1.28). */
  readonly user: string
  /** Rules with those of their verbs that are not allowed. */
  readonly denied: readonly AccessRule[]
  /** Groups of add-ons that the cluster does not have. */
  readonly absent: readonly string[]
}

export async function reviewAccess(
  client: ApiClient,
  rules: readonly AccessRule[],
): Promise<AccessReviewResult> {
  const version = await client.get("/version")
  if (!version.ok) return version
  const user = await whoAmI(client)
  const absent = await absentGroups(client, rules)
  const asked = rules.filter(({ group }) => !absent.includes(group))
  const questions = asked.flatMap((rule) => rule.verbs.map((verb) => ({ rule, verb })))
  const denied: typeof questions = []
  for (let start = 0; start < questions.length; start += CONCURRENT_MAX) {
    const batch = questions.slice(start, start + CONCURRENT_MAX)
    const answers = await Promise.all(batch.map((question) => isAllowed(client, question)))
    for (const [index, answer] of answers.entries()) {
      if (!answer.ok) return answer
      const question = batch[index]
      if (question !== undefined && !answer.isAllowed) denied.push(question)
    }
  }
  const versionText = textAt(version.value, "gitVersion")
  return { ok: true, report: { version: versionText, user, denied: byRule(denied), absent } }
}

type Question = { readonly rule: AccessRule; readonly verb: string }

async function isAllowed(
  client: ApiClient,
  { rule, verb }: Question,
): Promise<
  { readonly ok: true; readonly isAllowed: boolean } | { ok: false; failure: ApiFailure }
> {
  const { group, resource, subresource, namespace, name } = rule
  const answer = await client.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { group, resource, subresource, namespace, name, verb } },
  })
  if (!answer.ok) return answer
  const status = fieldAt(answer.value, "status")
  return { ok: true, isAllowed: fieldAt(status, "allowed") === true }
}

/** authentication.k8s.io/v1, SelfSubjectReview: what `kubectl auth whoami` asks. */
async function whoAmI(client: ApiClient): Promise<string> {
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" }
  const answer = await client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
  if (!answer.ok) return ""
  return textAt(fieldAt(fieldAt(answer.value, "status"), "userInfo"), "username")
}

async function absentGroups(
  client: ApiClient,
  rules: readonly AccessRule[],
): Promise<readonly string[]> {
  const optional = new Set(rules.filter((rule) => rule.isOptional).map(({ group }) => group))
  const answers = await Promise.all(
    [...optional].map(async (group) => ({ group, answer: await client.get(`/apis/${group}`) })),
  )
  return answers.flatMap(({ group, answer }) => {
    const isAbsent = !answer.ok && answer.failure.kind === "status" && answer.failure.code === 404
    return isAbsent ? [group] : []
  })
}

function byRule(questions: readonly Question[]): AccessRule[] {
  const grouped = Map.groupBy(questions, ({ rule }) => rule)
  return [...grouped].map(([rule, asked]) => ({ ...rule, verbs: asked.map(({ verb }) => verb) }))
}

function fieldAt(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
}

function textAt(value: unknown, key: string): string {
  const text = fieldAt(value, key)
  return typeof text === "string" ? text : ""
}

/** Each is a connection of its own. */
const CONCURRENT_MAX = 8
