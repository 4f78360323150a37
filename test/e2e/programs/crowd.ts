/**
 * A crowd of clients in one program: opens many connections, behaves on each as told, and keeps the
 * books of who was cut off, when and how. Runs as a program of its own inside a host (see
 * `crowd.ts` above), with its own limit of descriptors.
 *
 * Prints one JSON object a line. SIGUSR1 asks every open connection for an echo and prints how many
 * answered; SIGUSR2 resets every open connection; SIGTERM ends it with its report.
 */
import { connect, type Socket } from "node:net"
import { epochMs } from "../../lab/wait.ts"

export interface CrowdOptions {
  readonly host: string
  readonly port: number
  readonly connections: number
  /**
   * talk: sends a line every `intervalMs` and waits for its echo; idle: says nothing; stall: never
   * reads; pour: sends without end, and reads.
   */
  readonly behaviour: "talk" | "idle" | "stall" | "pour"
  readonly intervalMs: number
  /** Local addresses, used in turn; empty: the kernel's choice. */
  readonly sources: readonly string[]
  /** Connections being opened at the same time. */
  readonly openingMax: number
  /** Silence of a talker longer than this is its end. */
  readonly patienceMs: number
}

/** How a connection came to its end. */
export interface CrowdEnd {
  readonly index: number
  /** Wall-clock milliseconds. */
  readonly atMs: number
  /** From when it was opened, or began to be. */
  readonly afterMs: number
  /**
   * `closed` (FIN), `silent`, or an error's code; before it was established with "connect " before.
   */
  readonly how: string
  readonly echoes: number
}

export interface CrowdReport {
  readonly established: number
  readonly open: number
  /** The first of those that ended. */
  readonly ends: readonly CrowdEnd[]
  readonly ended: number
  readonly echoes: number
  /** The longest a connection that is still open has waited for an echo. */
  readonly longestEchoMs: number
  readonly receivedBytes: number
}

class Member {
  readonly #crowd: Crowd
  readonly #index: number
  readonly #socket: Socket
  readonly #startedAtMs = epochMs()
  #isEstablished = false
  #isOver = false
  #saidAtMs = 0
  #timer: Timer | undefined
  echoes = 0
  longestEchoMs = 0
  receivedBytes = 0

  constructor(crowd: Crowd, index: number, localAddress: string | undefined) {
    const { host, port } = crowd.options
    this.#crowd = crowd
    this.#index = index
    this.#socket = connect({
      host,
      port,
      ...(localAddress === undefined ? {} : { localAddress }),
    })
    this.#socket.on("connect", () => this.#begin())
    this.#socket.on("data", (chunk) => this.#hear(chunk))
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#end(error.code ?? "error"))
    this.#socket.on("close", () => this.#end("closed"))
  }

  get isOpen(): boolean {
    return this.#isEstablished && !this.#isOver
  }

  say(): void {
    this.#saidAtMs = epochMs()
    this.#socket.write(LINE)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#end("silent"), this.#crowd.options.patienceMs)
  }

  reset(): void {
    this.#isOver = true
    this.#socket.resetAndDestroy()
  }

  #begin(): void {
    this.#isEstablished = true
    this.#crowd.opened()
    const { behaviour } = this.#crowd.options
    if (behaviour === "talk") this.say()
    if (behaviour === "stall") this.#socket.pause()
    if (behaviour === "pour") {
      const pour = () => {
        while (!this.#isOver && this.#socket.write(POUR));
      }
      this.#socket.on("drain", pour)
      pour()
    }
  }

  /** The greeting comes first, and an echo ends as the line did. */
  #hear(chunk: Buffer | string): void {
    this.receivedBytes += chunk.length
    if (this.#saidAtMs === 0 || !chunk.toString().endsWith(LINE)) return
    const tookMs = epochMs() - this.#saidAtMs
    this.#saidAtMs = 0
    this.longestEchoMs = Math.max(this.longestEchoMs, tookMs)
    this.echoes += 1
    clearTimeout(this.#timer)
    const { behaviour, intervalMs } = this.#crowd.options
    if (behaviour === "talk") this.#timer = setTimeout(() => this.say(), intervalMs)
  }

  #end(how: string): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#socket.destroy()
    const atMs = epochMs()
    this.#crowd.ended({
      index: this.#index,
      atMs,
      afterMs: atMs - this.#startedAtMs,
      how: this.#isEstablished ? how : `connect ${how}`,
      echoes: this.echoes,
    })
    if (!this.#isEstablished) this.#crowd.opened()
  }
}

class Crowd {
  readonly options: CrowdOptions
  readonly #members: Member[] = []
  readonly #ends: CrowdEnd[] = []
  #opening = 0
  #ended = 0
  #refused = 0

  constructor(options: CrowdOptions) {
    this.options = options
    this.#openMore()
  }

  opened(): void {
    this.#opening -= 1
    this.#openMore()
  }

  ended(end: CrowdEnd): void {
    this.#ended += 1
    if (end.how.startsWith("connect ")) this.#refused += 1
    if (this.#ends.length >= ENDS_LISTED_MAX) return
    this.#ends.push(end)
    print({ end })
  }

  report(): CrowdReport {
    const open = this.#members.filter((member) => member.isOpen)
    const sum = (count: (member: Member) => number) =>
      this.#members.reduce((total, member) => total + count(member), 0)
    return {
      established: open.length + this.#ended - this.#refused,
      open: open.length,
      ends: this.#ends,
      ended: this.#ended,
      echoes: sum(({ echoes }) => echoes),
      longestEchoMs: Math.max(0, ...open.map(({ longestEchoMs }) => longestEchoMs)),
      receivedBytes: sum(({ receivedBytes }) => receivedBytes),
    }
  }

  /** All at once; prints how many had answered when the last did, or patience ended. */
  ask(): void {
    const open = this.#members.filter((member) => member.isOpen)
    const before = open.map(({ echoes }) => echoes)
    for (const member of open) member.say()
    const giveUpAt = epochMs() + this.options.patienceMs
    const look = setInterval(() => {
      const answered = open.filter(({ echoes }, at) => echoes > (before[at] ?? 0)).length
      if (answered < open.length && epochMs() < giveUpAt) return
      clearInterval(look)
      print({ asked: { open: open.length, answered } })
    }, 20)
  }

  resetAll(): void {
    for (const member of this.#members) if (member.isOpen) member.reset()
    print({ reset: true })
  }

  #openMore(): void {
    const { connections, openingMax, sources } = this.options
    while (this.#opening < openingMax && this.#members.length < connections) {
      this.#opening += 1
      const index = this.#members.length
      this.#members.push(new Member(this, index, sources[index % sources.length]))
    }
    if (this.#opening === 0) print({ assembled: this.report().open })
  }
}

function main(options: CrowdOptions): void {
  const crowd = new Crowd(options)
  // A program whose sockets are paused or closed would end.
  setInterval(() => {}, 60_000)
  process.on("SIGUSR1", () => crowd.ask())
  process.on("SIGUSR2", () => crowd.resetAll())
  process.on("SIGTERM", () => {
    print({ report: crowd.report() })
    process.exit(0)
  })
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const ENDS_LISTED_MAX = 1_000
const LINE = "a line of the crowd\n"
const POUR = Buffer.alloc(64 * 1024)

if (import.meta.main) main(JSON.parse(process.argv[2] ?? "{}"))
