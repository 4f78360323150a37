/**
 * A program that sends requests at a fixed mean rate, at times drawn from a Poisson process, and
 * measures each from the moment it *should* have been sent. A slow answer therefore delays no later
 * request's clock: the coordinated omission of closed-loop tools, and of h2load's `--rps`, which
 * moreover sends in bursts 10 ms apart.
 *
 * It polls instead of sleeping, because a wake-up costs more than what is measured, and is to be
 * started as the least of all programs (SCHED_IDLE, by `chrt`), because it shares its core with the
 * origin. Where other programs share that core as well and it must come before them (SCHED_FIFO),
 * it sleeps by a timer of the kernel (`sleeps`).
 * Argument: a file with `PacedOptions` as JSON. Writes one line of JSON, `PacedResult`; one after
 * another until it is killed, if asked to go on (`again`).
 */
import { dlopen, type Pointer } from "bun:ffi"
import { writeSync } from "node:fs"
import { NativeBytes } from "../../src/linux/bytes.ts"
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, Epoll } from "../../src/linux/epoll.ts"
import { EAGAIN } from "../../src/linux/errno.ts"
import { encodeSockaddr } from "../../src/linux/sockaddr.ts"
import { receive, send, startConnect } from "../../src/linux/tcp.ts"
import { parseEndpoint } from "../../src/net/address.ts"
import { percentile } from "./statistics.ts"

export interface PacedOptions {
  /** ADDRESS:PORT */
  readonly target: string
  readonly connections: number
  readonly requestsPerSecond: number
  readonly requests: number
  /** Sent before, each time, at the same rate, and not counted. */
  readonly warmUpRequests: number
  /** One, or several in turn, whose answers have the same length. */
  readonly request: string | readonly string[]
  /** Same seed, same times. */
  readonly seed: number
  readonly sleeps?: boolean
  /** All of it once more, and so on. */
  readonly again?: boolean
}

/** Microseconds from the intended moment of sending to the end of the answer. */
export interface PacedResult {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

class PacedClient {
  readonly #epoll = new Epoll(256)
  readonly #requests: readonly NativeBytes[]
  readonly #timer: WakeUpTimer | undefined
  readonly #scratch = new NativeBytes(64 * 1024)
  readonly #nextGapNs: () => number
  readonly #total: number
  /** By descriptor: when its request should have left, and bytes of the answer still to come. */
  readonly #intendedNs: Float64Array
  readonly #missingBytes: Int32Array
  readonly #free: number[] = []
  /** Requests that found no free connection; their clock runs. */
  readonly #waitingNs: number[] = []
  readonly #latenciesNs: Float64Array
  #answerBytes = 0
  #turn = 0
  #sent = 0
  #answered = 0

  constructor(options: PacedOptions) {
    this.#total = options.warmUpRequests + options.requests
    this.#requests = [options.request].flat().map((text) => NativeBytes.of(Buffer.from(text)))
    this.#timer = options.sleeps === true ? new WakeUpTimer() : undefined
    if (this.#timer !== undefined) this.#epoll.add(this.#timer.descriptor, EPOLLIN | EPOLLET)
    this.#latenciesNs = new Float64Array(this.#total)
    this.#intendedNs = new Float64Array(FDS_MAX)
    this.#missingBytes = new Int32Array(FDS_MAX)
    this.#nextGapNs = exponentialGaps(1e9 / options.requestsPerSecond, options.seed)
  }

  /** Opens the connections and learns from one answer each how long answers are. */
  connect(target: string, connections: number): void {
    const endpoint = parseEndpoint(target)
    if (endpoint === undefined) throw new Error(`Not an endpoint: ${target}`)
    const sockaddr = encodeSockaddr(endpoint)
    for (let opened = 0; opened < connections; opened += 1) {
      const fd = startConnect(sockaddr, undefined)
      if (fd < 0 || fd >= FDS_MAX) throw new Error(`Cannot connect to ${target}: ${fd}`)
      this.#epoll.add(fd, EPOLLOUT)
    }
    while (this.#free.length < connections) this.#poll(100, (fd, events) => this.#learn(fd, events))
  }

  /** Latencies in the order of the answers, until the next run. */
  run(): Float64Array {
    this.#sent = 0
    this.#answered = 0
    let dueNs = Bun.nanoseconds()
    while (this.#answered < this.#total) {
      const nowNs = Bun.nanoseconds()
      for (; this.#sent < this.#total && dueNs <= nowNs; dueNs += this.#nextGapNs()) {
        this.#sent += 1
        const fd = this.#free.pop()
        if (fd === undefined) this.#waitingNs.push(dueNs)
        else this.#send(fd, dueNs)
      }
      if (this.#sent < this.#total) this.#timer?.set(dueNs - nowNs)
      this.#poll(this.#timer === undefined ? 0 : POLL_MS, (fd) => {
        if (fd !== this.#timer?.descriptor) this.#receive(fd)
      })
    }
    return this.#latenciesNs
  }

  #poll(timeoutMs: number, handle: (fd: number, events: number) => void): void {
    const count = this.#epoll.wait(timeoutMs)
    for (let index = 0; index < count; index += 1) {
      const events = this.#epoll.events(index)
      if ((events & (EPOLLERR | EPOLLHUP)) !== 0) throw new Error("A connection was cut")
      handle(this.#epoll.fd(index), events)
    }
  }

  #learn(fd: number, events: number): void {
    if ((events & EPOLLOUT) !== 0) {
      this.#epoll.modify(fd, EPOLLIN | EPOLLET)
      this.#send(fd, 0)
      return
    }
    this.#answerBytes = receive(fd, this.#scratch, this.#scratch.bytes.length)
    const text = this.#scratchText(this.#answerBytes)
    if (!text.startsWith("HTTP/1.1 200 ")) throw new Error(`No answer to measure:\n${text}`)
    this.#free.push(fd)
  }

  #send(fd: number, dueNs: number): void {
    const request = this.#requests[this.#turn++ % this.#requests.length] as NativeBytes
    const { length } = request.bytes
    this.#intendedNs[fd] = dueNs
    this.#missingBytes[fd] = this.#answerBytes
    if (send(fd, request, 0, length) !== length) throw new Error("A request did not leave")
  }

