/**
 * The sockets of one interface, shared by all virtual routers on it: adverts in and out (raw,
 * protocol 112), ARP and what IPv6 has in its place in and out (packet). An interface without a MAC
 * (a tunnel) has neither.
 */
import type { Link, LinkRef } from "../../linux/link-message.ts"
import { type FilterInstruction, PacketSocket } from "../../linux/packet-socket.ts"
import { type PacketRoute, RawSocket, type ReceivedPacket } from "../../linux/raw-socket.ts"
import type { SendResult } from "../../linux/socket-option.ts"
import { type Address, familyOf } from "../../net/address.ts"
import { BROADCAST_MAC, type Mac } from "../../net/mac.ts"
import { type Arp, arpProbe, encodeArp, gratuitousArp, parseArp } from "../../wire/arp.ts"
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  encodeEthernet,
  parseEthernet,
} from "../../wire/ethernet.ts"
import { IP_PROTOCOL_VRRP } from "../../wire/ipv4.ts"
import {
  answerTo,
  duplicateQuestion,
  encodeNdp,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  IP_PROTOCOL_ICMPV6,
  IPV6_HEADER_BYTES,
  multicastMac,
  type NeighborMessage,
  type NeighborSolicitation,
  parseNdp,
  unsolicitedAdvertisement,
} from "../../wire/ndp.ts"
import { VRRP_MULTICAST_IPV4, VRRP_TIME_TO_LIVE } from "../../wire/vrrp.ts"

/** DSCP CS6, internetwork control, as keepalived sends. */
const TYPE_OF_SERVICE = 0xc0
/** The highest queueing priority that needs no capability. */
const QUEUE_PRIORITY = 6
/** Per call, so that a flood cannot keep the thread from its deadlines; a minute at 100 ms. */
const PACKETS_PER_READ_MAX = 600

export class VrrpLink implements LinkRef {
  readonly index: number
  readonly name: string
  readonly mac: Mac | undefined
  readonly #vrrp: RawSocket
  readonly #arp: PacketSocket | undefined
  readonly #ndp: PacketSocket | undefined

