/**
 * README.md, followed to the letter: its commands are typed on two VMs with a systemd each, its
 * configuration is theirs, what it shows is compared with what there is to see, and what it says of
 * troubles is provoked.
 *
 * Where the lab has no part for a command, a local one takes its place (`typedOn`): `scp` is `cp`
 * and `ssh` nothing, as all VMs share one machine's files. `npm` is not run: that its script exists
 * is all that is asked here, as `npm test` is what runs this, and `demo.test.ts` is `npm start`.
 *
 * File time limit: 300 s
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { defaultBinary } from "../lab/edge.ts"
import { execCommand, runCommand } from "../lab/process.ts"
import { canRunSystemd } from "../lab/systemd.ts"
import { eventually } from "../lab/wait.ts"
import { startConnectors, startSessions } from "./mysql-clients.ts"
import { codeSpans, MarkdownDocument } from "./readme-document.ts"
import {
  CONFIG_PATH,
  createPair,
  type ReadmePair,
  VIRTUAL_ADDRESS,
  type Vm,
} from "./readme-pair.ts"
import { SYMPTOMS } from "./readme-symptoms.ts"

const ROOT = resolve(import.meta.dir, "../..")
const [BINARY = ""] = defaultBinary()
const README = new MarkdownDocument(readFileSync(join(ROOT, "README.md"), "utf8"))
const REFERENCE = readFileSync(join(ROOT, "config/reference.toml"), "utf8")

describe("what it names exists", () => {
  const typed = [...README.lines("sh"), ...README.codeSpans]

  test.each(README.links.filter((link) => !link.startsWith("http")))("link %s", (link) => {
    const exists = link.startsWith("#") ? README.anchors.includes(link) : isFile(link)
    expect(exists).toBe(true)
  })

  test.each(unique(typed.flatMap((text) => /^npm (?:run )?([\w:]+)/.exec(text)?.[1] ?? [])))(
    "npm run %s",
    (name) => {
      const script = Object.entries(packageJson.scripts).find(([each]) => each === name)?.[1] ?? ""
      const files = script.split(" ").filter((word) => word.startsWith("scripts/"))
      expect(files).not.toBeEmpty()
      expect(files.filter((file) => !isFile(file))).toEqual([])
    },
  )

  test.each(unique(typed.flatMap((text) => /(?:^| )causeway ([a-z]+)/.exec(text)?.[1] ?? [])))(
    "causeway %s",
    async (command) => {
      const isPlanned = README.prose.includes(`\`causeway ${command}\` of existing configurations`)
      const { exitCode } = await runCommand([BINARY, "help", command])
      expect(exitCode).toBe(isPlanned ? 2 : 0)
    },
  )

  test.each(
    unique(README.codeSpans.flatMap((span) => /^[a-z]+_[a-z_]+$|^\w+ = .*$/.exec(span) ?? [])),
  )("key %s", (text) => {
    const [key = "", value = ""] = text.split(" = ")
    const line = REFERENCE.split("\n").find((each) =>
      each.replace(/^#? */, "").startsWith(`${key} = `),
    )
    expect(line).toBeDefined()
    if (value.startsWith('"')) expect(REFERENCE).toContain(value.replaceAll('"', ""))
  })
})

test("the route that it asks about is in the example that it names", async () => {
  const command = README.codeSpans.find((span) => span.startsWith("causeway route ")) ?? ""
  const folder = mkdtempSync(join(tmpdir(), "causeway-readme-"))
  const example = readFileSync(join(ROOT, "config/examples/http-routes.toml"), "utf8")
  writeFileSync(join(folder, "c.toml"), example.replaceAll("/etc/causeway/tls/", `${folder}/`))
  const pair = ["-keyout", join(folder, "k8s.com.key"), "-out", join(folder, "k8s.com.crt")]
  await execCommand([...SELF_SIGNED, "-subj", "/CN=k8s.com", ...pair])
  const words = command.split(" ").slice(1)
  const result = await runCommand([BINARY, ...words, "-c", join(folder, "c.toml")])
  rmSync(folder, { recursive: true })
  expect(result).toMatchObject({ exitCode: 0, stderr: "" })
  expect(result.stdout).toContain("to pool apiv1 as /items\n")
})

