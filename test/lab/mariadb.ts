/**
 * Real MariaDB servers for tests, demo and bench: private data directories, small memory, ready in
 * well under a second, with GTID replication between them on request.
 *
 * `mariadb-install-db` runs once, and every server starts from a copy of what it made: so all have
 * the same empty history, and a replica needs no dump. The copy's origin goes when the last server
 * does. The accounts in `ACCOUNTS` exist on every server from the start. Data survives a kill of
 * the server and no more.
 */
import { chmodSync, chownSync, cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Host } from "./host.ts"
import { ownedPrefix } from "./lab.ts"
import { execCommand, ManagedProcess } from "./process.ts"
import { eventually } from "./wait.ts"

export interface MariaDbOptions {
  /** The host it runs in; stopped with the lab at the latest. */
  readonly host?: Host
  /** Instead of `host`: the name of a network namespace. Neither: the caller's own network. */
  readonly netns?: string
  /** Default 127.0.0.1; `*` listens on all. */
  readonly address?: string
  /** Default 3306 in a namespace, else a free one. */
  readonly port?: number
  /** `@@server_id`, by which a test tells servers apart. Default 1, for a replica 2. */
  readonly serverId?: number
  /** Starts it as a read-only replica that follows this one. */
  readonly replicaOf?: MariaDb
  /** The primary's address as the replica reaches it. Default: the primary's own. */
  readonly primaryAddress?: string
  /** Look up the names of clients, as a server does by default. Off here: it needs a resolver. */
  readonly reverseLookup?: boolean
  /** Costs 80 MB; needed for performance_schema.host_cache. */
  readonly performanceSchema?: boolean
  /** More options of mariadbd, without the dashes; `true` stands for the bare option. */
  readonly settings?: Readonly<Record<string, string | number | true>>
}

export interface MariaDbAccount {
  readonly user: string
  readonly password: string
}

/** On every server, for connections from anywhere. `root` needs no password, on the socket. */
export const ACCOUNTS = {
  /** May read and write the database `lab`. */
  app: { user: "app", password: "app-password" },
  /** May log in and nothing else. */
  check: { user: "check", password: "check-password" },
  replication: { user: "replication", password: "replication-password" },
} as const satisfies Record<string, MariaDbAccount>