  /** Opens the sockets. Throws `SystemError`. */
  constructor(link: Link) {
    this.index = link.index
    this.name = link.name
    this.mac = link.noArp ? undefined : link.mac
    this.#vrrp = new RawSocket(link, {
      protocol: IP_PROTOCOL_VRRP,
      groups: [VRRP_MULTICAST_IPV4],
      ttl: VRRP_TIME_TO_LIVE,
      tos: TYPE_OF_SERVICE,
      priority: QUEUE_PRIORITY,
    })
    if (this.mac === undefined) return
    try {
      this.#arp = new PacketSocket(link, { etherType: ETHERTYPE_ARP })
      this.#ndp = new PacketSocket(link, { etherType: ETHERTYPE_IPV6, filter: ONLY_NEIGHBORS })
    } catch (error) {
      this.close()
      throw error
    }
  }

  get vrrpFd(): number {
    return this.#vrrp.fd
  }

  get arpFd(): number | undefined {
    return this.#arp?.fd
  }

  get ndpFd(): number | undefined {
    return this.#ndp?.fd
  }

  sendAdvertisement(message: Uint8Array, route: PacketRoute): SendResult {
    return this.#vrrp.send(message, route)
  }

  /**
   * Both forms of gratuitous ARP, or an unsolicited neighbour advertisement. The first failure
   * counts.
   */
  announce(address: Address): SendResult {
    const { mac } = this
    if (mac === undefined) return { ok: true }
    if (familyOf(address) === 6) return this.#sendNdp(unsolicitedAdvertisement(mac, address), mac)
    const request = this.#sendArp(gratuitousArp("request", mac, address), mac)
    const reply = this.#sendArp(gratuitousArp("reply", mac, address), mac)
    return request.ok ? reply : request
  }

  /** Asks for another holder of an address of ours. */
  probe(address: Address): SendResult {
    const { mac } = this
    if (mac === undefined) return { ok: true }
    return familyOf(address) === 6
      ? this.#sendNdp(duplicateQuestion(address), mac)
      : this.#sendArp(arpProbe(mac, address), mac)
  }

  /** `from`: the MAC it came from, for askers that leave theirs out (RFC 4861 §7.2.4). */
  answer(asked: NeighborSolicitation, from: Mac): SendResult {
    const { mac } = this
    if (mac === undefined) return { ok: true }
    return this.#sendNdp(answerTo(asked, mac), mac, asked.mac ?? from)
  }

  /** Packets with their IP header. Throws `SystemError`. */
  *receiveVrrp(): Generator<ReceivedPacket> {
    for (let count = 0; count < PACKETS_PER_READ_MAX; count++) {
      const packet = this.#vrrp.receive()
      if (packet === undefined) return
      yield packet
    }
  }

  /** What is not ARP for IPv4 is none of ours and passed over. Throws `SystemError`. */
  *receiveArp(): Generator<Arp> {
    for (let count = 0; count < PACKETS_PER_READ_MAX; count++) {
      const received = this.#arp?.receive()
      if (received === undefined) return
      const frame = parseEthernet(received.bytes)
      const arp = frame.ok ? parseArp(frame.value.payload) : frame
      if (arp.ok) yield arp.value
    }
  }

  /** Throws `SystemError`. */
  *receiveNdp(): Generator<{ readonly message: NeighborMessage; readonly from: Mac }> {
    for (let count = 0; count < PACKETS_PER_READ_MAX; count++) {
      const received = this.#ndp?.receive()
      if (received === undefined) return
      const frame = parseEthernet(received.bytes)
      if (!frame.ok) continue
      const message = parseNdp(frame.value.payload)
      if (message.ok) yield { message: message.value, from: frame.value.source }
    }
  }

  close(): void {
    this.#vrrp.close()
    this.#arp?.close()
    this.#ndp?.close()
  }

  /** Groups have their own MAC; of a host's the caller knows it. */
  #sendNdp(message: NeighborMessage, source: Mac, to?: Mac): SendResult {
    if (this.#ndp === undefined) return { ok: true }
    const isToGroup = message.destination.startsWith("ff")
    const destination = isToGroup || to === undefined ? multicastMac(message.destination) : to
    const frame = { destination, source, etherType: ETHERTYPE_IPV6, payload: encodeNdp(message) }
    return this.#ndp.send(encodeEthernet(frame))
  }

  #sendArp(arp: Arp, source: Mac): SendResult {
    if (this.#arp === undefined) return { ok: true }
    const payload = encodeArp(arp)
    const frame = { destination: BROADCAST_MAC, source, etherType: ETHERTYPE_ARP, payload }
    return this.#arp.send(encodeEthernet(frame))
  }
}

const ICMPV6_TYPE_OFFSET = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES
/** Neighbour solicitations and advertisements; other traffic never wakes the thread. */
const ONLY_NEIGHBORS: readonly FilterInstruction[] = [
  { code: 0x30, jumpTrue: 0, jumpFalse: 0, k: ETHERNET_HEADER_BYTES + 6 }, // ldb next header
  { code: 0x15, jumpTrue: 0, jumpFalse: 4, k: IP_PROTOCOL_ICMPV6 }, // jeq
  { code: 0x30, jumpTrue: 0, jumpFalse: 0, k: ICMPV6_TYPE_OFFSET }, // ldb type
  { code: 0x15, jumpTrue: 1, jumpFalse: 0, k: ICMPV6_NEIGHBOR_SOLICITATION },
  { code: 0x15, jumpTrue: 0, jumpFalse: 1, k: ICMPV6_NEIGHBOR_ADVERTISEMENT },
  { code: 0x06, jumpTrue: 0, jumpFalse: 0, k: 0xffff }, // ret: all of it
  { code: 0x06, jumpTrue: 0, jumpFalse: 0, k: 0 },
]
