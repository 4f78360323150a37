/**
 * The programs that are compared, each with one working thread on the proxy core and settings its
 * own administrators would choose: no logs of single connections, room for the connections of the
 * test, the same timeouts. What differs is only what differs by design.
 */
import { defaultBinary, type Edge, startEdge } from "../../test/lab/edge.ts"
import { startHaproxy } from "../../test/lab/haproxy.ts"
import type { Host } from "../../test/lab/host.ts"
import { startNginx } from "../../test/lab/nginx.ts"
import { type ManagedProcess, runCommand } from "../../test/lab/process.ts"
import { processTree } from "./accounting.ts"
import { ON_PROXY_CORE, PROXY_CORE, pinTree, ROOMY } from "./arena.ts"

export const COLUMNS = ["causeway", "haproxy", "nginx"] as const
/** A program, as a column of the table. */
export type Column = (typeof COLUMNS)[number]

/** The configuration of one part of the benchmark, for each program. */
export interface Configurations {
  /** TOML without `[node]` and `[admin]`. */
  readonly causeway: string
  /** `defaults`, `frontend`, `backend`, `listen` sections. */
  readonly haproxy: string
  /** Inside of nginx's `stream` or `http` block. */
  readonly nginx: { readonly stream?: string; readonly http?: string }
}

export interface Contender {
  readonly column: Column
  /** All its processes. */
  readonly pids: readonly number[]
  stop(): Promise<unknown>
}

/** Starts one program in the edge, pinned. */
export async function startContender(
  edge: Host,
  column: Column,
  configurations: Configurations,
): Promise<Contender> {
  const program = await START[column](edge, configurations)
  if (column !== "causeway") await pinTree(program.pid, PROXY_CORE)
  return { column, pids: processTree(program.pid), stop: () => program.stop() }
}

/** What each program says of itself. */
export async function contenderVersions(): Promise<string[]> {
  const commands = [
    [...defaultBinary(), "version"],
    ["haproxy", "-v"],
    ["nginx", "-v"],
  ]
  const texts = commands.map(async (argv) => {
    const { stdout, stderr } = await runCommand(argv)
    return `${stdout}${stderr}`.trim().split("\n")[0] ?? ""
  })
  return Promise.all(texts)
}

const START: Readonly<
  Record<Column, (edge: Host, of: Configurations) => Promise<Edge | ManagedProcess>>
> = {
  // Pinned from its first moment, because the runtime looks at the cores it may use.
  causeway: (edge, { causeway }) =>
    startEdge(edge, `[node]\nname = "bench"\nthreads = 1\n${causeway}`, { wrapper: ON_PROXY_CORE }),
  haproxy: (edge, { haproxy }) => startHaproxy(edge, `${HAPROXY_GLOBAL}${haproxy}`),
  nginx: (edge, { nginx }) => startNginx(edge, { ...nginx, ...ROOMY }),
}

/** 9 900 connections are what fits 20 000 descriptors; pipes for splicing come out of the same. */
const HAPROXY_GLOBAL = `global
  nbthread 1
  maxconn 9900
  maxpipes 40
`
