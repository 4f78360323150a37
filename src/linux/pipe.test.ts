import { afterEach, beforeEach, expect, test } from "bun:test"
import { EAGAIN, EPIPE } from "./errno.ts"
import { FdLedger } from "./fd-ledger.ts"
import { closeAll, receiveText, sendText, tcpPair, until } from "./fixtures/tcp.ts"
import { type Pipe, PipePool, spliceIn, spliceOut } from "./pipe.ts"
import { closeFd, shutdownWrite } from "./tcp.ts"

const OWNER = 3

let ledger: FdLedger
let pool: PipePool
let open: number[]

beforeEach(() => {
  ledger = new FdLedger(FdLedger.allocate())
  pool = new PipePool(ledger, OWNER)
  open = []
})

afterEach(() => {
  for (const fd of ledger.heldBy(OWNER)) closeFd(fd)
  closeAll(open)
})

function take(): Pipe {
  const pipe = pool.take()
  if (pipe === undefined) throw new Error("no pipe")
  return pipe
}

function pair() {
  const both = tcpPair()
  open.push(both.client, both.server)
  return both
}

test("PipePool hands out what was given back empty, and closes what was not", () => {
  const pipe = take()
  expect(ledger.heldBy(OWNER)).toEqual([pipe.readEnd, pipe.writeEnd])
  pool.give(pipe)
  expect(take()).toBe(pipe)
  pipe.fill = 1
  pool.give(pipe)
  expect(ledger.heldBy(OWNER)).toEqual([])
  expect(take()).not.toBe(pipe)
})

test("PipePool has 48 pipes at most, and keeps 16", () => {
  const pipes = Array.from({ length: 48 }, take)
  expect(pool.take()).toBeUndefined()
  for (const pipe of pipes) pool.give(pipe)
  expect(ledger.heldBy(OWNER)).toHaveLength(32)
  expect(take()).toBeDefined()
})

test("spliceIn() and spliceOut() move bytes from socket to socket through the pipe", () => {
  const [source, target] = [pair(), pair()]
  const pipe = take()
  expect(spliceIn(source.server, pipe)).toBe(-EAGAIN)
  sendText(source.client, "hello")
  until(
    () => spliceIn(source.server, pipe),
    (moved) => moved === 5,
  )
  expect(pipe.fill).toBe(5)
  expect(spliceOut(pipe, target.client)).toBe(5)
  expect(pipe.fill).toBe(0)
  expect(
    until(
      () => receiveText(target.server),
      (text) => text !== -EAGAIN,
    ),
  ).toBe("hello")
  shutdownWrite(source.client)
  expect(
    until(
      () => spliceIn(source.server, pipe),
      (moved) => moved !== -EAGAIN,
    ),
  ).toBe(0)
})

test("spliceOut() to a socket that may not write any more is an error, not a signal", () => {
  const [source, target] = [pair(), pair()]
  const pipe = take()
  sendText(source.client, "hello")
  until(
    () => spliceIn(source.server, pipe),
    (moved) => moved === 5,
  )
  shutdownWrite(target.client)
  expect(spliceOut(pipe, target.client)).toBe(-EPIPE)
  expect(pipe.fill).toBe(5)
})
