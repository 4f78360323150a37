/**
 * IPv6 multicast groups that this process hears on one interface (RFC 3493 §5.2). The kernel lets
 * their frames through the interface's filter and reports the membership to snooping switches
 * (MLD); packet sockets receive them then. The memberships end with the process.
 */
import { type Address, addressBytes } from "../net/address.ts"
import type { Fd } from "./fd.ts"
import { IPV6_MREQ, LITTLE_ENDIAN } from "./layouts.ts"
import type { LinkRef } from "./link-message.ts"
import { AF_INET6 } from "./sockaddr.ts"
import { openSocket, SOCK_DGRAM, setSocketOption } from "./socket-option.ts"

const IPPROTO_IPV6 = 41
const IPV6_ADD_MEMBERSHIP = 20
const IPV6_DROP_MEMBERSHIP = 21
/** net.core.optmem_max, 20 KiB on older kernels, has room for some 280. */
const GROUPS_PER_SOCKET_MAX = 128

interface Member {
  readonly socket: Fd
  /** Who joined and has not left. */
  readonly users: Set<string>
}

export class MulticastGroups {
  readonly link: LinkRef
  readonly #members = new Map<Address, Member>()
  readonly #sockets = new Map<Fd, number>()

  constructor(link: LinkRef) {
    this.link = link
  }

  /** Joining again does nothing. Throws `SystemError`. */
  join(group: Address, user: string): void {
    const member = this.#members.get(group)
    if (member !== undefined) {
      member.users.add(user)
      return
    }
    const socket = this.#socketWithRoom()
    const value = mreq(group, this.link)
    const option = { level: IPPROTO_IPV6, name: IPV6_ADD_MEMBERSHIP, value }
    setSocketOption(socket, option, `join ${group} on ${this.link.name}`)
    this.#members.set(group, { socket, users: new Set([user]) })
    this.#sockets.set(socket, (this.#sockets.get(socket) ?? 0) + 1)
  }

  /** The group is left when its last user leaves. Throws `SystemError`. */
  leave(group: Address, user: string): void {
    const member = this.#members.get(group)
    if (member === undefined || !member.users.delete(user) || member.users.size > 0) return
    this.#members.delete(group)
    this.#sockets.set(member.socket, (this.#sockets.get(member.socket) ?? 1) - 1)
    const value = mreq(group, this.link)
    const option = { level: IPPROTO_IPV6, name: IPV6_DROP_MEMBERSHIP, value }
    setSocketOption(member.socket, option, `leave ${group} on ${this.link.name}`)
  }

  /** Leaves all groups. */
  close(): void {
    for (const socket of this.#sockets.keys()) socket.close()
    this.#sockets.clear()
    this.#members.clear()
  }

  #socketWithRoom(): Fd {
    for (const [socket, groups] of this.#sockets) if (groups < GROUPS_PER_SOCKET_MAX) return socket
    const kind = { family: AF_INET6, type: SOCK_DGRAM, protocol: 0 }
    const socket = openSocket(kind, "open socket for multicast groups", () => undefined)
    this.#sockets.set(socket, 0)
    return socket
  }
}

function mreq(group: Address, { index }: LinkRef): Uint8Array {
  const bytes = new Uint8Array(IPV6_MREQ.size)
  bytes.set(addressBytes(group), IPV6_MREQ.group)
  new DataView(bytes.buffer).setInt32(IPV6_MREQ.ifindex, index, LITTLE_ENDIAN)
  return bytes
}
