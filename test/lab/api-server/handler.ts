/**
 * From a request to its answer, in the server's order: who is it, may they, is there such a thing,
 * and only then what is asked. So somebody without rights gets 403 also for what does not exist.
 */
import { type Authorizer, forbiddenRequest } from "./authorization.ts"
import { discovery, isServed } from "./discovery.ts"
import type { Faults } from "./faults.ts"
import type { Answer, Fields, Request } from "./http.ts"
import type { Identities, User } from "./identity.ts"
import { listOptions, parsedVersion } from "./list-options.ts"
import { type ListScope, listText } from "./lister.ts"
import { textAt } from "./object.ts"
import { PATCH_TYPES } from "./patch.ts"
import type { Place, Registry, WriteOptions } from "./registry.ts"
import { requestInfo, type Target } from "./request-info.ts"
import type { RequestLog } from "./request-log.ts"
import type { Resource } from "./resources.ts"
import { reviewed } from "./reviews.ts"
import {
  ApiError,
  badRequest,
  methodNotAllowed,
  noSuchResource,
  notAcceptable,
  tooLargeResourceVersion,
  unsupportedMediaType,
} from "./status.ts"
import { fullText, type Store, type Stored } from "./store.ts"
import type { WatchHub } from "./watcher.ts"

export interface HandlerSettings {
  hasWatchList: boolean
  /** How long a request for a version from the future waits. */
  freshnessTimeoutMs: number
  isReady: boolean
}

export interface HandlerParts {
  readonly store: Store
  readonly registry: Registry
  readonly watches: WatchHub
  readonly identities: Identities
  readonly authorizer: Authorizer
  readonly faults: Faults
  readonly log: RequestLog
  readonly settings: HandlerSettings
  readonly resources: () => readonly Resource[]
}

export class Handler {
  readonly #parts: HandlerParts

  constructor(parts: HandlerParts) {
    this.#parts = parts
  }

  handle(request: Request, answer: Answer): void {
    const info = requestInfo(request.method, request.path, request.query)
    const exchange = new Exchange(this.#parts, request, answer)
    const refused = this.#parts.faults.pass(info.verb, answer, () => exchange.run())
    if (refused !== undefined) exchange.log(refused, "")
  }
}

class Exchange {
  readonly #parts: HandlerParts
  readonly #request: Request
  readonly #answer: Answer
  readonly #warnings: string[] = []
  #user: User = { name: "", groups: [] }

  constructor(parts: HandlerParts, request: Request, answer: Answer) {
    this.#parts = parts
    this.#request = request
    this.#answer = answer
  }

  run(): void {
    try {
      this.#run()
    } catch (error) {
      if (error instanceof ApiError) this.#refuse(error)
      else this.#refuse(internalError(error))
    }
  }