  #receive(fd: number): void {
    const count = receive(fd, this.#scratch, this.#scratch.bytes.length)
    if (count === -EAGAIN) return // read with what came before it
    if (count <= 0) throw new Error("A connection ended")
    const missing = (this.#missingBytes[fd] as number) - count
    if (missing < 0) throw new Error(`Another answer:\n${this.#scratchText(count)}`)
    this.#missingBytes[fd] = missing
    if (missing > 0) return
    this.#latenciesNs[this.#answered] = Bun.nanoseconds() - (this.#intendedNs[fd] as number)
    this.#answered += 1
    const waitingNs = this.#waitingNs.shift()
    if (waitingNs === undefined) this.#free.push(fd)
    else this.#send(fd, waitingNs)
  }

  #scratchText(length: number): string {
    return Buffer.from(this.#scratch.bytes.subarray(0, Math.max(0, length))).toString("latin1")
  }
}

/** timerfd(2): wakes an epoll set to the microsecond, which `epoll_wait` alone cannot. */
class WakeUpTimer {
  readonly descriptor: number
  readonly #spec = new NativeBytes(32)

  constructor() {
    this.descriptor = timers.timerfd_create(CLOCK_MONOTONIC, 0)
    if (this.descriptor < 0) throw new Error("No timer")
  }

  set(inNs: number): void {
    const nanoseconds = Math.max(1, inNs)
    const { view, address } = this.#spec
    view.setBigInt64(16, BigInt(Math.floor(nanoseconds / 1e9)), true)
    view.setBigInt64(24, BigInt(Math.floor(nanoseconds % 1e9)), true)
    timers.timerfd_settime(this.descriptor, 0, address, NO_OLD_VALUE)
  }
}

const timers = dlopen("libc.so.6", {
  timerfd_create: { args: ["i32", "i32"], returns: "i32" },
  timerfd_settime: { args: ["i32", "i32", "ptr", "ptr"], returns: "i32" },
}).symbols
const CLOCK_MONOTONIC = 1
const NO_OLD_VALUE: Pointer | null = null
/** An answer wakes it, too. */
const POLL_MS = 100

/** Gaps of a Poisson process; xorshift32 is random enough for arrival times. */
function exponentialGaps(meanNs: number, seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return -Math.log(((state >>> 0) + 1) / (2 ** 32 + 1)) * meanNs
  }
}

function main(options: PacedOptions): void {
  const client = new PacedClient(options)
  client.connect(options.target, options.connections)
  do tell(client.run().subarray(options.warmUpRequests).toSorted())
  while (options.again === true)
}

function tell(counted: Float64Array): void {
  const microseconds = (share: number) => percentile(counted, share) / 1e3
  const result: PacedResult = {
    p50: microseconds(0.5),
    p99: microseconds(0.99),
    p999: microseconds(0.999),
    max: microseconds(1),
  }
  writeSync(1, `${JSON.stringify(result)}\n`)
}

const FDS_MAX = 4096

if (import.meta.main) main(await Bun.file(process.argv[2] ?? "").json())
