/**
 * One request to the API server and its answer as a value; and watches, which are requests whose
 * answer does not end. Bun's `fetch` does TLS and HTTP/1.1.
 *
 * Every request has a connection of its own (`keepalive: false`). A kept one may be half open when
 * a master host died: each such connection would cost a request its whole time limit, just when the
 * Lease has to be renewed. An edge asks seldom enough that a handshake a request does not matter.
 *
 * Redirects are an error, so no token follows one. Compression is declined: the server is on the
 * same network, and a body's limit is in bytes that really came. HTTP_PROXY and its kin are deleted
 * from the environment by `commands/run.ts`; `fetch` has no option to ignore them.
 */
import { type ApiFailure, failureOfStatus } from "../api-failure.ts"
import type { ClusterAccess } from "../kubeconfig.ts"
import { WatchLines } from "../watch-lines.ts"
import type { Json } from "../writes.ts"
import { Credentials, type RequestCredentials } from "./credentials.ts"

export type Query = Readonly<Record<string, string>>

export type ApiResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly failure: ApiFailure }

export interface RequestOptions {
  readonly query?: Query
  /** To the end of the answer. Default: 5 s. */
  readonly timeoutMs?: number
  /** Of the answer. Default: 4 MiB. */
  readonly bytesMax?: number
  readonly signal?: AbortSignal
}

export interface WatchHandlers {
  /** The server took the request. */
  readonly onOpen: () => void
  /** Whole lines, as soon as their bytes are here; one call per chunk. */
  readonly onLines: (lines: readonly string[]) => void
}

export type PatchType = "merge" | "strategic" | "json" | "apply"

export class ApiClient {
  readonly #server: string
  readonly #credentials: Credentials

  constructor(access: ClusterAccess, credentials: Credentials = new Credentials(access)) {
    this.#server = access.server
    this.#credentials = credentials
  }

  /** "https://192.0.2.10:6443". */
  get server(): string {
    return this.#server
  }

  /** What is wrong with the files of the credentials, if anything. */
  credentialsProblem(): string | undefined {
    return this.#credentials.problem()
  }

  /** `path` begins with "/api" or "/apis", its parts encoded (`apiPath`). */
  async get(path: string, options: RequestOptions = {}): Promise<ApiResult> {
    return await this.#request({ method: "GET", path, body: undefined }, options)
  }

  async create(path: string, object: Json, options: RequestOptions = {}): Promise<ApiResult> {
    const body = { type: "application/json", text: JSON.stringify(object) }
    return await this.#request({ method: "POST", path, body }, options)
  }

  async update(path: string, object: Json, options: RequestOptions = {}): Promise<ApiResult> {
    const body = { type: "application/json", text: JSON.stringify(object) }
    return await this.#request({ method: "PUT", path, body }, options)
  }

  async patch(
    path: string,
    patch: Json,
    { type = "merge", ...options }: RequestOptions & { readonly type?: PatchType } = {},
  ): Promise<ApiResult> {
    const body = { type: PATCH_MEDIA_TYPES[type], text: JSON.stringify(patch) }
    return await this.#request({ method: "PATCH", path, body }, options)
  }

  /** With `uid`, only exactly that object: 409 when another has its name by now. */
  async delete(
    path: string,
    { uid, ...options }: RequestOptions & { readonly uid?: string } = {},
  ): Promise<ApiResult> {
    const preconditions = uid === undefined ? {} : { preconditions: { uid } }
    const text = JSON.stringify({ apiVersion: "v1", kind: "DeleteOptions", ...preconditions })
    const body = { type: "application/json", text }
    return await this.#request({ method: "DELETE", path, body }, options)
  }

  /**
   * Resolves when the watch has ended: undefined when the server ended it in order or `signal` was
   * aborted. Without a time limit of its own: the caller knows how long silence may last.
   */
  async watch(
    path: string,
    query: Query,
    { onOpen, onLines, signal }: WatchHandlers & { readonly signal: AbortSignal },
  ): Promise<ApiFailure | undefined> {
    try {
      const response = await this.#fetch(
        { method: "GET", path, body: undefined },
        { query, signal },
      )
      if (!(response instanceof Response)) return response
      if (response.status !== 200) return await failureOf(response, ERROR_BYTES_MAX)
      onOpen()
      return await readLines(response, onLines)
    } catch (error) {
      return signal.aborted ? undefined : connectionFailure(error)
    }
  }

  async #request(call: Call, options: RequestOptions): Promise<ApiResult> {
    const timeoutMs = options.timeoutMs ?? REQUEST_MS
    const limit = AbortSignal.timeout(timeoutMs)
    const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal])
    try {
      const response = await this.#fetch(call, { query: options.query ?? {}, signal })
      if (!(response instanceof Response)) return { ok: false, failure: response }
      if (!response.ok) return { ok: false, failure: await failureOf(response, ERROR_BYTES_MAX) }
      return await readJson(response, options.bytesMax ?? ANSWER_BYTES_MAX)
    } catch (error) {
      if (limit.aborted) return { ok: false, failure: { kind: "timeout", afterMs: timeoutMs } }
      return { ok: false, failure: connectionFailure(error) }
    }
  }

  /** Asks once more when the server does not take the credentials and the files hold others. */
  async #fetch(call: Call, options: FetchOptions): Promise<Response | ApiFailure> {
    const first = await this.#fetchOnce(call, options)
    if (!(first instanceof Response) || first.status !== 401) return first
    if (!(await this.#credentials.refresh())) return first
    await first.body?.cancel()
    return await this.#fetchOnce(call, options)
  }

  async #fetchOnce(call: Call, { query, signal }: FetchOptions): Promise<Response | ApiFailure> {
    const result = await this.#credentials.current()
    if (!result.ok) return { kind: "credentials", message: result.message }
    const init: BunFetchRequestInit & { timeout: false } = {
      method: call.method,
      headers: headersOf(call, result.credentials),
      ...(call.body === undefined ? {} : { body: call.body.text }),
      ...(this.#server.startsWith("https:") ? { tls: result.credentials.tls } : {}),
      redirect: "manual",
      keepalive: false,
      // Bun's own limit of five minutes without a byte would cut a quiet watch.
      timeout: false,
      signal,
    }
    const search = new URLSearchParams(query).toString()
    return await fetch(`${this.#server}${call.path}${search === "" ? "" : `?${search}`}`, init)
  }
}

