/**
 * TCP sockets for the proxy: listening, connecting, and the raw calls of the data path.
 *
 * A call on the data path returns the byte count, or the negated errno (`-EAGAIN`), because a
 * would-block is the most ordinary answer there is and must not cost an exception.
 */
import { ANY_IPV6, type Endpoint, familyOf, formatEndpoint } from "../net/address.ts"
import { NativeBytes } from "./bytes.ts"
import { EACCES, EINPROGRESS, EPERM, SystemError } from "./errno.ts"
import { check, type Fd, ownFd } from "./fd.ts"
import { lastErrno, libc } from "./libc.ts"
import { attachFilter, type FilterInstruction } from "./packet-socket.ts"
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  encodeSockaddr,
  SOCKADDR_BYTES_MAX,
  SOCKADDR_IN_BYTES,
} from "./sockaddr.ts"

const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const STREAM_FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC

const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_ERROR = 4
const SO_KEEPALIVE = 9
const SO_LINGER = 13
const SO_REUSEPORT = 15

const IPPROTO_IP = 0
const IP_FREEBIND = 15
const IP_BIND_ADDRESS_NO_PORT = 24
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const IPV6_FREEBIND = 78

const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const TCP_KEEPIDLE = 4
const TCP_KEEPINTVL = 5
const TCP_KEEPCNT = 6

const MSG_PEEK = 0x2
const MSG_NOSIGNAL = 0x4000
const MSG_MORE = 0x8000
const SHUT_RDWR = 2
const SHUT_WR = 1

/** Dead peers are noticed after 60 + 6 × 10 s, within what NAT devices and operators expect. */
const KEEPALIVE_IDLE_S = 60
const KEEPALIVE_INTERVAL_S = 10
const KEEPALIVE_COUNT = 6

const BACKLOG = 4096

/** A `struct sockaddr` of zeros is of the family AF_UNSPEC. */
const unspecified = new NativeBytes(16)

const option = new NativeBytes(8)
const optionLength = new NativeBytes(4)

/** Throws `SystemError`. */
function setOption(fd: number, level: number, name: number, value: number): void {
  option.view.setInt32(0, value, true)
  check(libc.setsockopt(fd, level, name, option.address, 4), `set socket option ${level}/${name}`)
}

/** For options whose failure changes nothing that matters; saves the error path's allocation. */
function trySetOption(fd: number, level: number, name: number, value: number): void {
  option.view.setInt32(0, value, true)
  libc.setsockopt(fd, level, name, option.address, 4)
}

export interface ListenOptions {
  /**
   * Join the SO_REUSEPORT group of sockets of this user that are bound to the same endpoint: one
   * socket per data thread, connections spread by the kernel.
   */
  readonly reusePort: boolean
}

/**
 * A non-blocking listening socket. The address need not be held (IP_FREEBIND): a virtual address
 * arrives later. `::` accepts IPv4 too. Accepted sockets inherit TCP_NODELAY and keep-alive, which
 * saves five calls per connection. Throws `SystemError`, "Cannot bind 192.0.2.10:443: EADDRINUSE".
 */
export function listenTcp(endpoint: Endpoint, options: ListenOptions): Fd {
  return listening(endpoint, options, () => {})
}

/**
 * A listening socket that drops every segment unseen: to clients it is as if the address were gone
 * already, and their kernel asks again a moment later, where without a listener it would be refused
 * at once. Shares its endpoint with sockets of `listenTcp` that share it. Throws `SystemError`.
 */
export function listenSilently(endpoint: Endpoint): Fd {
  return listening(endpoint, { reusePort: true }, (socket) => attachFilter(socket, [DROP]))
}

