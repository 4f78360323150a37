/**
 * The real `mariadb` client, in the two ways applications use a database: a new connection for
 * every query, and a session that is kept and asked again and again. Each keeps its books as lines
 * on standard output; times are wall-clock milliseconds.
 */
import type { Host } from "../lab/host.ts"
import { ACCOUNTS } from "../lab/mariadb.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { nth } from "./stage.ts"

/** One query. */
export interface Query {
  /** When it began, where that is known: for a session, when its answer came. */
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly ok: boolean
  /** The server's id, or the client's words. */
  readonly answer: string
}

/** Runs a statement over a new connection: its output, or what the client says. */
export async function queryOnce(host: Host, target: string, sql: string): Promise<string> {
  const { stdout, stderr } = await host.run([...clientArguments(target), "-e", sql])
  return `${stdout}${stderr}`.trim()
}

/** Loops of new connections, each asking for the server's id. */
export function startConnectors(host: Host, target: string, count: number): MysqlClients {
  return new MysqlClients(
    Array.from({ length: count }, () => startScript(host, CONNECTOR, target, "connector")),
  )
}

/** Sessions that ask for the server's id every 20 ms, and are opened anew when a query fails. */
export function startSessions(host: Host, target: string, count: number): MysqlClients {
  return new MysqlClients(
    Array.from({ length: count }, () => startScript(host, SESSION, target, "session")),
  )
}

export class MysqlClients {
  readonly #clients: readonly ManagedProcess[]

  constructor(clients: readonly ManagedProcess[]) {
    this.#clients = clients
  }

  /** Of each client, oldest first. */
  get queriesByClient(): Query[][] {
    return this.#clients.map(({ stdout }) => stdout.split("\n").slice(0, -1).flatMap(parseLine))
  }

  get queries(): Query[] {
    return this.queriesByClient.flat()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.stop()))
  }
}

function startScript(host: Host, script: string, target: string, name: string): ManagedProcess {
  const argv = ["bash", "-c", script, name, ...clientArguments(target)]
  return host.spawn(argv, { name, env: { LC_ALL: "C" } })
}

function clientArguments(target: string): string[] {
  const [address = "", port = ""] = target.split(":")
  const { user, password } = ACCOUNTS.app
  const account = [`--user=${user}`, `--password=${password}`, "--database=lab"]
  return ["mariadb", "--no-defaults", `--host=${address}`, `--port=${port}`, ...account, ...PLAIN]
}

/** "ok 1700000000.123456 1700000000.234567 3" */
function parseLine(line: string): Query[] {
  const [word, started, ended, ...answer] = line.split(" ")
  if (word !== "ok" && word !== "fail") return []
  return [
    {
      startedAtMs: Number(started) * 1000,
      endedAtMs: Number(ended) * 1000,
      ok: word === "ok",
      answer: answer.join(" "),
    },
  ]
}

/** Servers that answered what was begun since then, in order of their ids. */
export function serversOf(queries: readonly Query[], sinceMs = 0): string[] {
  const answered = queries.filter(({ ok, startedAtMs }) => ok && startedAtMs > sinceMs)
  return [...new Set(answered.map(({ answer }) => answer))].toSorted()
}

/** Queries of a time, and what became of them: for a report. */
export function countFailures(queries: readonly Query[]): Record<string, number> {
  const failed: Record<string, number> = {}
  for (const { ok, answer } of queries) {
    const reason = answer.replace(/ at line \d+/, "")
    if (!ok) failed[reason] = (failed[reason] ?? 0) + 1
  }
  return failed
}

/** The longest time without an answer of a client. */
export function longestSilenceMs(clients: readonly (readonly Query[])[]): number {
  const silences = clients.flatMap((queries) => {
    const answered = queries.filter(({ ok }) => ok)
    return answered.slice(1).map(({ endedAtMs }, at) => endedAtMs - nth(answered, at).endedAtMs)
  })
  return Math.max(0, ...silences)
}

const PLAIN = ["--skip-column-names", "--batch", "--connect-timeout=5"]

const CONNECTOR = `
while :; do
  started=$EPOCHREALTIME
  if answer=$("$@" -e 'SELECT @@server_id' 2>&1); then word=ok; else word=fail; fi
  echo "$word $started $EPOCHREALTIME \${answer//$'\\n'/ }"
done`

/** What an application does: a query that fails ends the session, and a new one is opened. */
const SESSION = `
while :; do
  while :; do echo 'SELECT @@server_id;'; sleep 0.02; done |
  "$@" --unbuffered 2>&1 |
  while read -r answer; do
    # Before an error the client repeats the statement.
    case $answer in [0-9]*) word=ok ;; ERROR*) word=fail ;; *) continue ;; esac
    echo "$word $EPOCHREALTIME $EPOCHREALTIME $answer"
  done
done`
