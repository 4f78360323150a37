/**
 * The byte stream under an HTTP connection: plain TCP here, TLS in `tls/`.
 *
 * Reads and writes answer with a count, 0 for the end of the stream, or a negated errno; -EAGAIN
 * stands for whatever the transport waits for, and the next event on the descriptor ends the wait.
 */
import type { NativeBytes } from "../linux/bytes.ts"
import { closeFd, receiveAt, resetFd, send, shutdownWrite } from "../linux/tcp.ts"

export interface Transport {
  readonly fd: number
  /** Whether a read that returns less than was asked for has emptied it (edge-triggered epoll). */
  readonly isDrainedByShortRead: boolean
  /** Whether bytes may pass by splice(2). */
  readonly canSplice: boolean
  /** "TLSv1.3"; empty without TLS. */
  readonly tlsVersion: string
  /** Subject of the client's verified certificate; empty when it showed none. */
  readonly peerSubject: string
  /** Why the handshake failed, in words; empty: it did not. */
  readonly failure?: string
  /** Goes on with the handshake, where there is one: 0 when it is done, or a negated errno. */
  handshake?(): number
  /** A read answered -EAGAIN because it has to write first (TLS): try again when it can. */
  readonly wantsWrite: boolean
  read(into: NativeBytes, offset: number, length: number): number
  write(from: NativeBytes, start: number, end: number): number
  finishWriting(): void
  close(how: "finish" | "reset"): void
}

export class PlainTransport implements Transport {
  readonly fd: number
  readonly isDrainedByShortRead = true
  readonly canSplice = true
  readonly tlsVersion = ""
  readonly peerSubject = ""
  readonly wantsWrite = false

  constructor(fd: number) {
    this.fd = fd
  }

  read(into: NativeBytes, offset: number, length: number): number {
    return receiveAt(this.fd, into, { offset, length })
  }

  write(from: NativeBytes, start: number, end: number): number {
    return send(this.fd, from, start, end)
  }

  finishWriting(): void {
    shutdownWrite(this.fd)
  }

  close(how: "finish" | "reset"): void {
    if (how === "finish") closeFd(this.fd)
    else resetFd(this.fd)
  }
}
