/** Packet and raw sockets between two hosts of a LAN. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { EPOLLIN, Epoll } from "../../src/linux/epoll.ts"
import { leakedFds, traceFds } from "../../src/linux/fd.ts"
import type { Link } from "../../src/linux/link-message.ts"
import { PacketSocket, type PacketSocketOptions } from "../../src/linux/packet-socket.ts"
import { RawSocket, type RawSocketOptions } from "../../src/linux/raw-socket.ts"
import { Rtnetlink } from "../../src/linux/rtnetlink.ts"
import type { Address } from "../../src/net/address.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { inNamespace } from "./namespace.ts"

const ARP = 0x0806
const VRRP = 112
const VRRP_GROUP = "224.0.0.18" as Address
const A = "10.0.0.1" as Address
const B = "10.0.0.2" as Address

let lab: Lab
let lan: Lan
let a: Host
let b: Host
let linkA: Link
let linkB: Link
let hostNumber = 0
const closers: (() => void)[] = []

beforeAll(async () => {
  lab = await createLab("sockets")
})

afterAll(() => lab.close())

beforeEach(async () => {
  hostNumber++
  lan = await lab.lan(`lan${hostNumber}`)
  a = await lab.host(`a${hostNumber}`)
  b = await lab.host(`b${hostNumber}`)
  await lan.join(a, { addresses: [`${A}/24`], mac: "02:00:00:00:00:0a" })
  await lan.join(b, { addresses: [`${B}/24`], mac: "02:00:00:00:00:0b" })
  for (const host of [a, b]) await host.sysctl({ "net.ipv6.conf.all.disable_ipv6": 1 })
  traceFds(true)
  linkA = linkOf(a)
  linkB = linkOf(b)
})

afterEach(() => {
  for (const close of closers.splice(0)) close()
  expect(leakedFds()).toEqual([])
  traceFds(false)
})

function linkOf(host: Host, name = "eth0"): Link {
  const rtnetlink = inNamespace(host, () => new Rtnetlink())
  const link = rtnetlink.link(name)
  rtnetlink.close()
  if (link === undefined) throw new Error(`no ${name}`)
  return link
}

function packetSocket(host: Host, options: Partial<PacketSocketOptions> = {}): PacketSocket {
  const link = host === a ? linkA : linkB
  const socket = inNamespace(host, () => new PacketSocket(link, { etherType: ARP, ...options }))
  closers.push(() => socket.close())
  return socket
}

function rawSocket(host: Host, options: Partial<RawSocketOptions> = {}): RawSocket {
  const link = host === a ? linkA : linkB
  const all = { protocol: VRRP, groups: [VRRP_GROUP], ttl: 255, ...options }
  const socket = inNamespace(host, () => new RawSocket(link, all))
  closers.push(() => socket.close())
  return socket
}

/** The next thing that arrives, waited for in epoll. */
function next<Value>(socket: { fd: number; receive(): Value | undefined }): Value {
  const epoll = new Epoll(1)
  epoll.add(socket.fd, EPOLLIN)
  epoll.wait(2000)
  epoll.close()
  const value = socket.receive()
  if (value === undefined) throw new Error("nothing arrived")
  return value
}

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))

/** Who has 10.0.0.99? Tell 10.0.0.1. */
const ARP_REQUEST = bytesOf(
  "ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 02000000000a 0a000001 000000000000 0a000063",
)

