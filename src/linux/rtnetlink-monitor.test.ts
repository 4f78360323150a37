import { expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { GOLDEN } from "./fixtures/netlink.ts"
import { eventsOfDatagram } from "./rtnetlink-monitor.ts"

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"))
/** The same message with another type: RTM_DELLINK for RTM_NEWLINK. */
const retyped = (hex: string, type: string) => hex.slice(0, 8) + type + hex.slice(12)

test("eventsOfDatagram() reads several messages, in order", () => {
  const datagram = GOLDEN.addressShow + GOLDEN.linkShow + retyped(GOLDEN.addressShowIpv6, "1500")
  expect(eventsOfDatagram(bytesOf(datagram))).toMatchObject([
    { type: "address", change: "set", address: { prefix: { address: "192.0.2.40" as Address } } },
    { type: "link", change: "set", link: { index: 8, name: "eth8" } },
    {
      type: "address",
      change: "removed",
      address: { prefix: { address: "2001:db8::40" as Address } },
    },
  ])
})

test("eventsOfDatagram() leaves out a link that leaves a bridge, and other kinds of message", () => {
  const leavesBridge = retyped(GOLDEN.bridgePort, "1100")
  const newNeighbour = retyped(GOLDEN.routeShow, "1c00")
  expect(eventsOfDatagram(bytesOf(leavesBridge + newNeighbour))).toEqual([])
  expect(eventsOfDatagram(bytesOf(retyped(GOLDEN.linkShow, "1100")))).toMatchObject([
    { type: "link", change: "removed" },
  ])
})

test("eventsOfDatagram() tells of routes that come and go, without cached copies", () => {
  const route = { prefix: { address: "198.51.100.0" as Address, length: 24 }, protocol: 99 }
  const cachedCopy = `1c00000018000000${"00".repeat(8)}02000000fe03000100020000`
  const datagram = GOLDEN.routeShow + cachedCopy + retyped(GOLDEN.routeShow, "1900")
  expect(eventsOfDatagram(bytesOf(datagram))).toMatchObject([
    { type: "route", change: "set", route },
    { type: "route", change: "removed", route },
  ])
})

test("eventsOfDatagram() reports what it cannot read, and goes on", () => {
  const withoutName = `2000000010000000${"00".repeat(24)}`
  expect(eventsOfDatagram(bytesOf(withoutName + GOLDEN.addressShow))).toMatchObject([
    { type: "malformed", reason: "attribute of the wrong size" },
    { type: "address" },
  ])
  expect(eventsOfDatagram(bytesOf("20000000"))).toEqual([
    { type: "malformed", reason: "message header cut short" },
  ])
})

test("eventsOfDatagram() takes NLMSG_OVERRUN for lost events", () => {
  expect(eventsOfDatagram(bytesOf(`1000000004000000${"00".repeat(8)}`))).toEqual([
    { type: "overrun" },
  ])
})
