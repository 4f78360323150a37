/**
 * The sockets of the admin API: opens what `[admin]` names, keeps what a reload does not touch, and
 * tells the app by what way each request came.
 *
 * A Unix socket that a dead process left behind is removed; one that answers belongs to another
 * causeway, and taking it over would leave that one without a handle.
 */
import { existsSync, lstatSync, unlinkSync } from "node:fs"
import { dirname } from "node:path"
import type { AdminConfig, AdminListen } from "../config/config.ts"
import { EACCES, EADDRINUSE, EADDRNOTAVAIL, ENOENT, EROFS, SystemError } from "../linux/errno.ts"
import type { Logger } from "../log/logger.ts"
import { formatEndpoint } from "../net/address.ts"
import { type Access, isLoopback } from "./access.ts"
import { type AdminApp, BODY_BYTES_MAX, createAdminApp } from "./app.ts"
import type { AdminBackend } from "./backend.ts"
import { readToken } from "./token.ts"

export class AdminServer {
  readonly #app: AdminApp
  readonly #listeners = new Map<string, OpenListener>()
  #token: string | undefined

  constructor(backend: AdminBackend, log: Logger) {
    this.#app = createAdminApp(backend, {
      onError: (error, request) => {
        log.error("admin", "Exception in a request", { request, error: String(error.stack) })
      },
    })
  }

  /**
   * Makes the open sockets those of `config`; one that both have stays open. All or nothing: when
   * it throws (`SystemError`, "Cannot bind 127.0.0.1:9180: EADDRINUSE") everything is as it was.
   */
  async configure({ listen, tokenFile }: AdminConfig): Promise<void> {
    const token = tokenFile === "" ? undefined : readToken(tokenFile)
    const wanted = new Map(listen.map((each) => [formatListen(each), each]))
    const removed = [...this.#listeners].filter(
      ([name, { listen: each }]) => !wanted.has(name) || isGone(each),
    )
    const kept = new Set(this.#listeners.keys()).difference(new Map(removed))
    const added = [...wanted].filter(([name]) => !kept.has(name))
    await Promise.all(added.map(([name, each]) => clearStaleSocket(name, each)))
    // Closed first: 0.0.0.0:9180 cannot be opened while 127.0.0.1:9180 is.
    for (const [name] of removed) this.#close(name)
    try {
      for (const [, each] of added) this.#open(each)
    } catch (error) {
      for (const [name] of added) this.#close(name)
      for (const [, { listen: each }] of removed) this.#open(each)
      throw error
    }
    this.#token = token
  }

  /** Answers what is under way, then ends everything. */
  async close(): Promise<void> {
    this.#app.close()
    const servers = [...this.#listeners.values()].map(({ server }) => server)
    this.#listeners.clear()
    await Promise.all(servers.map(retire))
  }

  #open(listen: AdminListen): void {
    const name = formatListen(listen)
    const server = serve(listen, (request) =>
      this.#app.fetch(request, { access: this.#accessBy(listen) }),
    )
    this.#listeners.set(name, { listen, server })
  }

  #close(name: string): void {
    const listener = this.#listeners.get(name)
    this.#listeners.delete(name)
    if (listener !== undefined) void retire(listener.server)
  }

  #accessBy(listen: AdminListen): Access {
    if (listen.type === "unix") return UNIX_ACCESS
    return {
      transport: "tcp",
      isLoopback: isLoopback(listen.endpoint.address),
      token: this.#token,
    }
  }
}

type Answer = (request: Request) => Response | Promise<Response>

interface OpenListener {
  readonly listen: AdminListen
  readonly server: Bun.Server<undefined>
}

/** Throws `SystemError`. */
function serve(listen: AdminListen, answer: Answer): Bun.Server<undefined> {
  try {
    if (listen.type === "unix") return withUmask(SOCKET_UMASK, () => serveUnix(listen.path, answer))
    const { address, port } = listen.endpoint
    return Bun.serve({
      hostname: address,
      port,
      maxRequestBodySize: BODY_BYTES_MAX,
      // A connection that asks nothing costs a descriptor that a session could have.
      idleTimeout: UNUSED_TIMEOUT_S,
      fetch: (request, server) => {
        server.timeout(request, ANSWER_TIMEOUT_S)
        return answer(request)
      },
    })
  } catch (error) {
    throw bindError(listen, error)
  }
}

