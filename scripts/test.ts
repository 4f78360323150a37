/**
 * `npm test`: everything that shows the project works, in order of cost. `--fast` (`npm run ok`)
 * stops before the build. The last line is the sum over all steps.
 *
 * A check without tests of its own (format, types, build) counts as one. A test file that crashes
 * or hangs counts as a failure beside the tests it did run. Kernel and end-to-end files run one
 * after another, each with a time limit (a header line "File time limit: 600 s" changes it),
 * because they measure times and the machine may have two cores.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { sweepStaleLabs } from "../test/lab/lab.ts"
import { StallWatch } from "../test/lab/stall-watch.ts"
import { setUpPeers } from "./setup-peers.ts"

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

interface Outcome extends Counts {
  /** Shown when something failed. */
  readonly output: string
}

interface Step {
  readonly name: string
  run(): Promise<Outcome>
}

async function main(words: readonly string[]): Promise<number> {
  const steps = words.includes("--fast") ? fastSteps() : [...fastSteps(), ...(await slowSteps())]
  const startedAt = performance.now()
  let total: Counts = { passed: 0, failed: 0, skipped: 0 }
  for (const step of steps) total = sum(total, await runStep(step))
  say(`${seconds(startedAt)} in all`)
  say(summary(total))
  return total.failed === 0 ? 0 : 1
}

function fastSteps(): Step[] {
  return [
    check("format and lint", ["node_modules/.bin/biome", "check", "."]),
    check("types", ["node_modules/.bin/tsc", "--noEmit", "-p", "."]),
    { name: "structure", run: () => bunTest(["./test/tidy.test.ts"], UNIT_LIMITS) },
    { name: "unit", run: () => bunTest(["./src"], UNIT_LIMITS) },
  ]
}

async function slowSteps(): Promise<Step[]> {
  const build = check("build", [process.execPath, "scripts/build.ts"])
  const files = [...testFiles("kernel"), ...testFiles("e2e")]
  if (process.getuid?.() !== 0) {
    say("not root: the kernel and end-to-end tests need network namespaces and are skipped")
    return [build, ...files.map(skipped)]
  }
  const peers = await setUpPeers()
  if (peers.installed.length > 0) say(`installed ${peers.installed.join(" ")}`)
  if (peers.missing.length > 0) say(`missing ${peers.missing.join(" ")}: ${peers.reason}`)
  return [build, ...files.map(labStep)]
}

async function runStep(step: Step): Promise<Counts> {
  const startedAt = performance.now()
  const outcome = await step.run().catch((error: Error) => crash(error.message))
  say(`${step.name.padEnd(NAME_COLUMNS)} ${summary(outcome)}  ${seconds(startedAt)}`)
  if (outcome.failed > 0) say(outcome.output.trimEnd())
  return outcome
}

/** A command that must succeed. */
function check(name: string, argv: readonly string[]): Step {
  return {
    name,
    run: async () => {
      const { exitCode, output } = await spawn(argv, CHECK_LIMIT_S)
      return exitCode === 0 ? { passed: 1, failed: 0, skipped: 0, output } : crash(output)
    },
  }
}

function labStep(path: string): Step {
  const fileLimit = /File time limit: (\d+) s/.exec(readFileSync(join(ROOT, path), "utf8"))?.[1]
  const fileSeconds = fileLimit === undefined ? LAB_LIMITS.fileSeconds : Number(fileLimit)
  return {
    name: path.replace("test/", ""),
    run: async () => {
      const limits = { ...LAB_LIMITS, fileSeconds }
      const outcome = await labTest(path, limits)
      if (outcome.failed === 0 || secondAttempts >= SECOND_ATTEMPTS) return outcome
      secondAttempts += 1
      say(`${path}: ${summary(outcome)}; ${outcome.stalls}; once more after this:`)
      say(outcome.output.trimEnd())
      return labTest(path, limits)
    },
  }
}

/** `stalls` says whether the machine had its mind on something else. */
async function labTest(path: string, limits: Limits): Promise<Outcome & { stalls: string }> {
  using watch = new StallWatch()
  const stolenBefore = stolenTicks()
  const outcome = await bunTest([`./${path}`], limits)
  sweepStaleLabs()
  const stolenMs = (stolenTicks() - stolenBefore) * 10
  const stalls = `longest stall ${Math.round(watch.longestMs)} ms, stolen ${stolenMs} ms`
  return { ...outcome, stalls }
}