/** `prepare` is called before the first segment can come. */
function listening(
  endpoint: Endpoint,
  { reusePort }: ListenOptions,
  prepare: (socket: Fd) => void,
): Fd {
  const isIpv6 = familyOf(endpoint.address) === 6
  const socket = openStreamSocket(isIpv6 ? AF_INET6 : AF_INET)
  try {
    setOption(socket.number, SOL_SOCKET, SO_REUSEADDR, 1)
    if (reusePort) setOption(socket.number, SOL_SOCKET, SO_REUSEPORT, 1)
    if (isIpv6) {
      setOption(socket.number, IPPROTO_IPV6, IPV6_V6ONLY, endpoint.address === ANY_IPV6 ? 0 : 1)
      setOption(socket.number, IPPROTO_IPV6, IPV6_FREEBIND, 1)
    } else setOption(socket.number, IPPROTO_IP, IP_FREEBIND, 1)
    setOption(socket.number, IPPROTO_TCP, TCP_NODELAY, 1)
    enableKeepAlive(socket.number)
    bind(socket.number, endpoint)
    prepare(socket)
    check(libc.listen(socket.number, BACKLOG), `listen on ${formatEndpoint(endpoint)}`)
    return socket
  } catch (error) {
    socket.close()
    throw error
  }
}

/** BPF_RET | BPF_K: nothing of it is kept. */
const DROP: FilterInstruction = { code: 0x06, jumpTrue: 0, jumpFalse: 0, k: 0 }

function openStreamSocket(family: number): Fd {
  return ownFd(libc.socket(family, STREAM_FLAGS, 0), "open TCP socket", "TCP socket")
}

function bind(fd: number, endpoint: Endpoint): void {
  const sockaddr = encodeSockaddr(endpoint)
  if (libc.bind(fd, sockaddr.address, sockaddr.bytes.length) === 0) return
  const errno = lastErrno()
  const isDenied = errno === EACCES || errno === EPERM
  const hint = isDenied ? "ports below 1024 need the capability CAP_NET_BIND_SERVICE" : ""
  throw new SystemError(`bind ${formatEndpoint(endpoint)}`, errno, hint)
}

/** Probing a dead peer: 60 s idle, then 6 probes 10 s apart. */
export function enableKeepAlive(fd: number): void {
  trySetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
  trySetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
  trySetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
  trySetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT)
}

export function disableNagle(fd: number): void {
  trySetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1)
}

/** The peer of the last `accept`, and scratch for the names of sockets. */
export const peerSockaddr: NativeBytes = new NativeBytes(SOCKADDR_BYTES_MAX)
const peerSockaddrLength = new NativeBytes(4)

/**
 * Accepts one connection; `peerSockaddr` then holds its client. Negated errno when there is none.
 */
export function accept(fd: number): number {
  peerSockaddrLength.view.setInt32(0, SOCKADDR_BYTES_MAX, true)
  const result = libc.accept4(
    fd,
    peerSockaddr.address,
    peerSockaddrLength.address,
    SOCK_NONBLOCK | SOCK_CLOEXEC,
  )
  return result >= 0 ? result : -lastErrno()
}

/**
 * Starts a connection and returns the socket's descriptor, or a negated errno. With `source` the
 * local address is bound without a port (IP_BIND_ADDRESS_NO_PORT): the port is chosen at connect,
 * where only the whole 4-tuple must be unique.
 */
export function startConnect(server: NativeBytes, source: NativeBytes | undefined): number {
  const family = server.bytes.length === SOCKADDR_IN_BYTES ? AF_INET : AF_INET6
  const fd = libc.socket(family, STREAM_FLAGS, 0)
  if (fd < 0) return -lastErrno()
  if (source !== undefined) {
    trySetOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if (libc.bind(fd, source.address, source.bytes.length) < 0) return closeWith(fd, lastErrno())
  }
  if (libc.connect(fd, server.address, server.bytes.length) === 0) return fd
  const errno = lastErrno()
  return errno === EINPROGRESS ? fd : closeWith(fd, errno)
}

function closeWith(fd: number, errno: number): number {
  libc.close(fd)
  return -errno
}

/** The error a socket has pending, 0 if none (SO_ERROR; reading clears it). */
export function pendingError(fd: number): number {
  optionLength.view.setInt32(0, 4, true)
  const result = libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, option.address, optionLength.address)
  return result < 0 ? lastErrno() : option.view.getInt32(0, true)
}

