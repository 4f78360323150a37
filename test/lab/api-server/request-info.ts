/**
 * What a request is about, read from method and path alone, as authorization sees it: before anyone
 * looks whether such a resource exists (apiserver/pkg/endpoints/request/requestinfo.go).
 */
import { selectedName } from "./selectors.ts"

export interface RequestInfo {
  readonly verb: string
  readonly path: string
  /** undefined: not about a resource (/version, /apis, …). */
  readonly target: Target | undefined
}

export interface Target {
  readonly group: string
  readonly version: string
  /** "" = across all namespaces, or cluster-wide. */
  readonly namespace: string
  readonly plural: string
  readonly subresource: string
  /** "" = the collection. */
  readonly name: string
}

export function requestInfo(method: string, path: string, query: URLSearchParams): RequestInfo {
  const target = targetOf(path)
  if (target === undefined) return { verb: method.toLowerCase(), path, target: undefined }
  const isWatch = ["true", "1", ""].includes(query.get("watch") ?? "no")
  const verb = verbOf(method, target.name !== "", isWatch)
  // A list or watch of one object by its field is authorized as that object.
  const isCollection = ["list", "watch", "deletecollection"].includes(verb)
  const selected = isCollection ? selectedName(query.get("fieldSelector") ?? "") : undefined
  const name = target.name === "" ? (selected ?? "") : target.name
  return { verb, path, target: { ...target, name } }
}

function targetOf(path: string): Target | undefined {
  const parts = path.split("/").filter((part) => part !== "")
  const [root, ...rest] = parts
  if (root === "api" && rest.length >= 2) return targetIn("", rest[0] ?? "", rest.slice(1))
  if (root === "apis" && rest.length >= 3) {
    return targetIn(rest[0] ?? "", rest[1] ?? "", rest.slice(2))
  }
  return undefined
}

function targetIn(group: string, version: string, parts: readonly string[]): Target {
  const isInside = parts[0] === "namespaces" && parts.length > 2 && !isSubresource(parts)
  const namespace = isInside || parts[0] === "namespaces" ? (parts[1] ?? "") : ""
  const [plural = "", name = "", subresource = ""] = isInside ? parts.slice(2) : parts
  return { group, version, namespace, plural, subresource, name }
}

/** `/namespaces/NAME/status` is a part of the namespace itself. */
function isSubresource(parts: readonly string[]): boolean {
  return parts.length === 3 && ["status", "finalize"].includes(parts[2] ?? "")
}

function verbOf(method: string, hasName: boolean, isWatch: boolean): string {
  switch (method) {
    case "POST":
      return "create"
    case "PUT":
      return "update"
    case "PATCH":
      return "patch"
    case "DELETE":
      return hasName ? "delete" : "deletecollection"
    default:
      if (isWatch) return "watch"
      return hasName ? "get" : "list"
  }
}
