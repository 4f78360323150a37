/**
 * A bare client to ask the API server as any program would, over the wire: for tests of the server
 * itself, and for a look from outside in others.
 */
import type { ApiServer } from "./api-server.ts"
import type { ApiObject } from "./object.ts"

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** undefined: it was no JSON. */
  readonly body: unknown
}

export interface CallOptions {
  /** An object is sent as JSON, a text as it is. */
  readonly body?: object | string
  /** Default: JSON, and a merge patch for PATCH. */
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR"
  readonly object: ApiObject & { readonly code?: number; readonly message?: string }
}

export class ApiClient {
  readonly #url: string
  readonly #tls: Readonly<Record<string, string>>
  readonly #token: string

  constructor(
    { url, caPem }: Pick<ApiServer, "url" | "caPem">,
    token: string,
    pair: { readonly cert?: string; readonly key?: string } = {},
  ) {
    this.#url = url
    this.#tls = { ca: caPem, ...pair }
    this.#token = token
  }

  async call(method: string, path: string, options: CallOptions = {}): Promise<Reply> {
    const response = await this.#fetch(method, path, options)
    const text = await response.text()
    const isJson = response.headers.get("content-type") === "application/json"
    const body: unknown = isJson ? JSON.parse(text) : undefined
    return { status: response.status, headers: response.headers, text, body }
  }

  get(path: string): Promise<Reply> {
    return this.call("GET", path)
  }

  post(path: string, body: object): Promise<Reply> {
    return this.call("POST", path, { body })
  }

  put(path: string, body: object): Promise<Reply> {
    return this.call("PUT", path, { body })
  }

  patch(path: string, body: object, type?: string): Promise<Reply> {
    return this.call("PATCH", path, { body, ...(type === undefined ? {} : { type }) })
  }

  delete(path: string, body?: object): Promise<Reply> {
    return this.call("DELETE", path, body === undefined ? {} : { body })
  }

  /** Opens a watch; `query` without `watch=true`. */
  async watch(path: string, query = ""): Promise<WatchReader> {
    const aborter = new AbortController()
    const target = `${path}?watch=true${query === "" ? "" : `&${query}`}`
    const response = await this.#fetch("GET", target, {}, aborter.signal)
    return new WatchReader(response, aborter)
  }

  #fetch(
    method: string,
    path: string,
    options: CallOptions,
    signal?: AbortSignal,
  ): Promise<Response> {
    const { body, headers } = options
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json"
    return fetch(`${this.#url}${path}`, {
      method,
      tls: this.#tls,
      headers: {
        ...(this.#token === "" ? {} : { Authorization: `Bearer ${this.#token}` }),
        ...(body === undefined ? {} : { "Content-Type": options.type ?? type }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
  }
}

interface ByteReader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
}

/** The events of one watch, in order. */
export class WatchReader {
  readonly status: number
  readonly #reader: ByteReader | undefined
  readonly #aborter: AbortController
  readonly #decoder = new TextDecoder()
  #pending: WatchEvent[] = []
  #rest = ""

  constructor(response: Response, aborter: AbortController) {
    this.status = response.status
    this.#reader = response.body?.getReader()
    this.#aborter = aborter
  }

  /** The next event; "end" after the last chunk; throws when the connection is cut or silent. */
  async next(timeoutMs = 5_000): Promise<WatchEvent | "end"> {
    while (this.#pending.length === 0) {
      const { done, value } = await this.#read(timeoutMs)
      if (done) return "end"
      const lines = (this.#rest + this.#decoder.decode(value, { stream: true })).split("\n")
      this.#rest = lines.pop() ?? ""
      this.#pending.push(...lines.map((line): WatchEvent => JSON.parse(line)))
    }
    return this.#pending.shift() ?? "end"
  }

  /** The next `count` events as "TYPE name". */
  async names(count: number): Promise<string[]> {
    const seen: string[] = []
    for (let index = 0; index < count; index += 1) {
      const event = await this.next()
      seen.push(event === "end" ? "end" : `${event.type} ${event.object.metadata?.name ?? ""}`)
    }
    return seen
  }

  close(): void {
    this.#aborter.abort()
  }

  async #read(timeoutMs: number): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
    if (this.#reader === undefined) return { done: true }
    const timer = setTimeout(() => this.#aborter.abort(new Error("silence")), timeoutMs)
    try {
      return await this.#reader.read()
    } finally {
      clearTimeout(timer)
    }
  }
}
