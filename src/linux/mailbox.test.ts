import { afterEach, expect, test } from "bun:test"
import { leakedFds, traceFds } from "./fd.ts"
import type { Batch, Numbered } from "./fixtures/mailbox-reader.ts"
import { Mailbox } from "./mailbox.ts"

const closers: (() => void)[] = []

afterEach(() => {
  for (const close of closers.splice(0)) close()
  traceFds(false)
})

/** A Worker that blocks on its mailbox, and what it has read so far. */
class Reader {
  readonly mailbox = new Mailbox<Numbered | "stop">("test")
  readonly batches: Batch[] = []
  readonly #worker = new Worker(new URL("fixtures/mailbox-reader.ts", import.meta.url))
  #changed = Promise.withResolvers<void>()

  constructor() {
    this.#worker.onmessage = (event: MessageEvent<Batch>) => {
      this.batches.push(event.data)
      this.#changed.resolve()
      this.#changed = Promise.withResolvers()
    }
    closers.push(() => {
      this.mailbox.post("stop")
      this.#worker.terminate()
    })
  }

  start(): void {
    const { address } = this.mailbox
    this.#worker.postMessage(address, [address.port as unknown as ArrayBuffer])
  }

  get numbers(): number[] {
    return this.batches.flatMap(({ messages }) => messages.map(({ number }) => number))
  }

  /** Resolves when so many messages were read; the test's time limit is the deadline. */
  async read(count: number): Promise<void> {
    while (this.numbers.length < count) await this.#changed.promise
  }
}

function numbered(number: number): Numbered {
  return { number, text: "x".repeat(number % 50) }
}

test("wakes a Worker that blocks in epoll_wait, message by message", async () => {
  const reader = new Reader()
  reader.start()
  for (let number = 0; number < 50; number++) {
    reader.mailbox.post(numbered(number))
    await reader.read(number + 1)
  }
  expect(reader.batches).toHaveLength(50)
  expect(reader.batches[49]?.messages).toEqual([numbered(49)])
})

test("keeps the order, and loses nothing in bursts to two Workers at once", async () => {
  const readers = [new Reader(), new Reader()]
  for (const reader of readers) reader.start()
  let posted = 0
  for (let burst = 0; posted < 3000; burst++) {
    for (let count = 0; count < (burst * 7) % 40; count++, posted++) {
      for (const { mailbox } of readers) mailbox.post(numbered(posted))
    }
    // Between bursts one reader is waited for, so that its next message finds it blocked.
    await readers[burst % 2]?.read(posted)
  }
  for (const reader of readers) {
    await reader.read(posted)
    expect(reader.numbers).toEqual(Array.from({ length: posted }, (_, number) => number))
  }
})

test("holds what is posted before the Worker listens", async () => {
  const reader = new Reader()
  reader.mailbox.post(numbered(1))
  reader.mailbox.post(numbered(2))
  reader.start()
  await reader.read(2)
  expect(reader.numbers).toEqual([1, 2])
})

test("close() closes the doorbell, and later posts go nowhere", () => {
  traceFds(true)
  const mailbox = new Mailbox<string>("test")
  expect(leakedFds()).toHaveLength(1)
  mailbox.close()
  mailbox.post("too late")
  expect(leakedFds()).toEqual([])
})
