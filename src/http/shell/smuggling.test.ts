/**
 * The table of `fixtures/smuggling-cases.ts` against the drivers, whole and in pieces: our answers,
 * and what a strict server behind us makes of the very bytes that reach it.
 */
import { describe, expect, test } from "bun:test"
import { Harness, type Peer, type Server } from "../fixtures/harness.ts"
import { SMUGGLING_CASES, type SmugglingCase } from "../fixtures/smuggling-cases.ts"
import { type Reading, readRequests } from "../fixtures/strict-server.ts"
import { randomOf } from "../fixtures/transfer.ts"

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

/** A server that answers each request it understands, on any number of connections. */
class Recorder {
  readonly #server: Server
  readonly #peers: { readonly peer: Peer; raw: string; answered: number }[] = []

  constructor(server: Server) {
    this.#server = server
  }

  step(): void {
    const peer = this.#server.tryAccept()
    if (peer !== undefined) this.#peers.push({ peer, raw: "", answered: 0 })
    for (const each of this.#peers) {
      const { got } = each.peer
      if (got !== "") each.raw += each.peer.takeBytes(got.length)
      const { requests } = readRequests(each.raw)
      for (; each.answered < requests.length; each.answered++) {
        each.peer.send(requests[each.answered]?.line.startsWith("HEAD") ? OK : `${OK}ok`)
      }
    }
  }

  readings(): Reading[] {
    return this.#peers.map(({ raw }) => readRequests(raw))
  }
}

interface Outcome {
  readonly answers: number[]
  readonly reaches: string[]
  readonly problems: string[]
  readonly hosts: string[]
  /** Connections that the server was left on in the middle of a request. */
  readonly isClosed: boolean
}

/** Sends a case in pieces of the sizes that `size` gives, and lets all come of it that will. */
function play({ send, answers }: SmugglingCase, size: () => number): Outcome {
  const harness = new Harness()
  const server = harness.server()
  harness.pool([server.endpoint])
  const recorder = new Recorder(server)
  const client = harness.connect(harness.listen())
  const pass = () => {
    harness.pass(0)
    recorder.step()
  }
  for (let start = 0; start < send.length && client.ended === undefined; ) {
    const end = Math.min(send.length, start + size())
    try {
      client.send(send.slice(start, end))
    } catch {
      break // refused already
    }
    start = end
    pass()
  }
  harness.until("its answers", () => {
    recorder.step()
    return statusesOf(client.got).length >= answers.length || client.ended !== undefined
  })
  for (let quiet = 0; quiet < 6; quiet++) {
    harness.pass(quiet % 3 === 2 ? 1 : 0)
    recorder.step()
  }
  const readings = recorder.readings()
  const requests = readings.flatMap((reading) => reading.requests)
  const outcome = {
    answers: statusesOf(client.got),
    reaches: requests.map(({ line, body }) => `${line}${body === "" ? "" : ` ${body}`}`),
    problems: readings.flatMap(({ problem }) => problem ?? []),
    hosts: [...new Set(requests.map(({ host }) => host))],
    isClosed: client.ended !== undefined,
  }
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.close()).toEqual([])
  return outcome
}

function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
}

test("there are as many cases as there should be, each with a name", () => {
  expect(SMUGGLING_CASES.length).toBeGreaterThanOrEqual(120)
  expect(new Set(SMUGGLING_CASES.map(({ name }) => name)).size).toBe(SMUGGLING_CASES.length)
})

const WAYS: readonly (readonly [name: string, size: (send: string) => () => number])[] = [
  ["whole", (send) => () => send.length],
  // Long heads would take their time.
  ["a byte at a time", (send) => () => Math.ceil(send.length / 1000)],
  [
    "in random pieces",
    (send) => {
      const random = randomOf(send.length)
      return () => 1 + Math.floor(random() * (send.length / 3))
    },
  ],
]

for (const [way, size] of WAYS) {
  describe(`sent ${way}`, () => {
    for (const each of SMUGGLING_CASES) {
      test(each.name, () => {
        const { answers, reaches, problems, hosts, isClosed } = play(each, size(each.send))
        expect(problems).toEqual([])
        expect({ answers, reaches }).toEqual({
          answers: [...each.answers],
          reaches: [...each.reaches],
        })
        if (reaches.length > 0) expect(hosts).toEqual(["a"])
        expect(isClosed).toBe(!each.reaches.includes("GET /after"))
      })
    }
  })
}