/** Bytes read, 0 at the end of the stream, or a negated errno. */
export function receive(fd: number, into: NativeBytes, length: number): number {
  const result = libc.recv(fd, into.address, length, 0)
  return result >= 0 ? result : -lastErrno()
}

/** Bytes taken by the kernel, or a negated errno. */
export function send(fd: number, from: NativeBytes, start: number, end: number): number {
  const result = libc.send(fd, from.at(start), end - start, MSG_NOSIGNAL)
  return result >= 0 ? result : -lastErrno()
}

/** Like `send`, of bytes that are to leave in one segment with the next that are sent. */
export function sendWithNext(fd: number, from: NativeBytes): number {
  const result = libc.send(fd, from.address, from.bytes.length, MSG_NOSIGNAL | MSG_MORE)
  return result >= 0 ? result : -lastErrno()
}

/** Sends FIN: nothing more will be written. */
export function shutdownWrite(fd: number): void {
  libc.shutdown(fd, SHUT_WR)
}

/** Stops listening, and resets whom nobody has accepted, without giving up the number. */
export function shutdownListening(fd: number): void {
  libc.shutdown(fd, SHUT_RDWR)
}

/**
 * Ends a connection with RST without giving up the descriptor's number: connect(2) to AF_UNSPEC. A
 * FIN would let the peer take half an answer for the whole.
 */
export function disconnect(fd: number): void {
  libc.connect(fd, unspecified.address, unspecified.bytes.length)
}

export function closeFd(fd: number): void {
  libc.close(fd)
}

/** Closes with RST, so that the peer learns at once that its data was not delivered. */
export function resetFd(fd: number): void {
  option.view.setInt32(0, 1, true)
  option.view.setInt32(4, 0, true)
  libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, option.address, 8)
  libc.close(fd)
}

/** The local end of a connected socket; undefined when it is not connected any more. */
export function localEndpoint(fd: number): Endpoint | undefined {
  peerSockaddrLength.view.setInt32(0, SOCKADDR_BYTES_MAX, true)
  const result = libc.getsockname(fd, peerSockaddr.address, peerSockaddrLength.address)
  return result < 0 ? undefined : decodeSockaddr(peerSockaddr)
}

/** The other end of a connected socket; undefined when it is not connected any more. */
export function peerEndpoint(fd: number): Endpoint | undefined {
  peerSockaddrLength.view.setInt32(0, SOCKADDR_BYTES_MAX, true)
  const result = libc.getpeername(fd, peerSockaddr.address, peerSockaddrLength.address)
  return result < 0 ? undefined : decodeSockaddr(peerSockaddr)
}

/** The port a listening socket is bound to, of use after binding port 0. Throws `SystemError`. */
export function boundPort(socket: Fd): number {
  peerSockaddrLength.view.setInt32(0, SOCKADDR_BYTES_MAX, true)
  check(
    libc.getsockname(socket.number, peerSockaddr.address, peerSockaddrLength.address),
    "read the bound address",
  )
  return peerSockaddr.view.getUint16(2)
}

/**
 * Whether a socket, ours or another program's, listens on `endpoint`. SO_REUSEPORT would silently
 * share the port with another process of the same user, a second copy of this program most of all.
 */
export function isEndpointTaken(endpoint: Endpoint): boolean {
  try {
    listenTcp(endpoint, { reusePort: false }).close()
    return false
  } catch (error) {
    if (error instanceof SystemError && error.code === "EADDRINUSE") return true
    throw error
  }
}

/** Like `receive`, to a place within the buffer. */
export function receiveAt(
  fd: number,
  into: NativeBytes,
  { offset, length }: { readonly offset: number; readonly length: number },
): number {
  const result = libc.recv(fd, into.at(offset), length, 0)
  return result >= 0 ? result : -lastErrno()
}

/** Like `receive`, but leaves the bytes in the socket for the next read. */
export function peek(fd: number, into: NativeBytes, length: number): number {
  const result = libc.recv(fd, into.address, length, MSG_PEEK)
  return result >= 0 ? result : -lastErrno()
}
