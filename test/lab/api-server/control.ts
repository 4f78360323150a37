/**
 * The way to a server in another process, and so in another network namespace: every method of
 * `ApiServer` by its name over a unix socket, which namespaces share.
 */
import type { ApiServer } from "./api-server.ts"

interface Call {
  /** "apply", "faults.stop" */
  readonly method: string
  readonly args: readonly unknown[]
}

/** What the other end must know before the first call. */
export interface Introduction {
  readonly url: string
  readonly caPem: string
  readonly directory: string
}

/** Serves calls for `server` on the socket at `path`, until the process ends. */
export function serveControl(server: ApiServer, path: string): void {
  Bun.serve({
    unix: path,
    fetch: async (request: Request) => {
      const call = (await request.json()) as Call
      try {
        return Response.json({ value: await carriedOut(server, call) })
      } catch (error) {
        return Response.json({ error: error instanceof Error ? error.message : String(error) })
      }
    },
  })
}

/** The server behind the socket at `path`; its `close` also calls `onClose`. */
export function controlled(
  path: string,
  introduction: Introduction,
  onClose: () => Promise<unknown>,
): ApiServer {
  const methods = callable(path, "") as unknown as ApiServer
  const faults = callable(path, "faults.") as unknown as ApiServer["faults"]
  const own: Readonly<Record<string, unknown>> = { ...introduction, faults }
  return new Proxy(methods, {
    get: (target, name: string) => {
      if (Object.hasOwn(own, name)) return own[name]
      // A promise resolved with this server must not take it for another promise.
      if (name === "then") return undefined
      if (name === "close") return () => target.close().finally(onClose)
      return Reflect.get(target, name)
    },
  })
}

type Method = (...args: readonly unknown[]) => Promise<unknown>

function callable(path: string, prefix: string): Record<string, Method> {
  const method = (name: string): Method => {
    return (...args) => call(path, { method: `${prefix}${name}`, args })
  }
  return new Proxy<Record<string, Method>>({}, { get: (_, name: string) => method(name) })
}

async function call(path: string, { method, args }: Call): Promise<unknown> {
  const response = await fetch("http://control/", {
    unix: path,
    method: "POST",
    body: JSON.stringify({ method, args }),
  })
  const { value, error } = (await response.json()) as { value?: unknown; error?: string }
  if (error !== undefined) throw new Error(`${method}: ${error}`)
  return value
}

async function carriedOut(server: ApiServer, { method, args }: Call): Promise<unknown> {
  const [owner, name] = method.startsWith("faults.")
    ? [server.faults, method.slice("faults.".length)]
    : [server, method]
  const found: unknown = Reflect.get(owner, name)
  if (typeof found !== "function") throw new Error("no such method")
  // JSON has no undefined: an argument that was left out arrives as null.
  return await found.apply(
    owner,
    args.map((each) => each ?? undefined),
  )
}