/** Bun obeys idleTimeout on a Unix socket too (tried with 1.4.5); its types do not say so. */
function serveUnix(path: string, fetch: Answer): Bun.Server<undefined> {
  const maxRequestBodySize = BODY_BYTES_MAX
  const options: object = { unix: path, maxRequestBodySize, idleTimeout: ANSWER_TIMEOUT_S, fetch }
  return Bun.serve(options as Bun.Serve.Options<undefined>)
}

/**
 * Takes no new connection from now on. The request that asked for the reload still gets its answer;
 * an event stream would go on for ever and is cut.
 */
async function retire(server: Bun.Server<undefined>): Promise<void> {
  await Promise.race([server.stop(), Bun.sleep(CLOSE_WAIT_MS)])
  await server.stop(true)
}

/** The socket has its mode from the first moment; a `chmod` after the fact would leave a gap. */
function withUmask<Result>(mask: number, action: () => Result): Result {
  const previous = process.umask(mask)
  try {
    return action()
  } finally {
    process.umask(previous)
  }
}

/** Removes the socket of a dead process. Throws when another answers there. */
async function clearStaleSocket(name: string, listen: AdminListen): Promise<void> {
  if (listen.type !== "unix") return
  const stats = lstatSync(listen.path, { throwIfNoEntry: false })
  if (stats === undefined) return
  if (!stats.isSocket()) throw bindFailure(name, EADDRINUSE, "there is a file that is no socket")
  if (await isAnswered(listen.path)) {
    throw bindFailure(name, EADDRINUSE, "another causeway is running")
  }
  unlinkSync(listen.path)
}

/** Somebody removed the socket's file; nobody can reach the listener any more. */
function isGone(listen: AdminListen): boolean {
  return listen.type === "unix" && !existsSync(listen.path)
}

/** Only a refused connection proves that nobody listens; anything else is left alone. */
async function isAnswered(path: string): Promise<boolean> {
  try {
    const connection = await Bun.connect({ unix: path, socket: { data() {} } })
    connection.end()
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ECONNREFUSED"
  }
}

function bindError(listen: AdminListen, error: unknown): unknown {
  const { code = "" } = error as NodeJS.ErrnoException
  const errno = ERRNO_BY_CODE[code]
  if (errno === undefined) return error
  return bindFailure(formatListen(listen), errno, bindHint(listen, errno))
}

function bindHint(listen: AdminListen, errno: number): string {
  if (listen.type === "tcp") return errno === EADDRNOTAVAIL ? "this host has no such address" : ""
  const folder = dirname(listen.path)
  if (errno === ENOENT) return `create ${folder}, or let systemd do it with RuntimeDirectory=`
  const isWritable = errno !== EACCES && errno !== EROFS
  return isWritable ? "" : `${folder} must be writable for the user that runs causeway`
}

function bindFailure(name: string, errno: number, hint: string): SystemError {
  return new SystemError(`bind ${name}`, errno, hint)
}

function formatListen(listen: AdminListen): string {
  return listen.type === "unix" ? `unix:${listen.path}` : formatEndpoint(listen.endpoint)
}

const UNIX_ACCESS: Access = { transport: "unix" }
/** Read and write for owner and group: 0660. */
const SOCKET_UMASK = 0o117
const UNUSED_TIMEOUT_S = 10
/** Without a byte; longer than the heartbeat of an event stream, and than any reload. */
const ANSWER_TIMEOUT_S = 60
const CLOSE_WAIT_MS = 1_000
/** Bun's errors carry a name, and a number only sometimes. */
const ERRNO_BY_CODE: Readonly<Record<string, number>> = {
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ENOENT,
  EROFS,
}
