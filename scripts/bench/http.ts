/**
 * The HTTP part: a host and two path prefixes routed to two pools, through HAProxy, nginx and
 * Causeway, in plain text and in TLS.
 *
 * Memory first, on fresh processes; then, with all three running, equal answers are asserted, the
 * timed cases take their rounds, and at last system calls are counted in an untimed pass.
 */
import { type Arena, arenaPids } from "./arena.ts"
import { COLUMNS, type Configurations, type Contender, startContender } from "./contender.ts"
import { Disturbance } from "./disturbance.ts"
import { httpCases, httpEntrantsOf, httpLoads, requestText } from "./http-cases.ts"
import { httpConfigurations, httpEndpointOf } from "./http-configurations.ts"
import {
  HTTP_BODY_PATH,
  HTTP_ECHO_PATH,
  HTTP_HOST,
  HTTP_POOLS,
  HTTP_SMALL_PATH,
  startHttpOrigin,
} from "./http-origin.ts"
import { measureMemory } from "./memory.ts"
import type { PartResult } from "./report.ts"
import { type Entrant, runRounds } from "./rounds.ts"
import type { Settings } from "./settings.ts"
import { measureSlowHeads } from "./slow-heads.ts"
import { countSyscalls, describeSyscalls } from "./syscalls.ts"

export async function runHttpPart(
  arena: Arena,
  settings: Settings,
  say: (line: string) => void,
): Promise<PartResult> {
  const origin = await startHttpOrigin(arena)
  const configurations = await httpConfigurations(arena.edge)
  say("http: memory of idle connections")
  const memory = await measureMemory(arena, settings, {
    id: "http",
    configurations,
    targetOf: (column) => httpEndpointOf(column, "plain"),
    load: { host: HTTP_HOST, path: HTTP_SMALL_PATH },
    request: requestText(),
    growthTarget: { ratioMax: 0.5, peer: "haproxy" },
  })
  say("http: slow heads")
  const figures = await measureSlowHeads(arena, settings, configurations)
  const contenders = await startAll(arena, configurations)
  await assertEqualAnswers(arena, contenders)
  const { cases, pacedRate } = httpCases(arena, contenders, settings)
  const disturbance = new Disturbance(() => arenaPids(arena), 1000 * settings.patienceSeconds)
  await runRounds(cases, settings, disturbance, (round) =>
    say(round < 0 ? "http: warming up" : `http: round ${round + 1} of ${settings.rounds}`),
  )
  say("http: counting system calls")
  const notes = [
    `fixed rate: ${pacedRate()} requests/s`,
    disturbance.describe(),
    ...(await syscallNotes(arena, contenders, settings)),
  ]
  for (const contender of contenders) await contender.stop()
  await origin.stop()
  const rows = [...cases.flatMap((each) => each.rows), ...memory]
  return { title: "http", rows, figures, notes }
}

async function startAll(
  { edge }: Arena,
  configurations: Configurations,
): Promise<readonly Contender[]> {
  const contenders: Contender[] = []
  for (const column of COLUMNS) {
    contenders.push(await startContender(edge, column, configurations))
  }
  return contenders
}

/** Status and body of every kind of request are the same through all, routes not matched too. */
async function assertEqualAnswers(arena: Arena, contenders: readonly Contender[]): Promise<void> {
  for (const scheme of ["http", "https"] as const) {
    const entrants = httpEntrantsOf(contenders, scheme === "http" ? "plain" : "tls")
    const tuned = scheme === "http" ? httpEntrantsOf(contenders, "tuned") : []
    const answers: { readonly who: string; readonly text: string }[] = []
    for (const { contender, target, label } of [...entrants, ...tuned]) {
      const port = target.split(":")[1] ?? ""
      const output = await arena.client.exec(["bash", "-c", questions(scheme, target)])
      const text = output.replaceAll(` ${port} `, " PORT ")
      answers.push({ who: `${contender.column} ${label}`, text })
    }
    const [first] = answers
    for (const { who, text } of answers) {
      if (text !== first?.text) throw new Error(`${who} answers\n${text}\nnot\n${first?.text}`)
    }
    const names = HTTP_POOLS.map(({ name }) => `hello of ${name}\n`)
    if (!names.every((name) => first?.text.includes(name))) throw new Error(first?.text)
  }
}

function questions(scheme: "http" | "https", target: string): string {
  const [address, port] = target.split(":")
  const base = `${scheme}://${HTTP_HOST}:${port}`
  const curl = `curl -sSk --resolve ${HTTP_HOST}:${port}:${address} -H 'Host: ${HTTP_HOST}'`
  const facts = "--write-out '%{http_code} %{content_type} %{size_download}\\n'"
  return [
    ...HTTP_POOLS.map(({ prefix }) => `${curl} ${facts} ${base}${prefix}/small`),
    `${curl} -H 'X-Forwarded-For: 192.0.2.1' ${base}${HTTP_ECHO_PATH}`,
    `${curl} ${base}${HTTP_BODY_PATH} | sha256sum`,
    `${curl} --tls-max 1.3 -o /dev/null --write-out '%{ssl_verify_result}\\n' ${base}/api/v1/small`,
  ].join("\n")
}

async function syscallNotes(
  arena: Arena,
  contenders: readonly Contender[],
  settings: Settings,
): Promise<string[]> {
  const notes: string[] = []
  const loads = httpLoads(arena, { ...settings, loadSeconds: 1 })
  for (const [what, service, load] of [
    ["request", "plain", loads.keepAlive],
    ["connection", "plain", loads.connections],
    ["request over TLS", "tls", loads.tlsKeepAlive],
    ["TLS handshake", "tls", loads.handshakes],
  ] as const) {
    notes.push(`system calls per ${what}`)
    for (const entrant of httpEntrantsOf(contenders, service)) {
      notes.push(await describe(arena, entrant, load))
    }
  }
  return notes
}

async function describe(
  { edge }: Arena,
  entrant: Entrant,
  load: (entrant: Entrant) => Promise<{ readonly requests: number }>,
): Promise<string> {
  const { column, pids } = entrant.contender
  let requests = 0
  const counts = await countSyscalls(edge, pids, async () => {
    requests = (await load(entrant)).requests
  })
  return `  ${column.padEnd(10)}${describeSyscalls(counts, requests)}`
}
