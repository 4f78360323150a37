/**
 * The admin API (DESIGN.md §5) as a function from request to response. It knows nothing of sockets:
 * `driver.ts` says with each request by what way it came in.
 *
 * Reading shows one picture, `backend.status()`, whole or in part; changing is passed to the
 * backend, whose words become the answer.
 */
import { type Context, Hono } from "hono"
import { EXPOSITION_CONTENT_TYPE, formatExposition } from "../metrics/exposition.ts"
import { type Access, refuse } from "./access.ts"
import type { AdminBackend, CommandResult } from "./backend.ts"
import { EventStreams } from "./event-streams.ts"
import { pageResponse } from "./page.ts"
import { type Problem, problemResponse } from "./problem.ts"
import { processMetrics } from "./process-metrics.ts"
import { parseServerChange } from "./server-change.ts"
import { statusMetrics } from "./status-metrics.ts"

export interface AdminApp {
  fetch(request: Request, environment: AdminEnvironment): Response | Promise<Response>
  /** Ends the event streams. */
  close(): void
}

export interface AdminEnvironment {
  readonly access: Access
}

export interface AdminAppOptions {
  /** Told of an exception while answering; the client sees a 500 without its words. */
  readonly onError: (error: Error, request: string) => void
}

/** Enough for any body the API takes. */
export const BODY_BYTES_MAX = 16 * 1024

export function createAdminApp(backend: AdminBackend, { onError }: AdminAppOptions): AdminApp {
  const events = new EventStreams(backend)
  const app = new Hono<{ Bindings: AdminEnvironment }>()
  app.use(async (context, next) => {
    const refusal = refuse(context.req.raw, context.env.access)
    if (refusal !== undefined) return problemResponse(refusal)
    await next()
    for (const [name, value] of SECURITY_HEADERS) context.res.headers.set(name, value)
    return undefined
  })
  addReads(app, backend)
  app.get("/v1/events", () => events.open() ?? problemResponse(TOO_MANY_STREAMS))
  addWrites(app, backend)
  app.notFound((context) => notFound(context, app))
  app.onError((error, { req }) => {
    onError(error, `${req.method} ${req.path}`)
    return problemResponse({ status: 500, detail: "A fault of causeway; the log has it" })
  })
  return { fetch: (request, env) => app.fetch(request, env), close: () => events.close() }
}

type App = Hono<{ Bindings: AdminEnvironment }>

function addReads(app: App, backend: AdminBackend): void {
  app.get("/", () => pageResponse())
  app.get("/healthz", (context) => context.text("ok\n"))
  app.get("/readyz", (context) => {
    const reasons = backend.notReady()
    if (reasons.length === 0) return context.text("ready\n")
    const detail = `Not ready: ${reasons.join("; ")}`
    return problemResponse({ status: 503, detail, members: { reasons } })
  })
  app.get("/metrics", (context) => {
    const families = [...statusMetrics(backend.status()), ...processMetrics()]
    return context.body(formatExposition(families), 200, {
      "content-type": EXPOSITION_CONTENT_TYPE,
    })
  })
  app.get("/v1/status", (context) => context.json(backend.status()))
  app.get("/v1/vrrp", (context) => context.json(backend.status().vrrp))
  app.get("/v1/pools", (context) => context.json(backend.status().pools))
  app.get("/v1/streams", (context) => context.json(backend.status().streams))
  app.get("/v1/http", (context) => context.json(backend.status().http))
  app.get("/v1/kubernetes", (context) => context.json(backend.status().kubernetes))
}

function addWrites(app: App, backend: AdminBackend): void {
  app.patch("/v1/pools/:pool/servers/:server", async (context) => {
    const { pool, server } = context.req.param()
    const body = await readBody(context)
    if (body === undefined) return problemResponse(BODY_TOO_LARGE)
    const parsed = parseServerChange(body)
    if (!parsed.ok) return problemResponse({ status: 400, detail: parsed.reason })
    return answer(backend.setServer(pool, server, parsed.change), () =>
      backend
        .status()
        .pools.find(({ name }) => name === pool)
        ?.servers.find(({ name }) => name === server),
    )
  })
  app.post("/v1/reload", async () => {
    const result = await backend.reload()
    if (!result.ok) return problemResponse({ status: 422, detail: result.error })
    const { generation, changes, warnings } = result
    return Response.json({ generation, changes, warnings })
  })
  for (const command of ["release", "resume"] as const) {
    app.post(`/v1/vrrp/:name/${command}`, (context) => {
      const wanted = context.req.param("name")
      return answer(backend[command](wanted), () =>
        backend.status().vrrp.find(({ name }) => name === wanted),
      )
    })
  }
  app.post("/v1/debug/threads/:thread{[0-9]+}/:fault", (context) => {
    const { thread, fault } = context.req.param()
    return answer(backend.injectFault(Number(thread), fault), () => ({}))
  })
}

/** What the change was made to, as it is now. */
function answer(result: CommandResult, subject: () => unknown): Response {
  return result.ok ? Response.json(subject() ?? {}) : problemResponse(result)
}

/** Undefined: larger than `BODY_BYTES_MAX`. */
async function readBody(context: Context): Promise<string | undefined> {
  const announced = Number(context.req.header("content-length") ?? 0)
  if (announced > BODY_BYTES_MAX) return undefined
  const body = await context.req.text()
  return Buffer.byteLength(body) > BODY_BYTES_MAX ? undefined : body
}

/** A known path by a wrong method says which methods it has (RFC 9110 §15.5.6). */
function notFound({ req }: Context, app: App): Response {
  const allowed = METHODS.filter((method) => {
    return method !== req.method && app.router.match(method, req.path)[0].length > MIDDLEWARES
  })
  if (allowed.length === 0) {
    return problemResponse({ status: 404, detail: `There is no ${req.path} here` })
  }
  const allow = allowed.join(", ")
  const detail = `${req.path} takes ${allow}, not ${req.method}`
  return problemResponse({ status: 405, detail, headers: { allow } })
}

const METHODS = ["GET", "PATCH", "POST"]
/** Those that match every path. */
const MIDDLEWARES = 1

/** An answer is for whoever asked, now, and not for another page to load. */
const SECURITY_HEADERS = [
  ["cache-control", "no-store"],
  ["x-content-type-options", "nosniff"],
  ["cross-origin-resource-policy", "same-origin"],
] as const

const TOO_MANY_STREAMS: Problem = { status: 503, detail: "Too many event streams are open" }
const BODY_TOO_LARGE: Problem = {
  status: 413,
  detail: `The body is larger than ${BODY_BYTES_MAX} bytes`,
}
