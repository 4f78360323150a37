import { expect, test } from "bun:test"
import { encodeFilter } from "./packet-socket.ts"

test("encodeFilter() writes what tcpdump compiles", () => {
  // `tcpdump -y EN10MB -ddd 'arp[6:2] = 2'`: 40 0 0 12 / 21 0 3 2054 / 40 0 0 20 / 21 0 1 2 / 6 0 0
  // 262144 / 6 0 0 0
  const program = [
    [40, 0, 0, 12],
    [21, 0, 3, 2054],
    [40, 0, 0, 20],
    [21, 0, 1, 2],
    [6, 0, 0, 262144],
    [6, 0, 0, 0],
  ] as const
  const instructions = program.map(([code, jumpTrue, jumpFalse, k]) => {
    return { code, jumpTrue, jumpFalse, k }
  })
  expect(Buffer.from(encodeFilter(instructions)).toString("hex")).toBe(
    "280000000c000000" +
      "1500000306080000" +
      "2800000014000000" +
      "1500000102000000" +
      "0600000000000400" +
      "0600000000000000",
  )
})
