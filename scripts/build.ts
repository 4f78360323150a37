/**
 * Makes dist/causeway, one executable with Bun and everything of ours inside; with `--all` also
 * dist/causeway-arm64 (Bun fetches that platform's runtime from the package registry once).
 *
 * - Each thread's entry is named on the command line. One that is not would be loaded from the path
 *   of its source on the building machine, and work there alone (see src/daemon/worker-entry.ts).
 * - `main.ts` comes first: the first entry is what the executable starts.
 * - `--format=esm`: as CommonJS, which is what `--bytecode` alone chooses, no module may await.
 * - The two `--no-compile-autoload` flags keep the executable from running a bunfig.toml preload or
 *   reading .env in whatever directory root starts it in.
 * - `Bun.isStandaloneExecutable` becomes the constant `true`, so that branches for running from
 *   source go, and the paths of the building machine with them.
 */
import { mkdtempSync, renameSync, rmSync, statSync } from "node:fs"
import { join, resolve } from "node:path"
import packageJson from "../package.json" with { type: "json" }

export interface BuiltFile {
  readonly path: string
  readonly bytes: number
}

/** Builds for this machine's processor, or for the one given. Throws with the bundler's words. */
export async function build(architecture?: "arm64" | "x64"): Promise<BuiltFile> {
  const name = architecture === undefined ? "causeway" : `causeway-${architecture}`
  const path = join(ROOT, "dist", name)
  await Bun.$`mkdir -p ${join(ROOT, "dist")}`.quiet()
  // Beside the target, then moved over it: a running executable cannot be written to, and whoever
  // starts it meanwhile gets the old one or the new one.
  const directory = mkdtempSync(join(ROOT, "dist", ".build-"))
  try {
    await compile(join(directory, "causeway"), architecture)
    renameSync(join(directory, "causeway"), path)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  return { path, bytes: statSync(path).size }
}

/** The commit the source is at; "-dirty" when what goes into the executable differs from it. */
export async function commitId(): Promise<string> {
  const commit = await Bun.$`git rev-parse --short=12 HEAD`.cwd(ROOT).quiet().nothrow().text()
  if (commit === "") return "unknown"
  const inputs = ["src", "package.json", "package-lock.json"]
  const changes = await Bun.$`git status --porcelain -- ${inputs}`.cwd(ROOT).quiet().text()
  return changes === "" ? commit.trim() : `${commit.trim()}-dirty`
}

async function compile(outfile: string, architecture: string | undefined): Promise<void> {
  const target = architecture === undefined ? [] : [`--target=bun-linux-${architecture}`]
  const argv = [process.execPath, "build", "--compile", ...FORMAT, ...target]
  const defines = Object.entries({
    "Bun.isStandaloneExecutable": "true",
    CAUSEWAY_VERSION: JSON.stringify(packageJson.version),
    CAUSEWAY_COMMIT: JSON.stringify(await commitId()),
  }).flatMap(([name, value]) => ["--define", `${name}=${value}`])
  const child = Bun.spawn(
    [...argv, ...AUTOLOAD_OFF, ...defines, ...ENTRIES, "--outfile", outfile],
    {
      cwd: ROOT,
      stdout: "pipe",
      stderr: "pipe",
    },
  )
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (exitCode !== 0) throw new Error(`bun build failed\n${stdout}${stderr}`)
}

async function main(words: readonly string[]): Promise<void> {
  const [word] = words
  if (word !== undefined && word !== "--all") throw new Error("usage: build.ts [--all]")
  const other = process.arch === "arm64" ? "x64" : "arm64"
  const architectures = word === "--all" ? [undefined, other] : [undefined]
  for (const architecture of architectures as (undefined | "arm64" | "x64")[]) {
    const { path, bytes } = await build(architecture)
    const label = `${packageJson.version} (${await commitId()})`
    const size = `${(bytes / 1024 / 1024).toFixed(1)} MiB`
    process.stdout.write(`${path.slice(ROOT.length + 1)}  ${label}  ${size}\n`)
  }
}

const ROOT = resolve(import.meta.dir, "..")
/** The threads' entries sit where `workerEntry()` looks for them. */
const ENTRIES = ["src/main.ts", "src/vrrp/thread.ts", "src/dataplane/thread.ts"]
const FORMAT = ["--minify", "--bytecode", "--format=esm"]
const AUTOLOAD_OFF = ["--no-compile-autoload-bunfig", "--no-compile-autoload-dotenv"]

if (import.meta.main) {
  await main(process.argv.slice(2)).catch((error: Error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  })
}
