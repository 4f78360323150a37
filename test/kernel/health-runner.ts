/**
 * A program that runs health checks where a test wants them: inside a namespace, and compiled as
 * the product is, which also shows that the probes live through `bun build --compile`.
 *
 *     health-runner probe '{"target": …, "count": 200, "abortAfterMs": 20}'   one result per line
 *     health-runner watch TARGETS.json                                  every change, until killed
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { CheckConfig, CheckTimingConfig } from "../../src/config/config.ts"
import type { ProbeResult } from "../../src/health/check-machine.ts"
import { type CheckTarget, HealthChecker } from "../../src/health/driver.ts"
import { type ProbeRun, runProbe } from "../../src/health/probes/probe.ts"
import { probeOf } from "../../src/health/probes/probe-table.ts"
import type { Host } from "../lab/host.ts"
import { execCommand, type ManagedProcess } from "../lab/process.ts"

/** Compiles the runner into `directory`, with the flags of the product. Returns its path. */
export async function compileRunner(directory: string): Promise<string> {
  const path = join(directory, "health-runner")
  const flags = ["--minify", "--bytecode", "--no-compile-autoload-bunfig"]
  await execCommand([
    process.execPath,
    "build",
    "--compile",
    ...flags,
    "--no-compile-autoload-dotenv",
    import.meta.path,
    `--outfile=${path}`,
  ])
  return path
}

export interface ProbeOrder {
  readonly target: CheckTarget
  readonly count: number
  /** Given up after this long. */
  readonly abortAfterMs?: number
}

const DEFAULT_TIMING: CheckTimingConfig = {
  intervalMs: 200,
  timeoutMs: 1000,
  rise: 2,
  fall: 3,
  port: undefined,
}

export interface RunnerResult extends ProbeResult {
  /** What the probe was doing at its end. */
  readonly phase: string
}

/** Runs probes in a host and returns their results. */
export async function probeIn(
  host: Host,
  runner: string,
  order: ProbeOrder,
): Promise<RunnerResult[]> {
  const output = await host.exec([runner, "probe", JSON.stringify(order)], {
    timeoutMs: 60_000,
    env: { HTTP_PROXY: "http://192.0.2.254:1", HTTPS_PROXY: "http://192.0.2.254:1" },
  })
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
}

/** Runs a checker in a host; every change is a line of its output. `prefix` runs the runner. */
export function watchIn(
  host: Host,
  runner: string,
  targets: readonly CheckTarget[],
  prefix: readonly string[] = [],
): ManagedProcess {
  const path = join(host.directory, `targets-${host.processes.length}.json`)
  writeFileSync(path, JSON.stringify(targets))
  return host.spawn([...prefix, runner, "watch", path], { name: "watch" })
}

/** A target for the runner; `check` needs only what differs from the defaults. */
export function checkTarget<Check extends CheckConfig>(
  address: string,
  check: Omit<Check, keyof CheckTimingConfig> & Partial<CheckTimingConfig>,
): CheckTarget {
  const [, host = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? []
  return {
    id: address,
    name: address,
    check: { ...DEFAULT_TIMING, ...check } as unknown as CheckConfig,
    address: { address: host as never, port: Number(port) },
    env: {},
  }
}

async function main(): Promise<void> {
  const [mode, order = ""] = process.argv.slice(2)
  if (mode === "probe") await probe(JSON.parse(order))
  else if (mode === "watch") watch(JSON.parse(readFileSync(order, "utf8")))
  else throw new Error("Expected probe or watch")
}

async function probe({ target, count, abortAfterMs }: ProbeOrder): Promise<void> {
  for (let done = 0; done < count; done++) {
    const signal =
      abortAfterMs === undefined ? new AbortController().signal : AbortSignal.timeout(abortAfterMs)
    const run: ProbeRun = { signal, phase: "" }
    const result = await runProbe(probeOf(target.check.type), target, run)
    print({ ...result, phase: run.phase } satisfies RunnerResult)
  }
}

function watch(targets: readonly CheckTarget[]): void {
  const checker = new HealthChecker({ onChange: (id, change) => print({ id, ...change }) })
  checker.set(targets)
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

if (import.meta.main) {
  // Bytecode knows no top-level await.
  main().catch((error) => {
    process.stderr.write(`${error}\n`)
    process.exitCode = 1
  })
}
