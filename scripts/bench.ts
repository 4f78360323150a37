/**
 * `npm run bench`: Causeway beside HAProxy and nginx, on this machine, in one run. Absolute figures
 * of a benchmark are about the machine; what travels are ratios against a peer measured in the same
 * minutes, which is what the targets are about.
 *
 * Options: `--rounds N` (default 6; figures are medians), `--idle N` connections for the memory
 * figure, `--patience SECONDS` (default 30, per part) to spend on repeating samples that other
 * programs disturbed, `--json FILE`, `--only PART`, `--quick` (a smoke test: one short round,
 * figures mean nothing), `--no-build`. The exit code says whether it could measure, not what: a
 * target that is missed reads "MISS".
 *
 * A further part is one more entry of `PARTS`.
 */
import { cpus, loadavg, release } from "node:os"
import { parseArgs } from "node:util"
import { type Arena, createArena } from "./bench/arena.ts"
import { contenderVersions } from "./bench/contender.ts"
import { runHttpPart } from "./bench/http.ts"
import { runKubernetesPart } from "./bench/kubernetes.ts"
import { figureToJson, formatPart, type PartResult, toJson } from "./bench/report.ts"
import { FULL, QUICK, type Settings } from "./bench/settings.ts"
import { runStreamPart } from "./bench/stream.ts"
import { build } from "./build.ts"
import { setUpPeers } from "./setup-peers.ts"

type Part = (arena: Arena, settings: Settings, say: (line: string) => void) => Promise<PartResult>

const PARTS: Readonly<Record<string, Part>> = {
  stream: runStreamPart,
  http: runHttpPart,
  kubernetes: runKubernetesPart,
}

interface Options {
  readonly settings: Settings
  readonly parts: readonly Part[]
  readonly build: boolean
  readonly jsonPath: string | undefined
}

async function main(words: readonly string[]): Promise<void> {
  const options = parseOptions(words)
  await prepare(options)
  const versions = await contenderVersions()
  const header = [...versions, ...machineLines(), ...METHOD]
  for (const line of header) say(line)
  const results: PartResult[] = []
  const arena = await createArena(options.settings.bulkFileMib)
  try {
    for (const part of options.parts) results.push(await part(arena, options.settings, progress))
  } finally {
    await arena.lab.close()
  }
  for (const result of results) for (const line of formatPart(result)) say(line)
  if (options.jsonPath === undefined) return
  const { settings } = options
  const rows = results.flatMap((result) => result.rows.map(toJson))
  const figures = results.flatMap(({ figures = [] }) => figures.map(figureToJson))
  await Bun.write(
    options.jsonPath,
    JSON.stringify({ header, settings, rows, figures }, undefined, 2),
  )
}

/** Throws when this machine cannot run it. */
async function prepare(options: Options): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("bench: needs root, for network namespaces")
  if (cpus().length < 2) throw new Error("bench: needs two cores, one of them for the proxy alone")
  const { missing, reason } = await setUpPeers()
  if (missing.length > 0) throw new Error(`bench: missing ${missing.join(" ")}: ${reason}`)
  if (options.build) await build()
}

function machineLines(): string[] {
  const [cpu] = cpus()
  const load = loadavg().map((each) => each.toFixed(2))
  return [
    `Linux ${release()}, ${cpus().length} × ${cpu?.model ?? "?"}, load before ${load.join(" ")}`,
  ]
}

function parseOptions(words: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...words],
    options: {
      rounds: { type: "string" },
      idle: { type: "string" },
      patience: { type: "string" },
      json: { type: "string" },
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      "no-build": { type: "boolean", default: false },
    },
  })
  const base = values.quick ? QUICK : FULL
  const settings = {
    ...base,
    rounds: count(values.rounds, base.rounds),
    idleConnections: count(values.idle, base.idleConnections),
    patienceSeconds: count(values.patience, base.patienceSeconds, 0),
  }
  const parts = Object.entries(PARTS).filter(([name]) => (values.only ?? name) === name)
  if (parts.length === 0) throw new Error(`bench: no part ${values.only}`)
  return {
    settings,
    parts: parts.map(([, part]) => part),
    build: !values["no-build"],
    jsonPath: values.json,
  }
}

function count(text: string | undefined, byDefault: number, least = 1): number {
  const value = Number(text ?? byDefault)
  if (Number.isInteger(value) && value >= least) return value
  throw new Error(`bench: "${text}" is not a whole number from ${least} up`)
}

/** Not part of the result. */
function progress(line: string): void {
  process.stderr.write(`… ${line}\n`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

const METHOD = [
  "Client, edge and origin in network namespaces joined by veth; each proxy with one thread on",
  "core 1, load and origin on core 0. CPU time as the kernel accounts it, softirq included. Median",
  "over the rounds, ± half the interquartile range. Ratio: Causeway against the better peer.",
]

if (import.meta.main) {
  const exitCode = await main(process.argv.slice(2)).then(
    () => 0,
    (error: Error) => {
      process.stderr.write(`${error.message}\n`)
      return 1
    },
  )
  process.exit(exitCode)
}