/** "/api/v1/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE": what is "" is left out. */
export function apiPath(parts: {
  /** "v1" or "networking.k8s.io/v1". */
  readonly groupVersion: string
  readonly resource: string
  readonly namespace?: string
  readonly name?: string
  readonly subresource?: string
}): string {
  const root = parts.groupVersion.includes("/") ? "/apis" : "/api"
  const namespace = parts.namespace ? ["namespaces", parts.namespace] : []
  const rest = [...namespace, parts.resource, parts.name ?? "", parts.subresource ?? ""]
  const encoded = rest.filter((part) => part !== "").map(encodeURIComponent)
  return [root, parts.groupVersion, ...encoded].join("/")
}

interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  readonly path: string
  readonly body: { readonly type: string; readonly text: string } | undefined
}

interface FetchOptions {
  readonly query: Query
  readonly signal: AbortSignal
}

function headersOf(call: Call, { token }: RequestCredentials): Record<string, string> {
  return {
    Accept: "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "causeway",
    ...(token === "" ? {} : { Authorization: `Bearer ${token}` }),
    ...(call.body === undefined ? {} : { "Content-Type": call.body.type }),
  }
}

async function readLines(
  response: Response,
  onLines: (lines: readonly string[]) => void,
): Promise<ApiFailure | undefined> {
  const splitter = new WatchLines()
  for await (const chunk of response.body ?? []) {
    const result = splitter.push(chunk)
    if (!result.ok) {
      return { kind: "answer", reason: "line_too_long", message: "A watch event is too large" }
    }
    if (result.lines.length > 0) onLines(result.lines)
  }
  if (splitter.pendingBytes === 0) return undefined
  return { kind: "connection", reason: "ECONNRESET", message: "The watch ended within an event" }
}

async function readJson(response: Response, bytesMax: number): Promise<ApiResult> {
  const text = await readText(response, bytesMax)
  if (text === undefined) return { ok: false, failure: tooLarge(bytesMax) }
  try {
    return { ok: true, value: JSON.parse(text) }
  } catch {
    const type = response.headers.get("content-type") ?? "no media type"
    const message = `The answer is not JSON (${type}): is this an API server?`
    return { ok: false, failure: { kind: "answer", reason: "not_json", message } }
  }
}

/** From the Status object in the body where there is one. */
async function failureOf(response: Response, bytesMax: number): Promise<ApiFailure> {
  const text = (await readText(response, bytesMax)) ?? ""
  let status: unknown
  try {
    status = JSON.parse(text)
  } catch {
    status = { reason: response.statusText, message: text.trim() }
  }
  const retryAfter = response.headers.get("retry-after") ?? ""
  return failureOfStatus(status, { code: response.status, retryAfter })
}

/** Undefined: more than `bytesMax`. Leaving the loop cancels the rest. */
async function readText(response: Response, bytesMax: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > bytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

function tooLarge(bytesMax: number): ApiFailure {
  const message = `The answer is larger than ${bytesMax / 1024 / 1024} MiB`
  return { kind: "answer", reason: "too_large", message }
}

/** Bun's errors carry an errno's name or OpenSSL's; what they say beyond it is about `fetch`. */
function connectionFailure(error: unknown): ApiFailure {
  const code = (error as { code?: unknown } | undefined)?.code
  const reason = typeof code === "string" ? code : error instanceof Error ? error.name : "unknown"
  return { kind: "connection", reason, message: MEANINGS[reason] ?? "" }
}

/** What to do about the ones that a wrong configuration causes. */
const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "the server's name is not known",
  SELF_SIGNED_CERT_IN_CHAIN: "the server's certificate is not by an authority of ours (ca_file)",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "the server's certificate is not by an authority of ours (ca_file)",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "the server's certificate is not by an authority of ours (ca_file)",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the server's certificate is self-signed (ca_file)",
  CERT_HAS_EXPIRED: "the server's certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "the server's certificate is for other names (tls-server-name, or another address in server)",
}

const PATCH_MEDIA_TYPES: Readonly<Record<PatchType, string>> = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
  apply: "application/apply-patch+yaml",
}

const REQUEST_MS = 5000
const ANSWER_BYTES_MAX = 4 * 1024 * 1024
const ERROR_BYTES_MAX = 64 * 1024