describe.each(["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])("%s", (name) => {
  const page = new MarkdownDocument(readFileSync(join(ROOT, name), "utf8"))
  const files = [...new Bun.Glob("{src,test,config,scripts}/**").scanSync(ROOT)]

  test("links to what exists", () => {
    expect(page.links.filter((link) => !isFile(link))).toEqual([])
  })

  test("names files and folders that exist", () => {
    const paths = page.codeSpans.flatMap(
      (span) => span.match(/^[\w./-]*(?:\/|\.(?:ts|toml))$/) ?? [],
    )
    const planned = ["src/http/", "src/tls/", "src/kubernetes/"]
    const known = [...planned, ...files].map((file) => `/${file}`)
    const exists = (path: string) =>
      path.endsWith("/")
        ? known.some((file) => file.includes(`/${path}`))
        : known.some((file) => file.endsWith(`/${path}`))
    const real = paths.filter((path) => !/NAME/.test(path))
    expect(real.filter((path) => !exists(path))).toEqual([])
  })

  test("names scripts that exist", () => {
    const text = [page.prose, ...page.blocks.map((block) => block.text)].join("\n")
    const named = unique(
      [...text.matchAll(/\bnpm run (\w+(?::\w+)*)/g)].map(([, script = ""]) => script),
    )
    expect(named.filter((script) => !Object.keys(packageJson.scripts).includes(script))).toEqual([])
  })
})

describe.skipIf(!canRunSystemd())("whoever follows it", () => {
  let pair: ReadmePair

  beforeAll(async () => {
    pair = await createPair("readme")
  }, 90_000)

  afterAll(() => pair?.[Symbol.asyncDispose]())

  const steps = README.blocks.map((block, index) => [firstLine(block.text), index] as const)

  test.each(steps.filter(([, index]) => README.blocks[index]?.language !== ""))(
    "%s",
    async (_title, index) => {
      const { language, text } = README.blocks[index] ?? { language: "", text: "" }
      if (language === "sh") for (const line of text.trim().split("\n")) await follow(line)
      if (language === "toml") await configure(text)
      if (text === "causeway status\n") await compareStatus(README.blocks[index + 1]?.text ?? "")
    },
    60_000,
  )

  /** On each VM. */
  async function follow(line: string): Promise<void> {
    for (const vm of pair.vms) {
      const output = await vm.typed(typedOn(vm, line))
      if (line === "causeway check") expect(output).toContain(`${CONFIG_PATH}: no errors\n`)
    }
  }

  /** "On edge-b the same with `priority = 90`"; what has an [admin] is the instance's. */
  async function configure(toml: string): Promise<void> {
    expect(README.prose).toContain("on edge-b the same with `priority = 90`")
    if (/^\[admin\]/m.test(toml)) return pair.edgeA.write("/etc/causeway/mysql.toml", toml)
    for (const vm of pair.vms)
      expect(await vm.typed(`stat -c %a:%G ${CONFIG_PATH}`)).toBe("640:causeway\n")
    await pair.edgeA.write(CONFIG_PATH, toml)
    await pair.edgeB.write(CONFIG_PATH, toml.replace("priority = 100", "priority = 90"))
  }

  /** With some sessions open, as in the README. */
  async function compareStatus(shown: string): Promise<void> {
    await pair.settled()
    const sessions = startSessions(pair.client, `${VIRTUAL_ADDRESS}:3306`, 3)
    const asked = () => sessions.queriesByClient.every((queries) => queries.length > 10)
    await eventually(asked, { what: "queries", timeoutMs: 30_000 })
    const seen = await pair.edgeA.typed("causeway status")
    await sessions.stop()
    expect(sessions.queries.every(({ ok }) => ok)).toBe(true)
    if (shape(shown) !== shape(seen)) process.stdout.write(`causeway status shows:\n${seen}`)
    expect(shape(shown)).toBe(shape(seen))
  }

  test("and tries it sees the other edge take over, and the first come back", async () => {
    for (const command of ["stop", "start"]) {
      expect(README.codeSpans).toContain(`systemctl ${command} causeway`)
    }
    const clients = startConnectors(pair.client, `${VIRTUAL_ADDRESS}:3306`, 2)
    await pair.edgeA.typed("systemctl stop causeway")
    expect(await pair.edgeA.host.holds(VIRTUAL_ADDRESS)).toBe(false)
    await pair.edgeB.waitStatus(({ vrrp }) => vrrp[0]?.state === "active")
    const before = clients.queries.length
    const answers = () => clients.queries.slice(before).filter(({ ok }) => ok).length
    await eventually(() => answers() > 20, { what: "answers", timeoutMs: 30_000 })
    await pair.edgeA.typed("systemctl start causeway")
    await pair.settled()
    await clients.stop()
  }, 60_000)

  const rows = README.rows("Day to day").map(([task = "", way = ""]) => [task, way] as const)

  test.each(rows)(
    "day to day: %s",
    async (_task, way) => {
      let target = ""
      for (const span of codeSpans(way)) {
        target = /^causeway drain (\S+)$/.exec(span)?.[1] ?? target
        await tryOut(span.replace("…", target))
      }
      await pair.edgeA.typed("systemctl start causeway")
      await pair.settled()
    },
    40_000,
  )

  /** Throws when a thing is not to be had. */
  async function tryOut(span: string): Promise<void> {
    const vm = pair.edgeA
    const path = /^(?:http:\/\/127\.0\.0\.1:9180)?(\/v1\/.*|\/metrics|\/)$/.exec(span)?.[1]
    if (path !== undefined) return expectAnswer(path)
    if (span === "causeway status --watch") {
      await vm.typed(`timeout --preserve-status --signal INT 1 ${span}`)
    } else if (/^(causeway|systemctl) /.test(span)) await vm.typed(span)
    else if (!UNTRIED.includes(span))
      throw new Error(`The test does not know what to do with ${span}`)
  }

  async function expectAnswer(path: string): Promise<void> {
    const url = `http://127.0.0.1:9180${path}`
    // The stream of events never ends: its header is what counts.
    const { stdout } = await pair.edgeA.type(`curl -s -m 1 -o /dev/null -w '%{http_code}' ${url}`)
    expect(stdout).toBe("200")
  }

  test("and runs an instance for one component finds it beside the other", async () => {
    const command = README.codeSpans.find((span) => span.includes("causeway@")) ?? ""
    await pair.edgeA.typed(command)
    const output = await pair.edgeA.typed("causeway status -c /etc/causeway/mysql.toml")
    expect(output).toContain("edge-a  ready")
    await pair.edgeA.typed("systemctl disable --now causeway@mysql")
  })

  test("and looks up the other pictures of the status finds them", async () => {
    const paths = README.codeSpans.filter((span) => span.startsWith("/v1/"))
    for (const path of unique(paths)) await expectAnswer(path)
  })

  const symptoms = README.rows("When something is wrong").map(([seen = ""]) => [seen] as const)

  test.each(symptoms)(
    "in trouble: %s",
    async (seen) => {
      const known = SYMPTOMS.find(({ of }) => seen.includes(of))
      if (known === undefined) throw new Error("Nothing provokes it: add it to readme-symptoms.ts")
      const output = await known.provoke(pair)
      for (const span of codeSpans(seen)) {
        if (!/[ …]/.test(span) || /^\w+ = /.test(span) || span.startsWith("causeway ")) continue
        expect(output).toMatch(patternOf(span))
      }
    },
    40_000,
  )
})