describe("packet socket", () => {
  test("a frame arrives whole, with how it was addressed", () => {
    const [from, to] = [packetSocket(a), packetSocket(b)]
    expect(from.send(ARP_REQUEST)).toEqual({ ok: true })
    const frame = next(to)
    expect({ ...frame, bytes: hexOf(frame.bytes) }).toEqual({
      bytes: hexOf(ARP_REQUEST),
      truncated: false,
      packetType: "broadcast",
    })
    expect(to.receive()).toBeUndefined()
  })

  test("a unicast frame is for this host, or for another", () => {
    const [from, to] = [packetSocket(a), packetSocket(b)]
    const unicast = ARP_REQUEST.slice()
    unicast.set(bytesOf("02000000000b"))
    from.send(unicast)
    expect(next(to).packetType).toBe("host")
    unicast.set(bytesOf("02000000000c"))
    from.send(unicast)
    expect(next(to).packetType).toBe("other-host")
  })

  test("own frames are not received, those of another socket of the host neither", () => {
    const [from, sibling, to] = [packetSocket(a), packetSocket(a), packetSocket(b)]
    from.send(ARP_REQUEST)
    next(to)
    expect(from.receive()).toBeUndefined()
    expect(sibling.receive()).toBeUndefined()
  })

  test("only frames of the ethertype are received", async () => {
    const socket = packetSocket(b)
    await a.exec(["ping", "-c", "2", "-i", "0.01", B])
    const types: string[] = []
    for (let frame = socket.receive(); frame !== undefined; frame = socket.receive()) {
      types.push(hexOf(frame.bytes.subarray(12, 14)))
    }
    expect(new Set(types)).toEqual(new Set(["0806"]))
  })

  test("a filter drops what it does not accept", () => {
    // arp[6:2] = 2, as in packet-socket.test.ts: replies only.
    const filter = [
      { code: 40, jumpTrue: 0, jumpFalse: 0, k: 20 },
      { code: 21, jumpTrue: 0, jumpFalse: 1, k: 2 },
      { code: 6, jumpTrue: 0, jumpFalse: 0, k: 262144 },
      { code: 6, jumpTrue: 0, jumpFalse: 0, k: 0 },
    ]
    const [from, to] = [packetSocket(a), packetSocket(b, { filter })]
    const reply = ARP_REQUEST.slice()
    reply[21] = 2
    from.send(ARP_REQUEST)
    from.send(reply)
    expect(next(to).bytes[21]).toBe(2)
    expect(to.receive()).toBeUndefined()
  })

  test("a frame longer than the limit is cut and marked", () => {
    const [from, to] = [packetSocket(a), packetSocket(b, { frameBytesMax: 41 })]
    from.send(ARP_REQUEST)
    expect(next(to)).toMatchObject({ truncated: true, bytes: ARP_REQUEST.slice(0, 41) })
    const exact = packetSocket(b, { frameBytesMax: 42 })
    from.send(ARP_REQUEST)
    expect(next(exact)).toMatchObject({ truncated: false, bytes: ARP_REQUEST })
  })

  test("sending fails when the frame is too long or the interface down", async () => {
    const socket = packetSocket(a)
    expect(socket.send(new Uint8Array(1519))).toMatchObject({
      ok: false,
      error: { message: "Cannot send a frame on eth0: EMSGSIZE" },
    })
    await a.linkDown("eth0")
    expect(socket.send(ARP_REQUEST)).toMatchObject({
      ok: false,
      error: { message: "Cannot send a frame on eth0: ENETDOWN" },
    })
  })

  test("the socket survives its interface going down and up", async () => {
    const [from, to] = [packetSocket(a), packetSocket(b)]
    await b.linkDown("eth0")
    expect(to.receive()).toBeUndefined()
    expect(to.receive()).toBeUndefined()
    await b.linkUp("eth0")
    await b.exec(["ping", "-c", "1", "-W", "2", A])
    while (to.receive() !== undefined);
    from.send(ARP_REQUEST)
    expect(next(to).bytes).toEqual(ARP_REQUEST)
  })

  test("opening fails when the interface does not exist", () => {
    const open = () => new PacketSocket({ index: 4711, name: "eth7" }, { etherType: ARP })
    expect(() => inNamespace(a, open)).toThrow("Cannot open packet socket on eth7: ENODEV")
  })
})

