/**
 * `causeway route HOST PATH`: which route would answer a request, and why. The request is written
 * as bytes and read by the parser of the data path, so that the answer is what a client would
 * get.
 */

import { formatDiagnostics } from "../config/diagnostic.ts"
import type { HttpConfig, RouteConfig } from "../config/http-config.ts"
import { loadConfig } from "../config/load.ts"
import { policiesOf } from "../config/plan-http.ts"
import { RequestHead } from "../http/head.ts"
import { type Explanation, RouteTable } from "../http/route-table.ts"
import type { Address } from "../net/address.ts"
import { CommandFailure, type CommandInput } from "./command.ts"
import { printable, printError, printLine } from "./output.ts"

export async function route(input: CommandInput): Promise<number> {
  const loaded = loadConfig(input.configPath)
  if (!loaded.ok) {
    printError(formatDiagnostics(loaded.diagnostics))
    return 1
  }
  const { http } = loaded.config
  if (http.length === 0) throw new CommandFailure(`there is no [[http]] in ${input.configPath}`)
  const answers = http.map((listener) => explain(listener, input))
  if (input.json) printLine(JSON.stringify(answers.map(answerJson), undefined, 2))
  else for (const line of answers.flatMap(formatAnswer)) printLine(printable(line))
  return answers.some(isAnswered) ? 0 : 1
}

export interface Answer extends Explanation {
  readonly listener: HttpConfig
}

export type Request = Pick<CommandInput, "words" | "method" | "headers" | "tls">

/** What one listener would do. Throws `CommandFailure` for what is no request. */
export function explain(listener: HttpConfig, request: Request): Answer {
  const table = RouteTable.compile({ http: listener, rows: [] })
  const { tls } = request
  const port = listener.bind.find((bind) => bind.tls === tls)?.endpoint.port ?? (tls ? 443 : 80)
  const origin = { client: LOCAL, isTls: tls, port, isTrusted: false, trusts: () => false }
  return { listener, ...table.explain(requestHead(request), origin) }
}

function requestHead({ words, method, headers }: Request): RequestHead {
  const [host = "", path = ""] = words
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...headers, "", ""]
  const bytes = Buffer.from(lines.join("\r\n"), "utf8")
  const head = new RequestHead()
  const result = head.parse(bytes, 0, bytes.length, LIMITS)
  if (result === "complete") return head
  throw new CommandFailure(`an edge would refuse this request: ${result}`)
}

/** By a route, or by the redirect of plain requests to TLS. */
function isAnswered({ route, decision }: Answer): boolean {
  return route !== undefined || decision.type === "forward" || decision.status < 400
}

export function formatAnswer(answer: Answer): string[] {
  const { listener, route, passedOver } = answer
  const config = configOf(answer)
  return [
    `http ${listener.name}: ${route === undefined ? "no route" : `route ${route}`}`,
    ...(config === undefined ? [] : [`    because ${reasonOf(config)}`]),
    ...passedOver.map((each) => `    passed over ${each.route}: ${each.because}`),
    `    ${outcomeOf(answer)}`,
    ...(config === undefined ? [] : policiesOf(config).map((policy) => `    ${policy}`)),
  ]
}

function configOf({ listener, route }: Answer): RouteConfig | undefined {
  return listener.routes.find(({ name }) => name === route)
}

function reasonOf({ host, path, match }: RouteConfig): string {
  const byHost = host === "" ? "it is for any host" : `the host is ${host}`
  return `${byHost} and the path ${MATCHES[match]} ${path}`
}

function outcomeOf({ path, decision }: Answer): string {
  if (decision.type === "forward") {
    const { pool, target } = decision
    return `to pool ${pool} as ${target ?? path}`
  }
  const location = /^location: (.*)\r\n/im.exec(decision.fields)?.[1]
  if (location !== undefined) return `${decision.status} to ${location}`
  const detail = decision.route === undefined ? `: ${decision.body.trim()}` : ""
  return `answered with ${decision.status}${detail}`
}

function answerJson(answer: Answer) {
  const { listener, path, route, passedOver, decision } = answer
  return {
    http: listener.name,
    route: route ?? null,
    path,
    passed_over: passedOver,
    ...(decision.type === "forward"
      ? { pool: decision.pool, target: decision.target ?? null }
      : { status: decision.status }),
  }
}

const MATCHES = { prefix: "begins with", exact: "is", regex: "matches" } as const
const LOCAL = "127.0.0.1" as Address
const LIMITS = { headBytesMax: 64 * 1024, fieldsMax: 128 }
