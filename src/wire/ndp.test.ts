import { expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../net/address.ts"
import type { Mac } from "../net/mac.ts"
import {
  answerTo,
  duplicateQuestion,
  encodeNdp,
  multicastMac,
  type NeighborMessage,
  parseNdp,
  solicitedNodeGroup,
  unsolicitedAdvertisement,
} from "./ndp.ts"

const MAC = "02:00:00:00:00:01" as Mac
const PEER_MAC = "02:00:00:00:00:09" as Mac
const VIP = "2001:db8::40" as Address
const PEER = "2001:db8::9" as Address

const HEADER = (next: string, source: string, destination: string) =>
  `60000000 0020 ${next} ${source} ${destination}`
const VIP_HEX = "20010db8000000000000000000000040"
const PEER_HEX = "20010db8000000000000000000000009"
const ALL_NODES_HEX = "ff020000000000000000000000000001"
const GROUP_HEX = "ff0200000000000000000001ff000040"

const bytesOf = (hex: string) => Uint8Array.fromHex(hex.replace(/\s/g, ""))
const hexOf = (bytes: Uint8Array) => bytes.toHex()

const CASES: readonly [what: string, hex: string, message: NeighborMessage][] = [
  [
    "an unsolicited advertisement that overrides",
    `${HEADER("3aff", VIP_HEX, ALL_NODES_HEX)} 8800 SSSS 20000000 ${VIP_HEX} 0201 020000000001`,
    unsolicitedAdvertisement(MAC, VIP),
  ],
  [
    "a solicitation",
    `${HEADER("3aff", PEER_HEX, GROUP_HEX)} 8700 SSSS 00000000 ${VIP_HEX} 0101 020000000009`,
    {
      type: "solicitation",
      source: PEER,
      destination: "ff02::1:ff00:40" as Address,
      target: VIP,
      mac: PEER_MAC,
    },
  ],
]

/** RFC 1071 over the pseudo-header, once more, so that the codec is not its own judge. */
function withChecksum(hex: string): string {
  const plain = hex.replace(/\s/g, "").replace("SSSS", "0000")
  const bytes = bytesOf(plain)
  const length = bytes.length - 40
  const words = [...bytes.subarray(8), 0, 0, 0, length, 0, 0, 0, 58]
  let sum = 0
  for (let at = 0; at < words.length; at += 2) sum += (words[at] ?? 0) * 256 + (words[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536)
  const checksum = (0xffff - sum).toString(16).padStart(4, "0")
  return hex.replace(/\s/g, "").replace("SSSS", checksum)
}

for (const [what, hex, message] of CASES) {
  test(`encodeNdp() and parseNdp() agree on ${what}`, () => {
    expect(hexOf(encodeNdp(message))).toBe(withChecksum(hex))
    expect(parseNdp(bytesOf(withChecksum(hex)))).toEqual({ ok: true, value: message })
  })
}

test("answerTo() tells who asked, and everybody when that one has no address yet", () => {
  const asked = { type: "solicitation", destination: solicitedNodeGroup(VIP), target: VIP } as const
  expect(answerTo({ ...asked, source: PEER, mac: PEER_MAC }, MAC)).toEqual({
    type: "advertisement",
    source: VIP,
    destination: PEER,
    target: VIP,
    mac: MAC,
    isSolicited: true,
    isOverriding: true,
  })
  expect(answerTo({ ...asked, source: "::" as Address, mac: undefined }, MAC)).toMatchObject({
    destination: "ff02::1",
    isSolicited: false,
  })
})

test("duplicateQuestion() comes from :: and has no link-layer address", () => {
  const packet = encodeNdp(duplicateQuestion(VIP))
  expect(packet.length).toBe(64)
  expect(parseNdp(packet)).toEqual({ ok: true, value: duplicateQuestion(VIP) })
})

test("solicitedNodeGroup() and multicastMac() of an address", () => {
  expect(solicitedNodeGroup("2001:db8::1:2345:6789" as Address) as string).toBe("ff02::1:ff45:6789")
  expect(multicastMac("ff02::1:ff45:6789" as Address) as string).toBe("33:33:ff:45:67:89")
})

const GOOD = encodeNdp(unsolicitedAdvertisement(MAC, VIP))

function broken(change: (bytes: Uint8Array) => void, isSummed = true): Uint8Array {
  const bytes = GOOD.slice()
  change(bytes)
  if (!isSummed) return bytes
  bytes.set([0, 0], 42)
  const hex = hexOf(bytes)
  return bytesOf(withChecksum(`${hex.slice(0, 84)}SSSS${hex.slice(88)}`))
}

const DROPPED = [
  ["length", "a packet cut short", GOOD.subarray(0, 39)],
  ["length", "a message cut short", GOOD.subarray(0, 60)],
  ["version", "IPv4", broken((bytes) => bytes.fill(0x45, 0, 1), false)],
  ["next-header", "TCP", broken((bytes) => bytes.fill(6, 6, 7), false)],
  ["hop-limit", "what a router has forwarded", broken((bytes) => bytes.fill(254, 7, 8), false)],
  ["checksum", "a flipped bit", broken((bytes) => bytes.fill(3, 70, 71), false)],
  ["type", "a redirect", broken((bytes) => bytes.fill(137, 40, 41))],
  ["code", "a code other than 0", broken((bytes) => bytes.fill(1, 41, 42))],
  ["target", "a multicast target", broken((bytes) => bytes.fill(0xff, 48, 49))],
  ["option", "an option of length 0", broken((bytes) => bytes.fill(0, 65, 66))],
  ["option", "an option beyond the end", broken((bytes) => bytes.fill(2, 65, 66))],
  [
    "source",
    "a sender without address that names its MAC",
    encodeNdp({ ...duplicateQuestion(VIP), mac: PEER_MAC }),
  ],
  [
    "source",
    "a sender without address that asks one host",
    encodeNdp({ ...duplicateQuestion(VIP), destination: VIP }),
  ],
] as const

for (const [reason, what, bytes] of DROPPED) {
  test(`RFC4861-7.1: parseNdp() drops ${what} (${reason})`, () => {
    expect(parseNdp(bytes)).toEqual({ ok: false, reason })
  })
}

test("parseNdp() ignores options it does not know, and padding", () => {
  const nonce = "0e01010203040506"
  const head = HEADER("3aff", VIP_HEX, ALL_NODES_HEX).replace("0020", "0028")
  const hex = `${head} 8800 SSSS 20000000 ${VIP_HEX} ${nonce} 0201 020000000001`
  const packet = bytesOf(withChecksum(hex))
  expect(parseNdp(packet)).toMatchObject({ ok: true, value: { mac: MAC } })
  expect(parseNdp(bytesOf(`${hexOf(packet)}00000000`))).toEqual(parseNdp(packet))
})

test("parseNdp() never throws, whatever the bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => void parseNdp(bytes)))
})
