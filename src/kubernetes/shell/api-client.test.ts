import { afterEach, describe, expect, test } from "bun:test"
import type { ClusterAccess } from "../kubeconfig.ts"
import { ApiClient, apiPath } from "./api-client.ts"

const servers: Bun.Server<undefined>[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop(true)
})

/** A client of a server on loopback that answers like this. */
function clientOf(fetch: (request: Request) => Response | Promise<Response>): ApiClient {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch })
  servers.push(server)
  return new ApiClient(accessTo(`http://127.0.0.1:${server.port}`))
}

function accessTo(server: string): ClusterAccess {
  return {
    ...{ server, authorities: undefined, verify: true, tlsServerName: "" },
    token: { type: "text", text: "abc" },
    ...{ clientCertificate: undefined, namespace: "default", context: "" },
  }
}

async function watch(client: ApiClient, signal = new AbortController().signal) {
  const lines: string[][] = []
  const handlers = {
    onOpen: () => lines.push(["open"]),
    onLines: (all: readonly string[]) => lines.push([...all]),
  }
  const failure = await client.watch("/api", {}, { ...handlers, signal })
  return { failure, lines: lines.flat() }
}

describe("ApiClient", () => {
  test("ApiClient sends query, token and body, and no wish for compression", async () => {
    const seen: unknown[] = []
    const client = clientOf(async (request) => {
      const { method, url, headers } = request
      const picked = ["authorization", "content-type", "accept", "accept-encoding"]
      seen.push([method, new URL(url).search, picked.map((name) => headers.get(name))])
      seen.push(await request.text())
      return Response.json({})
    })
    await client.get("/api", { query: { labelSelector: "a=b,c" } })
    await client.patch("/api", { a: 1 })
    await client.delete("/api", { uid: "u" })
    const common = ["application/json", "identity"]
    expect(seen).toEqual([
      ["GET", "?labelSelector=a%3Db%2Cc", ["Bearer abc", null, ...common]],
      "",
      ["PATCH", "", ["Bearer abc", "application/merge-patch+json", ...common]],
      '{"a":1}',
      ["DELETE", "", ["Bearer abc", "application/json", ...common]],
      '{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u"}}',
    ])
  })

  test("ApiClient tells a Status object's code, reason, message and Retry-After", async () => {
    const status = { reason: "TooManyRequests", message: "slow down", code: 429 }
    const client = clientOf(() =>
      Response.json(status, { status: 429, headers: { "Retry-After": "3" } }),
    )
    expect(await client.get("/api")).toEqual({
      ok: false,
      failure: {
        kind: "status",
        code: 429,
        reason: "TooManyRequests",
        message: "slow down",
        retryAfterMs: 3000,
      },
    })
  })

  test("ApiClient follows no redirect", async () => {
    const client = clientOf(() => Response.redirect("http://192.0.2.1/"))
    expect(await client.get("/api")).toMatchObject({ failure: { kind: "status", code: 302 } })
  })

  test("ApiClient takes an answer at its limit and refuses a larger one", async () => {
    const client = clientOf(() => new Response(`"${"x".repeat(98)}"`))
    expect(await client.get("/api", { bytesMax: 100 })).toMatchObject({ ok: true })
    expect(await client.get("/api", { bytesMax: 99 })).toMatchObject({
      failure: { kind: "answer", reason: "too_large" },
    })
  })

  test("ApiClient refuses what is not JSON", async () => {
    const client = clientOf(() => new Response("<html>"))
    expect(await client.get("/api")).toMatchObject({
      failure: { kind: "answer", reason: "not_json" },
    })
  })

  test("ApiClient gives up an answer that stops half-way", async () => {
    const client = clientOf(() => new Response(endless('{"items":[')))
    expect(await client.get("/api", { timeoutMs: 50 })).toEqual({
      ok: false,
      failure: { kind: "timeout", afterMs: 50 },
    })
  })

  test("ApiClient says when nothing listens, and when the credentials cannot be read", async () => {
    expect(await new ApiClient(accessTo("http://127.0.0.1:1")).get("/api")).toMatchObject({
      failure: { kind: "connection", reason: "ECONNREFUSED" },
    })
    const token = { type: "file", path: "/nonexistent/token" } as const
    const client = new ApiClient({ ...accessTo("http://127.0.0.1:1"), token })
    expect(await client.get("/api")).toEqual({
      ok: false,
      failure: {
        kind: "credentials",
        message: "Cannot read /nonexistent/token (token): ENOENT",
      },
    })
  })
})

describe("ApiClient.watch()", () => {
  test("watch() hands over whole lines and ends with the server's end", async () => {
    const client = clientOf(() => new Response('{"a":1}\n{"b":2}\n'))
    const lines = ["open", '{"a":1}', '{"b":2}']
    expect(await watch(client)).toEqual({ failure: undefined, lines })
  })

  test("watch() takes an end within a line for a broken connection", async () => {
    const client = clientOf(() => new Response('{"a":1}\n{"b"'))
    expect(await watch(client)).toMatchObject({
      failure: { kind: "connection", reason: "ECONNRESET" },
      lines: ["open", '{"a":1}'],
    })
  })

  test("watch() is not open when it is refused", async () => {
    const client = clientOf(() => Response.json({ reason: "Expired" }, { status: 410 }))
    expect(await watch(client)).toMatchObject({
      failure: { kind: "status", code: 410, reason: "Expired" },
      lines: [],
    })
  })

  test("watch() ends without a failure when it is aborted", async () => {
    const abort = new AbortController()
    const client = clientOf(() => {
      setTimeout(() => abort.abort(), 10)
      return new Response(endless('{"a":1}\n'))
    })
    expect(await watch(client, abort.signal)).toMatchObject({ failure: undefined })
  })
})

describe("apiPath()", () => {
  test("apiPath() knows the core group from others and encodes names", () => {
    expect(apiPath({ groupVersion: "v1", resource: "nodes", namespace: "" })).toBe("/api/v1/nodes")
    expect(
      apiPath({
        groupVersion: "networking.k8s.io/v1",
        resource: "ingresses",
        namespace: "shop",
        name: "a/b",
        subresource: "status",
      }),
    ).toBe("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/a%2Fb/status")
  })
})

/** Begins with `text` and never ends. */
function endless(text: string): ReadableStream {
  return new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(text)),
  })
}