/** Starts a server and waits until it takes connections. Close it by `stop` or `await using`. */
export async function startMariaDb(options: MariaDbOptions = {}): Promise<MariaDb> {
  const isOwnNetwork = options.host === undefined && options.netns === undefined
  const port = options.port ?? (isOwnNetwork ? await freePort() : 3306)
  const server = new MariaDb(options, port)
  servers.add(server)
  try {
    cpSync(await template(), server.directory, { recursive: true, preserveTimestamps: true })
    giveTo(server.directory)
    await server.start()
    if (options.replicaOf !== undefined) await server.follow(options.replicaOf)
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

export class MariaDb implements AsyncDisposable {
  readonly options: MariaDbOptions
  readonly address: string
  readonly port: number
  readonly serverId: number
  /** Data, socket, log; readable by the server's user. */
  readonly directory: string
  readonly socketPath: string
  #process: ManagedProcess | undefined

  /** Use `startMariaDb`. */
  constructor(options: MariaDbOptions, port: number) {
    this.options = options
    this.address = options.address ?? "127.0.0.1"
    this.port = port
    this.serverId = options.serverId ?? (options.replicaOf === undefined ? 1 : 2)
    this.directory = makeDirectory()
    this.socketPath = join(this.directory, "sock")
  }

  get process(): ManagedProcess {
    if (this.#process === undefined) throw new Error("The server has never been started")
    return this.#process
  }

  get pid(): number {
    return this.process.pid
  }

  get logPath(): string {
    return this.process.logPath
  }

  get running(): boolean {
    return this.#process?.running === true
  }

  /** What a client on this machine passes to `mariadb`: the socket works across namespaces. */
  get clientArguments(): string[] {
    return ["--no-defaults", "--user=root", `--socket=${this.socketPath}`]
  }

  /** Runs SQL as root. Rows of the last statement, all values as text, NULL as "NULL". */
  async query(sql: string): Promise<string[][]> {
    const argv = ["mariadb", ...this.clientArguments, "--batch", "--skip-column-names"]
    const output = await execCommand([...argv, "--execute", sql])
    return output
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split("\t"))
  }

  /** The first value of the first row. */
  async value(sql: string): Promise<string> {
    const value = (await this.query(sql))[0]?.[0]
    if (value === undefined) throw new Error(`No row from: ${sql}`)
    return value
  }

  /** Starts it again after `kill`; waits until it takes connections. */
  async start(): Promise<void> {
    if (this.running) throw new Error(`${this.process.name} runs already`)
    this.#process = this.#spawn()
    await this.#process.waitFor(/ready for connections[\s\S]*?port: \d+/, { timeoutMs: 30_000 })
  }

  /** Follows a primary by GTID. Waits until both replication threads run. */
  async follow(primary: MariaDb): Promise<void> {
    const { user, password } = ACCOUNTS.replication
    const host = this.options.primaryAddress ?? primary.address
    await this.query(
      `STOP SLAVE; CHANGE MASTER TO MASTER_HOST='${host}', MASTER_PORT=${primary.port},
       MASTER_USER='${user}', MASTER_PASSWORD='${password}', MASTER_CONNECT_RETRY=1,
       MASTER_USE_GTID=slave_pos; START SLAVE`,
    )
    await eventually(async () => (await this.replicationState()) === "Yes Yes", {
      what: `server ${this.serverId} to follow ${host}:${primary.port}`,
    })
  }

  /** Of the receiving and the applying thread, "Yes Yes" when both run; "" on a primary. */
  async replicationState(): Promise<string> {
    const status = await this.query("SHOW SLAVE STATUS")
    return status[0] === undefined ? "" : `${status[0][10]} ${status[0][11]}`
  }

  /** Waits until this replica has applied all that `primary` has written so far. */
  async catchUp(primary: MariaDb, timeoutS = 10): Promise<void> {
    const position = await primary.value("SELECT @@gtid_binlog_pos")
    const answer = await this.value(`SELECT MASTER_GTID_WAIT('${position}', ${timeoutS})`)
    if (answer !== "0") throw new Error(`Server ${this.serverId} did not reach ${position}`)
  }

  /** Sends a signal, SIGKILL by default, and waits for the end unless it stops or continues. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.process.signal(signal)
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await this.process.exited
  }

  /** Ends it for good and removes its files. */
  async stop(): Promise<void> {
    if (this.running) await this.kill()
    removeDirectory(this.directory)
    servers.delete(this)
    if (servers.size === 0) await removeTemplate()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #spawn(): ManagedProcess {
    const { host, netns } = this.options
    const name = `mariadb-${this.serverId}`
    const argv = [...asServerUser(), "mariadbd", ...this.#arguments()]
    if (host !== undefined) return host.spawn(argv, { name })
    const inside = netns === undefined ? [] : ["ip", "netns", "exec", netns]
    const logPath = join(this.directory, "mariadbd.log")
    return new ManagedProcess([...inside, ...argv], { name, logPath })
  }

  #arguments(): string[] {
    const { reverseLookup = false, performanceSchema = false } = this.options
    const isReplica = this.options.replicaOf !== undefined
    return toArguments({
      ...SMALL_AND_FAST,
      datadir: this.directory,
      socket: this.socketPath,
      "pid-file": join(this.directory, "pid"),
      "bind-address": this.address,
      port: this.port,
      "server-id": this.serverId,
      "skip-name-resolve": reverseLookup ? 0 : 1,
      "performance-schema": performanceSchema ? 1 : 0,
      "read-only": isReplica ? 1 : 0,
      ...this.options.settings,
    })
  }
}

const SMALL_AND_FAST = {
  "innodb-buffer-pool-size": "8M",
  "innodb-log-file-size": "4M",
  "innodb-flush-log-at-trx-commit": 2, // survives a kill, which replication needs
  "innodb-flush-method": "nosync",
  "innodb-fast-shutdown": 2,
  "innodb-buffer-pool-load-at-startup": 0,
  "innodb-buffer-pool-dump-at-shutdown": 0,
  "key-buffer-size": "1M",
  "aria-pagecache-buffer-size": "1M",
  "query-cache-type": 0,
  "query-cache-size": 0,
  "thread-cache-size": 4,
  "table-open-cache": 64,
  "max-connections": 300,
  "host-cache-size": 128,
  "log-bin": "binlog",
  "log-slave-updates": 1,
  "sync-binlog": 0,
  "gtid-strict-mode": 1,
  "slave-net-timeout": 5,
} as const

function toArguments(settings: Readonly<Record<string, string | number | true>>): string[] {
  const options = Object.entries(settings).map(([name, value]) =>
    value === true ? `--${name}` : `--${name}=${value}`,
  )
  return ["--no-defaults", ...userArguments(), ...options]
}

/** mariadbd runs as root only when told so; that is, where there is no other user to run as. */
function userArguments(): string[] {
  return process.getuid?.() === 0 && serverUser() === undefined ? ["--user=root"] : []
}

/** A data directory ready to be copied. */
function template(): Promise<string> {
  templateMade ??= makeTemplate()
  return templateMade
}

async function removeTemplate(): Promise<void> {
  const made = templateMade
  templateMade = undefined
  if (made !== undefined) removeDirectory(await made)
}

let templateMade: Promise<string> | undefined
/** Started and not stopped. */
const servers = new Set<MariaDb>()

async function makeTemplate(): Promise<string> {
  const directory = makeDirectory()
  const accounts = makeDirectory()
  const sqlPath = join(accounts, "accounts.sql")
  await Bun.write(sqlPath, accountsSql())
  giveTo(accounts)
  await execCommand([
    ...asServerUser(),
    "mariadb-install-db",
    "--no-defaults",
    ...userArguments(),
    `--datadir=${directory}`,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--skip-name-resolve",
    "--innodb-log-file-size=4M",
    `--extra-file=${sqlPath}`,
  ])
  removeDirectory(accounts)
  return directory
}

function accountsSql(): string {
  const { app, check, replication } = ACCOUNTS
  const statements = [
    "CREATE DATABASE lab",
    "FLUSH PRIVILEGES", // the bootstrap runs without the tables of privileges
    `CREATE USER ${account(app)}`,
    `GRANT ALL ON lab.* TO '${app.user}'@'%'`,
    `CREATE USER ${account(check)}`,
    `CREATE USER ${account(replication)}`,
    `GRANT REPLICATION SLAVE ON *.* TO '${replication.user}'@'%'`,
  ]
  return statements.map((statement) => `${statement};\n`).join("")
}

function account({ user, password }: MariaDbAccount): string {
  return `'${user}'@'%' IDENTIFIED BY '${password}'`
}

/**
 * mariadbd refuses to run as root, so it runs as `mysql`. Changing the user clears the death
 * signal, so it is set here once more.
 */
function asServerUser(): string[] {
  const user = serverUser()
  const dieWithUs = ["setpriv", "--pdeathsig", "KILL"]
  if (user === undefined) return dieWithUs
  return [...dieWithUs, `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"]
}

function giveTo(directory: string): void {
  const user = serverUser()
  if (user === undefined) return
  const paths = new Bun.Glob("**/*").scanSync({ cwd: directory, onlyFiles: false, dot: true })
  for (const path of [".", ...paths]) chownSync(join(directory, path), user.uid, user.gid)
}

/** Undefined when not root, or root of a user namespace that holds nobody else. */
function serverUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const entry = readFileSync("/etc/passwd", "utf8").match(/^mysql:[^:]*:(\d+):(\d+):/m)
  if (entry === null) throw new Error("There is no user mysql; is mariadb-server installed?")
  const [uid, gid] = [Number(entry[1]), Number(entry[2])]
  const maps = readFileSync("/proc/self/uid_map", "utf8").trim().split("\n")
  const isMapped = maps.some((line) => {
    const [first = 0, , count = 0] = line.trim().split(/\s+/).map(Number)
    return first <= uid && uid < first + count
  })
  return isMapped ? { uid, gid } : undefined
}

/** Not under the lab's folder, which only root may enter. */
function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), `${ownedPrefix()}-mariadb-`))
  chmodSync(directory, 0o711)
  giveTo(directory)
  if (directories.size === 0) process.on("exit", () => directories.forEach(removeDirectory))
  directories.add(directory)
  return directory
}

function removeDirectory(directory: string): void {
  directories.delete(directory)
  rmSync(directory, { recursive: true, force: true })
}

const directories = new Set<string>()

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen({ port: 0, host: "127.0.0.1" }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0))
    })
  })
}