/** What to type in the lab for a line of the README. */
function typedOn(vm: Vm, line: string): string {
  if (line.startsWith("npm ")) return "true"
  const copied = /^scp (\S+) root@edge-a:(\S+)$/.exec(line)
  if (copied !== null) return `cp ${BINARY} ${copied[2]} # ${copied[1]} on ${vm.name}`
  return line.replace(/^ssh root@edge-a /, "")
}

/** Columns, words and states; not the figures, which are never the same. */
function shape(status: string): string {
  return status
    .replace(/\d+\.\d+\.\d+-MariaDB\S*/g, "VERSION")
    .replace(/\b(\d+[dhms]( \d+[hms])?)\b/g, "AGE")
    .replace(/\b[\d.,]+ ([KMG]i)?B\b/g, "SIZE")
    .replace(/\b(?<!\.)\d[\d,]*\b(?![.:])/g, "N")
    .replace(/scheduling \w+/, "scheduling")
    .replace(/ +/g, " ")
    .trim()
}

/** A message as quoted: "…" stands for anything, an address for any. */
function patternOf(quoted: string): RegExp {
  const parts = quoted.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
  return new RegExp(parts.join(".*").replace(/\d+(\\\.\d+){3}(:\d+)?/g, "[\\d.:]+"))
}

function isFile(path: string): boolean {
  return existsSync(join(ROOT, path))
}

function firstLine(text: string): string {
  return text.split("\n")[0] ?? ""
}

function unique(list: readonly string[]): string[] {
  return [...new Set(list)]
}

const SELF_SIGNED = [
  "openssl",
  "req",
  "-x509",
  "-nodes",
  "-newkey",
  "ec",
  "-pkeyopt",
  "ec_paramgen_curve:P-256",
]

/** Not in the lab: another machine's terminal, a journal. */
const UNTRIED = [
  "ssh -L 9180:127.0.0.1:9180 root@edge-a",
  "journalctl -u causeway",
  'on_down = "close"',
]