describe("raw socket", () => {
  const payload = bytesOf("3133 6401 0064 0000 0a000063")

  test("a multicast packet arrives with its IP header: TTL, TOS, source, destination", () => {
    const [from, to] = [rawSocket(a, { tos: 0xc0, priority: 6 }), rawSocket(b)]
    expect(from.send(payload, { source: A, destination: VRRP_GROUP })).toEqual({ ok: true })
    const packet = next(to)
    expect(packet).toMatchObject({ source: A, truncated: false })
    expect(packet.bytes).toHaveLength(32)
    const header = hexOf(packet.bytes.subarray(0, 20))
    expect(header).toMatch(/^45c00020........ff70....0a000001e0000012$/)
    expect(packet.bytes.subarray(20)).toEqual(payload)
    expect(to.receive()).toBeUndefined()
  })

  test("a sent multicast packet does not come back, unless asked for", () => {
    const silent = rawSocket(a)
    silent.send(payload, { source: A, destination: VRRP_GROUP })
    expect(silent.receive()).toBeUndefined()
    const loud = rawSocket(a, { multicastLoop: true })
    loud.send(payload, { source: A, destination: VRRP_GROUP })
    expect(next(loud).bytes.subarray(20)).toEqual(payload)
  })

  test("a packet goes to a unicast peer with the same TTL", () => {
    const [from, to] = [rawSocket(a), rawSocket(b, { groups: [] })]
    expect(from.send(payload, { source: A, destination: B })).toEqual({ ok: true })
    const packet = next(to)
    expect([packet.bytes[8], packet.source]).toEqual([255, A])
  })

  test("the source is the chosen one, also when the interface holds others before it", async () => {
    await a.ip("address flush dev eth0")
    await a.ip("address add 10.0.0.41/32 dev eth0 scope link")
    await a.ip("address add 10.0.0.40/32 dev eth0 scope link")
    await a.ip(`address add ${A}/24 dev eth0`)
    await b.sysctl({ "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.eth0.rp_filter": 0 })
    const [from, to] = [rawSocket(a), rawSocket(b)]
    for (const source of [A, "10.0.0.40" as Address]) {
      from.send(payload, { source, destination: VRRP_GROUP })
      expect(next(to).source).toBe(source)
    }
  })

  test("sending fails when the source is not held, the payload too long, the interface down", async () => {
    const socket = rawSocket(a)
    const route = { source: A, destination: VRRP_GROUP }
    expect(socket.send(payload, { ...route, source: "10.0.0.7" as Address })).toMatchObject({
      ok: false,
      error: { operation: "send to 224.0.0.18 on eth0" },
    })
    const tooLong = { ok: false, error: { code: "EMSGSIZE" } } as const
    expect(socket.send(new Uint8Array(1501), route)).toMatchObject(tooLong)
    expect(socket.send(new Uint8Array(1500), route)).toEqual({ ok: true })
    await a.linkDown("eth0")
    expect(socket.send(payload, route)).toMatchObject({ ok: false, error: { code: "ENETUNREACH" } })
    await a.linkUp("eth0")
    expect(socket.send(payload, route)).toEqual({ ok: true })
  })

  test("sending says so when a firewall rule of the host refuses it", async () => {
    await a.nft(
      "table ip t { chain c { type filter hook output priority 0; ip protocol 112 drop; }; }",
    )
    const result = rawSocket(a).send(payload, { source: A, destination: VRRP_GROUP })
    expect(result).toMatchObject({
      ok: false,
      error: {
        message:
          "Cannot send to 224.0.0.18 on eth0: EPERM (a firewall rule of this host refuses it)",
      },
    })
  })

  test("groups are heard again after the interface was down", async () => {
    const [from, to] = [rawSocket(a), rawSocket(b)]
    await b.linkDown("eth0")
    await b.linkUp("eth0")
    await b.exec(["ping", "-c", "1", "-W", "2", A])
    from.send(payload, { source: A, destination: VRRP_GROUP })
    expect(next(to).source).toBe(A)
  })

  test("packets of another interface, group or protocol are not received", async () => {
    const other = await lab.lan(`other${hostNumber}`)
    await other.join(a, { addresses: ["10.9.0.1/24"] })
    await other.join(b, { addresses: ["10.9.0.2/24"] })
    const eth1 = linkOf(a, "eth1")
    const options = { protocol: VRRP, groups: [VRRP_GROUP], ttl: 255 }
    const onEth1 = inNamespace(a, () => new RawSocket(eth1, options))
    closers.push(() => onEth1.close())
    const to = rawSocket(b)
    onEth1.send(payload, { source: "10.9.0.1" as Address, destination: VRRP_GROUP })
    rawSocket(a).send(payload, { source: A, destination: "224.0.0.1" as Address })
    rawSocket(a, { protocol: 113 }).send(payload, { source: A, destination: VRRP_GROUP })
    const last = bytesOf("00")
    rawSocket(a).send(last, { source: A, destination: VRRP_GROUP })
    expect(next(to).bytes.subarray(20)).toEqual(last)
  })

  test("with headerIncluded the caller's header is sent as it is", () => {
    const [from, to] = [rawSocket(a, { headerIncluded: true }), rawSocket(b)]
    const header = bytesOf("45c00020 00010000 07700000 0a000001 e0000012")
    const packet = Buffer.concat([header, payload])
    expect(from.send(packet, { source: undefined, destination: VRRP_GROUP })).toEqual({ ok: true })
    // Total length and checksum are the kernel's.
    expect(hexOf(next(to).bytes)).toMatch(/^45c00020000100000770....0a000001e0000012313364/)
  })

  test("a packet longer than the limit is cut and marked", async () => {
    const jumbo = await lab.lan(`jumbo${hostNumber}`)
    await jumbo.join(a, { addresses: ["10.9.0.1/24"], mtu: 1600 })
    await jumbo.join(b, { addresses: ["10.9.0.2/24"], mtu: 1600 })
    const options = { protocol: 1, groups: [], ttl: 255 }
    const icmp = inNamespace(b, () => new RawSocket(linkOf(b, "eth1"), options))
    closers.push(() => icmp.close())
    await a.exec(["ping", "-c", "1", "-W", "1", "-s", "1473", "10.9.0.2"])
    expect(next(icmp)).toMatchObject({ truncated: true, bytes: { length: 1500 } })
    await a.exec(["ping", "-c", "1", "-W", "1", "-s", "1472", "10.9.0.2"])
    expect(next(icmp)).toMatchObject({ truncated: false, bytes: { length: 1500 } })
  })

  test("opening fails when the interface does not exist", () => {
    const options = { protocol: VRRP, groups: [VRRP_GROUP], ttl: 255 }
    const open = () => new RawSocket({ index: 4711, name: "eth7" }, options)
    expect(() => inNamespace(a, open)).toThrow(
      "Cannot open raw socket for IP protocol 112 on eth7: EADDRNOTAVAIL",
    )
  })
})
