/**
 * A program that holds connections whose requests never come to the end of their head (slowloris):
 * each gets one more byte every now and then, all of them evenly spread over that time, as those
 * of many clients would be. Ends with an error when one of them is answered or cut. Argument: JSON
 * `SlowHeadsOptions`. Writes "slow N" when all are open.
 *
 * On the system calls themselves, because what it costs is taken from the load's core.
 */
import { writeSync } from "node:fs"
import { NativeBytes } from "../../src/linux/bytes.ts"
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, Epoll } from "../../src/linux/epoll.ts"
import { encodeSockaddr } from "../../src/linux/sockaddr.ts"
import { send, startConnect } from "../../src/linux/tcp.ts"
import { parseEndpoint } from "../../src/net/address.ts"

export interface SlowHeadsOptions {
  /** ADDRESS:PORT */
  readonly target: string
  readonly connections: number
  /** Between two bytes of one connection. */
  readonly byteMs: number
}

class SlowHeads {
  readonly #options: SlowHeadsOptions
  readonly #epoll = new Epoll(256)
  readonly #sockaddr: NativeBytes
  readonly #head = NativeBytes.of(Buffer.from("GET /api/v1/small HTTP/1.1\r\nX-Slow: "))
  readonly #byte = NativeBytes.of(Buffer.from("x"))
  /** Descriptors. */
  readonly #slow: number[] = []
  #opening = 0
  #turn = 0

  constructor(options: SlowHeadsOptions) {
    const endpoint = parseEndpoint(options.target)
    if (endpoint === undefined) throw new Error(`Not an endpoint: ${options.target}`)
    this.#options = options
    this.#sockaddr = encodeSockaddr(endpoint)
  }

  run(): never {
    const { connections, byteMs } = this.#options
    let isTold = false
    let dueMs = performance.now()
    for (;;) {
      while (this.#opening < OPENING_MAX && this.#opening + this.#slow.length < connections) {
        this.#open()
      }
      this.#poll()
      if (!isTold && this.#slow.length === connections) {
        isTold = true
        writeSync(1, `slow ${connections}\n`)
        dueMs = performance.now()
      }
      for (; dueMs < performance.now(); dueMs += byteMs / connections) this.#sendOne()
    }
  }

  #open(): void {
    const fd = startConnect(this.#sockaddr, undefined)
    if (fd < 0) throw new Error(`Cannot connect: ${fd}`)
    this.#opening += 1
    this.#epoll.add(fd, EPOLLOUT | EPOLLIN | EPOLLET)
  }

  #poll(): void {
    const count = this.#epoll.wait(1)
    for (let index = 0; index < count; index += 1) {
      const [fd, events] = [this.#epoll.fd(index), this.#epoll.events(index)]
      if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0) throw new Error("A slow head was cut")
      this.#begin(fd)
    }
  }

  #begin(fd: number): void {
    this.#opening -= 1
    this.#epoll.modify(fd, EPOLLIN | EPOLLET)
    send(fd, this.#head, 0, this.#head.bytes.length)
    this.#slow.push(fd)
  }

  #sendOne(): void {
    const fd = this.#slow[this.#turn++ % this.#slow.length]
    if (fd !== undefined) send(fd, this.#byte, 0, 1)
  }
}

const OPENING_MAX = 100

if (import.meta.main) new SlowHeads(JSON.parse(process.argv[2] ?? "")).run()
