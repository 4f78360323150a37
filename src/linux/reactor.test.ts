import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import type { Instant } from "../net/time.ts"
import { TimerEntry } from "../net/timer-wheel.ts"
import { EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "./epoll.ts"
import { EAGAIN } from "./errno.ts"
import { closeAll, receiveText, sendText, tcpPair, until } from "./fixtures/tcp.ts"
import { type Handler, Reactor } from "./reactor.ts"
import { closeFd, shutdownWrite } from "./tcp.ts"

/** Remembers what it was called with; `action` runs in the call. */
class Recorder implements Handler {
  readonly calls: [fd: number, events: number][] = []
  readonly failures: unknown[] = []
  action: (fd: number, events: number) => void = () => {}

  handle(fd: number, events: number): void {
    this.calls.push([fd, events])
    this.action(fd, events)
  }

  fail(error: unknown): void {
    this.failures.push(error)
  }
}

class Timer extends TimerEntry {
  firedAt: Instant | undefined = undefined
  failure: unknown = undefined

  override onTimer(now: Instant): void {
    this.firedAt = now
  }

  override fail(error: unknown): void {
    this.failure = error
  }
}

let reactor: Reactor
let open: number[]

beforeEach(() => {
  reactor = new Reactor()
  open = []
})

afterEach(() => {
  reactor.close()
  closeAll(open)
})

function pair(): { readonly client: number; readonly server: number } {
  const both = tcpPair()
  open.push(both.client, both.server)
  return both
}

/** Closes now and not once more at the end of the test. */
function close(fd: number): void {
  open = open.filter((each) => each !== fd)
  closeFd(fd)
}

function passUntil(condition: () => boolean, loop = reactor): void {
  until(
    () => {
      loop.pass(1)
      return condition()
    },
    (isTrue) => isTrue,
  )
}

describe("pass()", () => {
  test("delivers events to the handler of their descriptor", () => {
    const { client, server } = pair()
    const [a, b] = [new Recorder(), new Recorder()]
    reactor.add(client, EPOLLIN, a)
    reactor.add(server, EPOLLIN, b)
    sendText(client, "x")
    passUntil(() => b.calls.length > 0)
    expect(b.calls).toEqual([[server, EPOLLIN]])
    expect(a.calls).toEqual([])
  })

  test("delivers an edge once, and again when more arrives", () => {
    const { client, server } = pair()
    const recorder = new Recorder()
    reactor.add(server, EPOLLIN | EPOLLRDHUP | EPOLLET, recorder)
    sendText(client, "x")
    passUntil(() => recorder.calls.length > 0)
    reactor.pass(0)
    expect(recorder.calls).toEqual([[server, EPOLLIN]])
    shutdownWrite(client)
    passUntil(() => recorder.calls.length > 1)
    expect(recorder.calls[1]).toEqual([server, EPOLLIN | EPOLLRDHUP])
  })

  test("reports at once what was there before add() and modify()", () => {
    const { client, server } = pair()
    const recorder = new Recorder()
    sendText(client, "x")
    reactor.add(server, EPOLLIN | EPOLLET, recorder)
    passUntil(() => recorder.calls.length > 0)
    reactor.modify(server, EPOLLIN | EPOLLOUT | EPOLLET)
    reactor.pass(0)
    expect(recorder.calls).toEqual([
      [server, EPOLLIN],
      [server, EPOLLIN | EPOLLOUT],
    ])
  })

  test("an exception reaches the handler's fail(), and the other handlers run", () => {
    const [first, second] = [pair(), pair()]
    const [faulty, healthy] = [new Recorder(), new Recorder()]
    faulty.action = () => {
      throw new Error("no")
    }
    reactor.add(first.server, EPOLLIN | EPOLLET, faulty)
    reactor.add(second.server, EPOLLIN | EPOLLET, healthy)
    sendText(first.client, "x")
    sendText(second.client, "x")
    passUntil(() => healthy.calls.length > 0 && faulty.calls.length > 0)
    expect(faulty.failures).toEqual([new Error("no")])
    expect(healthy.failures).toEqual([])
  })

  test("does not deliver an event of a descriptor that was forgotten in the same pass", () => {
    const [first, second] = [pair(), pair()]
    const recorder = new Recorder()
    const fds = [first.server, second.server]
    recorder.action = () => {
      for (const fd of fds) reactor.remove(fd)
    }
    for (const fd of fds) reactor.add(fd, EPOLLIN, recorder)
    sendText(first.client, "x")
    sendText(second.client, "x")
    passUntil(() => recorder.calls.length > 0)
    reactor.pass(0)
    expect(recorder.calls).toHaveLength(1)
  })

  test("does not deliver an old event to the new owner of a reused descriptor", () => {
    const [first, second] = [pair(), pair()]
    const [old, fresh] = [new Recorder(), new Recorder()]
    const fds = [first.server, second.server]
    let reused = 0
    // Whichever comes first closes the other, and the next socket gets the other's number.
    old.action = (fd) => {
      const other = fds.find((each) => each !== fd) as number
      reactor.forget(other)
      close(other)
      const { client, server } = pair()
      reused = other
      expect([client, server]).toContain(other)
      reactor.add(other, EPOLLIN | EPOLLET, fresh)
    }
    for (const fd of fds) reactor.add(fd, EPOLLIN | EPOLLET, old)
    sendText(first.client, "x")
    sendText(second.client, "x")
    until(
      () => receiveAvailable(fds),
      (all) => all,
    )
    reactor.pass(0)
    expect(old.calls).toHaveLength(1)
    reactor.pass(0)
    expect(reused).toBeGreaterThan(0)
    expect(fresh.calls).toEqual([])
  })
})

/** Whether an epoll set of its own finds all of them readable. */
function receiveAvailable(fds: readonly number[]): boolean {
  const probe = new Reactor()
  const recorder = new Recorder()
  for (const fd of fds) probe.add(fd, EPOLLIN, recorder)
  probe.pass(0)
  probe.close()
  return recorder.calls.length === fds.length
}

describe("forget()", () => {
  test("of a descriptor that was never added does not disturb those below it", () => {
    // A client that is turned away at once is closed without ever having been in the epoll set, and
    // other threads of the process hold the numbers in between.
    const { client, server } = pair()
    const recorder = new Recorder()
    reactor.forget(server + 1000)
    reactor.add(server, EPOLLIN, recorder)
    sendText(client, "x")
    passUntil(() => recorder.calls.length > 0)
    expect(recorder.calls).toEqual([[server, EPOLLIN]])
  })

  test("lets the number be added again", () => {
    const recorder = new Recorder()
    for (let round = 0; round < 3; round++) {
      const { client, server } = pair()
      reactor.add(server, EPOLLIN, recorder)
      sendText(client, "x")
      passUntil(() => recorder.calls.length > round)
      reactor.forget(server)
      close(server)
      close(client)
    }
    expect(recorder.calls).toHaveLength(3)
  })
})

describe("soon()", () => {
  test("calls a task once, and does not wait for events before it", () => {
    const calls: string[] = []
    const owner = new Recorder()
    reactor.soon(() => {
      calls.push("first")
      reactor.soon(() => calls.push("second"), owner)
    }, owner)
    reactor.pass(10_000)
    expect(calls).toEqual(["first"])
    reactor.pass(10_000)
    reactor.pass(0)
    expect(calls).toEqual(["first", "second"])
  })

  test("hands a fault to the task's owner, and calls the others", () => {
    const owner = new Recorder()
    const calls: string[] = []
    reactor.soon(() => {
      throw new Error("broken")
    }, owner)
    reactor.soon(() => calls.push("next"), owner)
    reactor.pass(0)
    expect([owner.failures.map(String), calls]).toEqual([["Error: broken"], ["next"]])
  })
})

describe("defer()", () => {
  test("calls the handler in the next pass without events, and once", () => {
    const { client, server } = pair()
    const recorder = new Recorder()
    recorder.action = () => {
      if (recorder.calls.length === 1) reactor.defer(server)
    }
    reactor.add(server, EPOLLIN | EPOLLET, recorder)
    sendText(client, "x")
    passUntil(() => recorder.calls.length > 0)
    expect(recorder.calls).toEqual([[server, EPOLLIN]])
    reactor.pass(1000)
    expect(recorder.calls[1]).toEqual([server, 0])
    reactor.pass(0)
    expect(recorder.calls).toHaveLength(2)
  })

  test("calls once, however often and by whom it was asked for", () => {
    const { client, server } = pair()
    const recorder = new Recorder()
    reactor.add(server, EPOLLIN | EPOLLET, recorder)
    reactor.defer(server)
    reactor.defer(server)
    recorder.action = () => reactor.defer(server)
    reactor.pass(0)
    expect(recorder.calls).toEqual([[server, 0]])
    // An edge and the deferred turn in one pass are two calls, and ask for one more turn.
    sendText(client, "x")
    until(
      () => receiveAvailable([server]),
      (isTrue) => isTrue,
    )
    reactor.pass(0)
    recorder.action = () => {}
    reactor.pass(0)
    reactor.pass(0)
    expect(recorder.calls.slice(1)).toEqual([
      [server, EPOLLIN],
      [server, 0],
      [server, 0],
    ])
  })

  test("does not call one that is forgotten meanwhile, nor the next owner of its number", () => {
    const { server } = pair()
    const recorder = new Recorder()
    reactor.add(server, EPOLLIN | EPOLLET, recorder)
    reactor.defer(server)
    reactor.remove(server)
    reactor.add(server, EPOLLIN | EPOLLET, recorder)
    reactor.pass(0)
    expect(recorder.calls).toEqual([])
  })
})

test("the progress callback runs after the wait and before each handler, and may end the pass", () => {
  const [first, second] = [pair(), pair()]
  let isOver = false
  let progress = 0
  const ending = new Reactor(() => {
    progress++
    if (isOver) throw new Error("over")
  })
  const recorder = new Recorder()
  const timer = new Timer()
  for (const { server } of [first, second]) ending.add(server, EPOLLIN, recorder)
  ending.pass(0)
  expect(progress).toBe(1)
  sendText(first.client, "x")
  sendText(second.client, "x")
  passUntil(() => recorder.calls.length === 2, ending)
  expect(progress).toBeGreaterThanOrEqual(4)
  // The first handler is the last: neither the second, nor a timer, nor fail() runs any more.
  recorder.action = () => {
    isOver = true
  }
  ending.arm(timer, 0)
  expect(() => passUntil(() => false, ending)).toThrow("over")
  expect(recorder.calls).toHaveLength(3)
  expect(recorder.failures).toEqual([])
  expect(() => ending.pass(10)).toThrow("over")
  expect([recorder.calls.length, timer.firedAt]).toEqual([3, undefined])
  ending.close()
})

test("arm() fires after the delay, and pass() does not sleep beyond it", () => {
  const timer = new Timer()
  const armedAt = reactor.now
  reactor.arm(timer, 20)
  passUntil(() => timer.firedAt !== undefined)
  expect((timer.firedAt ?? 0) - armedAt).toBeGreaterThanOrEqual(20)
  const sleeping = new Timer()
  reactor.arm(sleeping, 20)
  for (let passes = 0; passes < 3 && sleeping.firedAt === undefined; passes++) reactor.pass(5000)
  expect((sleeping.firedAt ?? 5000) - armedAt).toBeLessThan(2000)
})

test("handlers() names each handler once", () => {
  const { client, server } = pair()
  const recorder = new Recorder()
  reactor.add(client, EPOLLIN, recorder)
  reactor.add(server, EPOLLIN, recorder)
  expect([...reactor.handlers()]).toEqual([recorder])
  reactor.forget(client)
  reactor.forget(server)
  expect([...reactor.handlers()]).toEqual([])
})

test("remove() stops events of a descriptor that stays open", () => {
  const { client, server } = pair()
  const recorder = new Recorder()
  reactor.add(server, EPOLLIN, recorder)
  reactor.remove(server)
  sendText(client, "x")
  expect(
    until(
      () => receiveText(server),
      (text) => text !== -EAGAIN,
    ),
  ).toBe("x")
  sendText(client, "y")
  shutdownWrite(client)
  reactor.pass(0)
  expect(recorder.calls).toEqual([])
})