  log(status: number, user: string): void {
    const { method, path, query, headers } = this.#request
    const { verb, target } = requestInfo(method, path, query)
    this.#parts.log.add({
      atMs: Date.now(),
      method,
      path,
      query: query.toString(),
      user,
      verb,
      group: target?.group ?? "",
      resource: target?.plural ?? "",
      subresource: target?.subresource ?? "",
      namespace: target?.namespace ?? "",
      name: target?.name ?? "",
      status,
      userAgent: headers.get("user-agent") ?? "",
      warnings: this.#warnings,
    })
  }

  #run(): void {
    const { identities, authorizer, log } = this.#parts
    const { method, path, query } = this.#request
    const user = identities.authenticate(this.#request)
    this.#user = user
    const info = requestInfo(method, path, query)
    const { isAllowed, reason } = authorizer.decide(user, info)
    if (!isAllowed) throw forbiddenRequest(user, info, reason)
    if (info.target === undefined) return this.#answerPath(path)
    log.use(user.name, info.verb, info.target)
    this.#answerResource(info.verb, info.target)
  }

  #answerPath(path: string): void {
    if (HEALTH_PATHS.includes(path)) return this.#answerHealth(path)
    const found = discovery(path, this.#parts.resources())
    if (found === undefined) return this.#notThere()
    this.#send(200, `${JSON.stringify(found)}\n`)
  }

  #answerHealth(path: string): void {
    const { isReady } = this.#parts.settings
    const isWell = isReady || path === "/livez"
    const text = isWell ? "ok" : "[-]etcd failed: reason withheld\nreadyz check failed\n"
    this.#send(isWell ? 200 : 500, text, { "Content-Type": "text/plain; charset=utf-8" })
  }

  /** No such group and version: an answer from below everything that speaks of objects. */
  #notThere(): void {
    const fields = {
      "Content-Type": "text/plain; charset=utf-8",
      "X-Content-Type-Options": "nosniff",
    }
    this.#send(404, "404 page not found\n", fields)
  }

  #answerResource(verb: string, target: Target): void {
    const { resources, authorizer } = this.#parts
    if (!isServed(resources(), target.group, target.version)) return this.#notThere()
    if (target.group === "authorization.k8s.io") {
      const review = reviewed(target.plural, this.#body(), this.#user, authorizer)
      if (review === undefined) throw noSuchResource()
      return this.#send(201, `${JSON.stringify(review)}\n`)
    }
    const place = this.#placeOf(target)
    if (!this.#acceptsJson()) throw notAcceptable()
    switch (verb) {
      case "list":
      case "watch":
        return this.#answerCollection(scopeOf(place, target), verb)
      case "get":
        return this.#answerGet(place)
      default:
        return this.#answerWrite(verb, place)
    }
  }

  #placeOf({ group, version, plural, namespace, name, subresource }: Target): Place {
    const resource = this.#parts
      .resources()
      .find((each) => each.plural === plural && each.group === group && each.version === version)
    const isKnown = subresource === "" || (subresource === "status" && resource?.hasStatus === true)
    // A namespaced kind's path names the namespace, but for reading all; a cluster's never does.
    const isNamespaces = resource?.kind === "Namespace"
    if (resource === undefined || !isKnown) {
      const isCustom = this.#parts.resources().some((each) => each.group === group && each.isCustom)
      throw isCustom && group.includes(".") ? pageNotFound() : noSuchResource()
    }
    if (!resource.isNamespaced && namespace !== "" && !isNamespaces) throw noSuchResource()
    return { resource, namespace: resource.isNamespaced ? namespace : "", name, subresource }
  }

  #answerCollection(scope: ListScope, verb: "list" | "watch"): void {
    const { store, watches, settings } = this.#parts
    const options = listOptions(this.#request.query, scope.resource, settings.hasWatchList)
    const wanted = parsedVersion(options.resourceVersion)
    const mustBeFresh = verb === "list" || options.sendInitialEvents === true
    const proceed = () => {
      if (verb === "watch") {
        watches.serve(scope, options, this.#answer)
        this.log(200, this.#user.name)
      } else this.#send(200, listText(store, scope, options))
    }
    if (mustBeFresh && wanted > store.revision) this.#later(wanted, proceed)
    else proceed()
  }

  /** Waits for a revision that is not there yet, as long as the server would. */
  #later(wanted: number, proceed: () => void): void {
    const { store, settings } = this.#parts
    const giveUpAt = performance.now() + settings.freshnessTimeoutMs
    const timer = setInterval(() => {
      const isFresh = store.revision >= wanted
      if (!isFresh && performance.now() < giveUpAt) return
      clearInterval(timer)
      try {
        proceed()
      } catch (error) {
        this.#refuse(error instanceof ApiError ? error : internalError(error))
      }
    }, FRESHNESS_POLL_MS)
  }

  #answerGet(place: Place): void {
    const { registry, store } = this.#parts
    const wanted = parsedVersion(this.#request.query.get("resourceVersion") ?? "")
    if (wanted > store.revision) throw tooLargeResourceVersion(wanted, store.revision)
    this.#sendObject(200, registry.get(place))
  }

  #answerWrite(verb: string, place: Place): void {
    const { registry } = this.#parts
    const options = this.#writeOptions()
    const body = this.#body()
    if (verb === "create") {
      if (place.name !== "") throw methodNotAllowed()
      const named = { ...place, name: textAt(body, "metadata", "name") }
      return this.#sendObject(201, registry.create(named, body, options).stored)
    }
    if (verb === "deletecollection") return this.#deleteCollection(place)
    if (place.name === "") throw methodNotAllowed()
    if (verb === "delete") return this.#delete(place, body)
    const { stored, isCreated } =
      verb === "patch"
        ? registry.patch(place, this.#patchType(place.resource), body, options)
        : registry.update(place, body, options)
    this.#sendObject(isCreated ? 201 : 200, stored)
  }

  #delete(place: Place, body: unknown): void {
    const { registry } = this.#parts
    const uid = textAt(body, "preconditions", "uid")
    const resourceVersion = textAt(body, "preconditions", "resourceVersion")
    const { stored, isGone } = registry.delete(place, {
      ...(uid === "" ? {} : { uid }),
      ...(resourceVersion === "" ? {} : { resourceVersion }),
    })
    const { group, plural, kind } = place.resource
    // What waits for its finalizers is answered as an object, and some kinds always are.
    if (!isGone || DELETED_ANSWERED.includes(kind)) return this.#sendObject(200, stored)
    const details = {
      name: place.name,
      ...(group === "" ? {} : { group }),
      kind: plural,
      uid: stored.object.metadata.uid,
    }
    const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details }
    this.#send(200, `${JSON.stringify(status)}\n`)
  }

  #deleteCollection(place: Place): void {
    const { registry, store, settings } = this.#parts
    const options = listOptions(this.#request.query, place.resource, settings.hasWatchList)
    const text = listText(store, scopeOf(place, place), options)
    const list = JSON.parse(text) as { items: { metadata: { namespace?: string; name: string } }[] }
    for (const { metadata } of list.items) {
      registry.delete({ ...place, namespace: metadata.namespace ?? "", name: metadata.name })
    }
    this.#send(200, text)
  }

  #patchType(resource: Resource): string {
    const type = this.#contentType()
    const { json, merge, strategic } = PATCH_TYPES
    const accepted = resource.isCustom ? [json, merge] : [json, merge, strategic]
    if (accepted.some((each) => each === type)) return type
    throw unsupportedMediaType([...accepted, "application/apply-patch+yaml"])
  }

  #writeOptions(): WriteOptions {
    const { query, headers } = this.#request
    const agent = (headers.get("user-agent") ?? "unknown").split("/")[0] ?? "unknown"
    return {
      manager: query.get("fieldManager") ?? agent,
      isDryRun: query.get("dryRun") === "All",
      isStrict: query.get("fieldValidation") === "Strict",
      onWarning: (text) => this.#warnings.push(text),
    }
  }

  #body(): unknown {
    const { body, method } = this.#request
    if (body === "") return undefined
    const type = this.#contentType()
    const isJson = type === "" || type === "application/json" || method === "PATCH"
    if (!isJson && type !== "application/yaml") {
      throw unsupportedMediaType(["application/json", "application/yaml"])
    }
    try {
      return isJson ? JSON.parse(body) : Bun.YAML.parse(body)
    } catch {
      throw badRequest("couldn't get version/kind; json parse error: invalid character")
    }
  }

  #contentType(): string {
    const type = this.#request.headers.get("content-type") ?? ""
    return (type.split(";")[0] ?? "").trim().toLowerCase()
  }

  #acceptsJson(): boolean {
    const accept = this.#request.headers.get("accept") ?? "*/*"
    return /application\/(json|\*)|\*\/\*/.test(accept)
  }

  #sendObject(status: number, { bare }: Stored): void {
    const { method, path, query } = this.#request
    const { target } = requestInfo(method, path, query)
    const { group, version, plural } = target ?? { group: "", version: "", plural: "" }
    const resource = this.#parts
      .resources()
      .find((each) => each.group === group && each.version === version && each.plural === plural)
    if (resource !== undefined) this.#send(status, `${fullText(resource, bare)}\n`)
  }

  #refuse(error: ApiError): void {
    if (error.reason === "PageNotFound") return this.#notThere()
    const retryAfter = error.details?.retryAfterSeconds
    const fields = {
      ...JSON_FIELDS,
      ...(retryAfter === undefined ? {} : { "Retry-After": String(retryAfter) }),
    }
    this.#send(error.code, `${JSON.stringify(error.body())}\n`, fields)
  }

  #send(status: number, text: string, fields: Fields = JSON_FIELDS): void {
    this.log(status, this.#user.name)
    const audit = {
      "Audit-Id": crypto.randomUUID(),
      "Cache-Control": "no-cache, private",
      ...warningFields(this.#warnings),
    }
    const acceptsGzip = /\bgzip\b/.test(this.#request.headers.get("accept-encoding") ?? "")
    // As the real server does from 128 KiB on, at the quickest level.
    if (text.length > GZIP_BYTES_MIN && acceptsGzip) {
      const packed = Bun.gzipSync(Buffer.from(text), { level: 1 })
      const encoding = { "Content-Encoding": "gzip", Vary: "Accept-Encoding" }
      this.#answer.send(status, { ...audit, ...fields, ...encoding }, packed)
    } else this.#answer.send(status, { ...audit, ...fields }, text)
  }
}

/** A list or watch of one name is of the collection, narrowed. */
function scopeOf({ resource, namespace }: Place, { name }: { readonly name: string }): ListScope {
  return { resource, namespace, name }
}

/** RFC 7234 §5.5; one field with all of them, as HTTP allows. */
function warningFields(warnings: readonly string[]): Fields {
  if (warnings.length === 0) return {}
  return { Warning: warnings.map((text) => `299 - ${JSON.stringify(text)}`).join(", ") }
}

/** Within the group of a custom resource, what is not there is unknown to the server as a whole. */
function pageNotFound(): ApiError {
  return new ApiError(404, "PageNotFound", "404 page not found")
}

function internalError(error: unknown): ApiError {
  const message = error instanceof Error ? error.message : String(error)
  const details = { causes: [{ message }] }
  return new ApiError(500, "InternalError", `Internal error occurred: ${message}`, details)
}

const JSON_FIELDS = { "Content-Type": "application/json" }
const HEALTH_PATHS = ["/livez", "/readyz", "/healthz"]
/** Kinds whose registry returns what was deleted. */
const DELETED_ANSWERED = ["Service", "Pod", "ServiceAccount"]
const GZIP_BYTES_MIN = 128 * 1024
const FRESHNESS_POLL_MS = 20
