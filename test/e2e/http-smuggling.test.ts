/**
 * The table of smuggling and malformed cases through the compiled binary, with HAProxy and nginx as
 * referees: behind it (what we send on must mean to them what it means to us) and in its place (a
 * request that we accept must not mean anything else to both of them).
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { SMUGGLING_CASES, type SmugglingCase } from "../../src/http/fixtures/smuggling-cases.ts"
import { startEdge } from "../lab/edge.ts"
import { startHaproxy } from "../lab/haproxy.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import { startNginx } from "../lab/nginx.ts"
import { report } from "../lab/report.ts"
import type { Played } from "./programs/smuggling-player.ts"
import { nth } from "./stage.ts"

/** Front port and the port of the server behind; all on loopback in a namespace. */
const CHAINS = {
  edge: [8001, 9001],
  "edge, then HAProxy": [8002, 9002],
  "edge, then nginx": [8003, 9003],
  HAProxy: [8104, 9004],
  nginx: [8105, 9005],
} as const
type Chain = keyof typeof CHAINS

let lab: Lab
let played: ReadonlyMap<Chain, readonly Played[]>

beforeAll(async () => {
  lab = await createLab("smuggling")
  const host = await lab.host("edge")
  await startHaproxy(host, HAPROXY)
  await startNginx(host, { http: NGINX })
  await startEdge(host, EDGE)
  const program = `${import.meta.dir}/programs/smuggling-player.ts`
  const chains = Object.values(CHAINS).map((ports) => ports.join("="))
  const output = await host.exec([process.execPath, program, ...chains], { timeoutMs: 170_000 })
  const results = JSON.parse(nth(output.trim().split("\n"), -1)) as Played[][]
  played = new Map(Object.keys(CHAINS).map((name, at) => [name as Chain, nth(results, at)]))
}, 180_000)

afterAll(() => lab?.close())

function outcome(chain: Chain, index: number): Played {
  return nth(played.get(chain) ?? [], index)
}

for (const [index, each] of SMUGGLING_CASES.entries()) {
  test(each.name, () => {
    expectOurs(each, outcome("edge", index))
    for (const chain of ["edge, then HAProxy", "edge, then nginx"] as const) {
      expectSameMeaning(each, outcome(chain, index))
    }
    expectNoOtherMeaning(each, [outcome("HAProxy", index), outcome("nginx", index)])
  })
}

/** What the table says, and nothing that the server behind could read in another way. */
function expectOurs(each: SmugglingCase, { answers, reaches, hosts, problems }: Played): void {
  expect(problems).toEqual([])
  expect({ answers, reaches }).toEqual({ answers: [...each.answers], reaches: [...each.reaches] })
  expect(hosts).toEqual(reaches.length === 0 ? [] : ["a"])
}

/** A proxy behind us may refuse what we send on, but not take it for something else. */
function expectSameMeaning(each: SmugglingCase, { answers, reaches, problems }: Played): void {
  expect(problems).toEqual([])
  const refusals = answers.filter((status) => status !== 200).length
  const ours = each.answers.filter((status) => status !== 200).length
  if (refusals === ours) expect(reaches).toEqual([...each.reaches])
  else expect(each.reaches).toEqual(expect.arrayContaining([...reaches]))
}

/** Where both referees agree with each other on what an accepted case means, we agree, too. */
function expectNoOtherMeaning(each: SmugglingCase, referees: readonly Played[]): void {
  if (each.answers.some((status) => status !== 200)) return
  const [one, other] = referees.map(({ reaches }) => JSON.stringify(reaches))
  if (one === other && one !== "[]") expect(one).toBe(JSON.stringify(each.reaches))
}

describe("the referees", () => {
  test("let through what we refuse", () => {
    const differences = (chain: Chain) => {
      const results = SMUGGLING_CASES.map((each, index) => [each, outcome(chain, index)] as const)
      const accepted = results.filter(([each]) => each.answers.every((status) => status === 200))
      const agreed = accepted.filter(([each, { reaches }]) => Bun.deepEquals(each.reaches, reaches))
      const passed = results.filter(([each, { reaches }]) => reaches.length > each.reaches.length)
      const ambiguous = results.filter(([, { problems }]) => problems.length > 0)
      return {
        cases: results.length,
        "accepted by us": accepted.length,
        "of it read alike": agreed.length,
        "refused by us and passed on": passed.length,
        "passed on in a form that the strict server refuses": ambiguous.length,
      }
    }
    for (const chain of ["HAProxy", "nginx"] as const) {
      report(`smuggling cases: ${chain} beside us`, differences(chain))
    }
    expect(played.get("edge")?.flatMap(({ problems }) => problems)).toEqual([])
  })
})

const EDGE = `
${[1, 2, 3]
  .map(
    (number) => `
[[pool]]
name = "p${number}"
servers = ["127.0.0.1:${number === 1 ? 9001 : 8100 + number}"]

[[http]]
name = "h${number}"
bind = ["127.0.0.1:${8000 + number}"]

[[http.route]]
pool = "p${number}"
`,
  )
  .join("")}
[node]
threads = 1
`

const HAPROXY = `
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  http-reuse safe
  option http-keep-alive
frontend f2
  bind 127.0.0.1:8102
  default_backend b2
backend b2
  server s 127.0.0.1:9002
frontend f4
  bind 127.0.0.1:8104
  default_backend b4
backend b4
  server s 127.0.0.1:9004
`

const NGINX = [
  [8103, 9003],
  [8105, 9005],
]
  .map(
    ([front, server]) => `
  upstream u${front} { server 127.0.0.1:${server}; keepalive 8; }
  server {
    listen 127.0.0.1:${front};
    location / {
      proxy_pass http://u${front};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }
  }`,
  )
  .join("")
