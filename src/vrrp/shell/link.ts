/**
 * The sockets of one interface, shared by all virtual routers on it: adverts in and out (raw,
 * protocol 112) and ARP in and out (packet). An interface without a MAC (a tunnel) has no ARP.
 */
import type { Link, LinkRef } from "../../linux/link-message.ts"
import { PacketSocket } from "../../linux/packet-socket.ts"
import { type PacketRoute, RawSocket, type ReceivedPacket } from "../../linux/raw-socket.ts"
import type { SendResult } from "../../linux/socket-option.ts"
import type { Address } from "../../net/address.ts"
import { BROADCAST_MAC, type Mac } from "../../net/mac.ts"
import { type Arp, arpProbe, encodeArp, gratuitousArp, parseArp } from "../../wire/arp.ts"
import { ETHERTYPE_ARP, encodeEthernet, parseEthernet } from "../../wire/ethernet.ts"
import { IP_PROTOCOL_VRRP } from "../../wire/ipv4.ts"
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
    try {
      this.#arp =
        this.mac === undefined ? undefined : new PacketSocket(link, { etherType: ETHERTYPE_ARP })
    } catch (error) {
      this.#vrrp.close()
      throw error
    }
  }

  get vrrpFd(): number {
    return this.#vrrp.fd
  }

  get arpFd(): number | undefined {
    return this.#arp?.fd
  }

  sendAdvertisement(message: Uint8Array, route: PacketRoute): SendResult {
    return this.#vrrp.send(message, route)
  }

  /** Both forms of gratuitous ARP. The first failure counts. */
  announce(address: Address): SendResult {
    const { mac } = this
    if (mac === undefined) return { ok: true }
    const request = this.#sendArp(gratuitousArp("request", mac, address), mac)
    const reply = this.#sendArp(gratuitousArp("reply", mac, address), mac)
    return request.ok ? reply : request
  }

  probe(address: Address): SendResult {
    return this.mac === undefined
      ? { ok: true }
      : this.#sendArp(arpProbe(this.mac, address), this.mac)
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

  close(): void {
    this.#vrrp.close()
    this.#arp?.close()
  }

  #sendArp(arp: Arp, source: Mac): SendResult {
    if (this.#arp === undefined) return { ok: true }
    const payload = encodeArp(arp)
    const frame = { destination: BROADCAST_MAC, source, etherType: ETHERTYPE_ARP, payload }
    return this.#arp.send(encodeEthernet(frame))
  }
}
