/**
 * Sizes and offsets of the kernel structures that this folder reads and writes.
 *
 * Offsets are bytes. Both supported machines (x86-64, arm64) are little-endian LP64 and share every
 * layout here; the one structure that differs, `struct epoll_event`, is in `epoll.ts`. A kernel
 * test compares each number with what the C compiler says.
 */

/** The kernel's integers are in the byte order of the machine (`DataView`'s last argument). */
export const LITTLE_ENDIAN = true

/** linux/netlink.h */
export const SOCKADDR_NL = { size: 12, family: 0, portId: 4, groups: 8 } as const
export const NLMSGHDR = { size: 16, length: 0, type: 4, flags: 6, sequence: 8, portId: 12 } as const
export const NLATTR = { size: 4, length: 0, type: 2 } as const

/** linux/rtnetlink.h, linux/if_addr.h */
export const IFINFOMSG = { size: 16, family: 0, type: 2, index: 4, flags: 8, change: 12 } as const
export const IFADDRMSG = {
  size: 8,
  family: 0,
  prefixLength: 1,
  flags: 2,
  scope: 3,
  index: 4,
} as const
export const IFA_CACHEINFO = { size: 16, preferred: 0, valid: 4, created: 8, updated: 12 } as const
export const RTMSG = {
  size: 12,
  family: 0,
  destinationLength: 1,
  sourceLength: 2,
  tos: 3,
  table: 4,
  protocol: 5,
  scope: 6,
  type: 7,
  flags: 8,
} as const
export const RTNEXTHOP = { size: 8, length: 0, flags: 2, hops: 3, ifindex: 4 } as const

/** linux/if_packet.h */
export const SOCKADDR_LL = {
  size: 20,
  family: 0,
  protocol: 2,
  ifindex: 4,
  hardwareType: 8,
  packetType: 10,
  addressLength: 11,
  address: 12,
} as const

/** linux/filter.h */
export const SOCK_FILTER = { size: 8, code: 0, jumpTrue: 2, jumpFalse: 3, k: 4 } as const
export const SOCK_FPROG = { size: 16, length: 0, filter: 8 } as const

/** netinet/in.h, sys/un.h */
export const SOCKADDR_IN = { size: 16, family: 0, port: 2, address: 4 } as const
export const SOCKADDR_UN = { size: 110, family: 0, path: 2 } as const
export const IP_MREQN = { size: 12, group: 0, address: 4, ifindex: 8 } as const
export const IPV6_MREQ = { size: 20, group: 0, ifindex: 16 } as const
export const IN_PKTINFO = { size: 12, ifindex: 0, specDst: 4, address: 8 } as const

/** sys/socket.h, sys/uio.h */
export const MSGHDR = {
  size: 56,
  name: 0,
  nameLength: 8,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
} as const
export const IOVEC = { size: 16, base: 0, length: 8 } as const
export const CMSGHDR = { size: 16, length: 0, level: 8, type: 12 } as const
export const TIMEVAL = { size: 16, seconds: 0, microseconds: 8 } as const

/** linux/if.h */
export const IFREQ = { size: 40, name: 0, flags: 16 } as const