/** Processor time that the host gave to others, ticks of 10 ms over all processors (proc(5)). */
function stolenTicks(): number {
  return Number(readFileSync("/proc/stat", "utf8").split("\n")[0]?.split(/ +/)[8] ?? 0)
}

/** Counts the tests in the text, as nobody runs them. */
function skipped(path: string): Step {
  const tests = readFileSync(join(ROOT, path), "utf8").match(/^\s*test(\.\w+)?\(/gm)?.length ?? 0
  return {
    name: path.replace("test/", ""),
    run: async () => ({ passed: 0, failed: 0, skipped: tests, output: "" }),
  }
}

interface Limits {
  readonly testSeconds: number
  readonly fileSeconds: number
}

/** Runs test files in one process and counts from its JUnit report. */
async function bunTest(paths: readonly string[], limits: Limits): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), "causeway-test-"))
  const report = join(directory, "junit.xml")
  const flags = ["--reporter=junit", `--reporter-outfile=${report}`, "--only-failures"]
  const timeout = `--timeout=${limits.testSeconds * 1000}`
  const argv = [process.execPath, "test", ...flags, timeout, ...paths]
  const { exitCode, output } = await spawn(argv, limits.fileSeconds)
  const counts = parseJunit(
    await Bun.file(report)
      .text()
      .catch(() => ""),
  )
  rmSync(directory, { recursive: true, force: true })
  // An error outside of any test fails the run and no test.
  if (exitCode !== 0 && counts.failed === 0) return { ...counts, failed: 1, output }
  return { ...counts, output }
}

/** The totals of a JUnit report; zeros when there is none. */
export function parseJunit(xml: string): Counts {
  const head = /<testsuites [^>]*>/.exec(xml)?.[0] ?? ""
  const count = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(head)?.[1] ?? 0)
  const failed = count("failures") + count("errors")
  const skipped = count("skipped")
  return { passed: count("tests") - failed - skipped, failed, skipped }
}

/** Runs a command with both outputs together. Past its time it gets SIGTERM, then SIGKILL. */
async function spawn(
  argv: readonly string[],
  limitSeconds: number,
): Promise<{ exitCode: number; output: string }> {
  const child = Bun.spawn([...argv], { cwd: ROOT, stdin: "ignore", stdout: "pipe", stderr: "pipe" })
  running = child
  let expired = false
  const politely = setTimeout(() => {
    expired = true
    child.kill("SIGTERM")
  }, limitSeconds * 1000)
  const firmly = setTimeout(() => child.kill("SIGKILL"), (limitSeconds + KILL_AFTER_S) * 1000)
  const output = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  const exitCode = await child.exited
  clearTimeout(politely)
  clearTimeout(firmly)
  // A program it left behind may hold the pipes open.
  const texts = await Promise.race([output, Bun.sleep(2_000).then(() => ["(output lost)"])])
  const note = expired
    ? `stopped after its time limit of ${limitSeconds} s\n`
    : `exit code ${exitCode}\n`
  return { exitCode: expired ? 124 : exitCode, output: [...texts, note].join("") }
}

function testFiles(folder: string): string[] {
  return [...new Bun.Glob(`test/${folder}/**/*.test.ts`).scanSync(ROOT)].toSorted()
}

function crash(output: string): Outcome {
  return { passed: 0, failed: 1, skipped: 0, output }
}

function sum(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  }
}

function summary({ passed, failed, skipped }: Counts): string {
  const skips = skipped === 0 ? "" : `, ${skipped} skipped`
  return `${passed} passed, ${failed} failed${skips}`
}

function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

const ROOT = resolve(import.meta.dir, "..")
const CHECK_LIMIT_S = 180
const UNIT_LIMITS: Limits = { testSeconds: 10, fileSeconds: 300 }
const LAB_LIMITS: Limits = { testSeconds: 60, fileSeconds: 240 }
const KILL_AFTER_S = 10
const NAME_COLUMNS = 36
/** More files than these at fault are no accident. */
const SECOND_ATTEMPTS = 3

let secondAttempts = 0
let running: Bun.Subprocess | undefined

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      running?.kill(signal)
      process.exit(130)
    })
  }
  process.exit(await main(process.argv.slice(2)))
}
