import { expect, test } from "bun:test"
import { FdLedger, LEDGER_FDS_MAX } from "./fd-ledger.ts"

test("heldBy() gives an owner's descriptors, whoever asks", () => {
  const buffer = FdLedger.allocate()
  const [thread, control] = [new FdLedger(buffer), new FdLedger(buffer)]
  for (const fd of [0, 17, LEDGER_FDS_MAX - 1]) thread.take(fd, 1)
  thread.take(18, 255)
  thread.release(17)
  expect(control.heldBy(1)).toEqual([0, LEDGER_FDS_MAX - 1])
  expect(control.heldBy(255)).toEqual([18])
  expect(control.heldBy(2)).toEqual([])
})
