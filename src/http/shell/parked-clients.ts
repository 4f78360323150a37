/**
 * Clients of one listener that keep a connection open and ask nothing: by far the most that an edge
 * holds, and worth next to nothing to it. After a moment their objects are given up, and what is
 * left of each is a number in a map; the next byte makes a connection of it again.
 *
 * Only plain connections whose client is the socket's peer can be parked: what TLS and a PROXY
 * header have told is in no socket to ask for again.
 */
import { LiveConnection, LiveCrowd, type OutsideReason } from "../../connection/live-connection.ts"
import { PlainTransport } from "../../connection/transport.ts"
import { closeFd, localEndpoint, peerEndpoint, resetFd } from "../../linux/tcp.ts"
import type { Address } from "../../net/address.ts"
import { after, type Instant } from "../../net/time.ts"
import { ClientConnection, type ConnectionOwner } from "./client-connection.ts"
import type { HttpContext } from "./context.ts"

/** In a tick; closing takes some 10 µs. */
const CLOSED_MAX = 64

export class ParkedClients extends LiveCrowd {
  readonly #context: HttpContext
  readonly #owner: ConnectionOwner
  /** Descriptor → since when it is idle, those that are so longest first. */
  readonly #idleSince = new Map<number, Instant>()
  #handled = -1

  constructor(context: HttpContext, owner: ConnectionOwner) {
    super()
    this.#context = context
    this.#owner = owner
  }

  /** Takes over the descriptor, which is registered for reading and has nothing to read. */
  park(fd: number, idleSince: Instant): void {
    const { reactor } = this.#context
    reactor.handOver(fd, this)
    this.#idleSince.set(fd, idleSince)
    if (this.wheelSlot < 0) reactor.timers.arm(this, this.#deadlineOf(idleSince))
  }

  override handle(fd: number, events: number): void {
    this.#handled = fd
    this.#wake(fd)?.handle(fd, events)
  }

  override fail(error: unknown): void {
    this.#context.log("error", "Fault in an idle connection", { error: String(error) })
    if (this.#idleSince.has(this.#handled)) this.#close(this.#handled, "reset")
  }

  /** Closes those whose time is over: of a crowd so many, and the others in the next tick. */
  override onTimer(now: Instant): void {
    const { timers } = this.#context.reactor
    let closed = 0
    for (const [fd, idleSince] of this.#idleSince) {
      const deadline = this.#deadlineOf(idleSince)
      if (deadline > now) return timers.arm(this, deadline)
      if (closed === CLOSED_MAX) return timers.arm(this, after(now, 1))
      this.#close(fd, "finish")
      closed += 1
    }
  }

  override endThose(_reason: OutsideReason, concerns: (live: LiveConnection) => boolean): void {
    const one = new ParkedClient()
    for (const fd of this.#idleSince.keys()) {
      one.fd = fd
      if (concerns(one)) this.#close(fd, "reset")
    }
  }

  /** The listener is gone: all of them have had their answers. */
  retire(): void {
    for (const fd of [...this.#idleSince.keys()]) this.#wake(fd)?.retire()
  }

  #wake(fd: number): ClientConnection | undefined {
    const address = peerEndpoint(fd)?.address
    if (address === undefined) {
      this.#close(fd, "finish") // reset by the client: it is nobody's any more
      return undefined
    }
    this.#forget(fd)
    return new ClientConnection(this.#context, {
      transport: new PlainTransport(fd),
      address,
      port: this.#owner.settings.endpoint.port,
      owner: this.#owner,
      proxied: undefined,
      isResumed: true,
    })
  }

  #close(fd: number, how: "finish" | "reset"): void {
    const { reactor, ledger, counters, budget } = this.#context
    this.#forget(fd)
    reactor.forget(fd)
    ledger.release(fd)
    if (how === "finish") closeFd(fd)
    else resetFd(fd)
    counters.add(this.#owner.settings.row, "connections", -1)
    budget.release(1)
  }

  #forget(fd: number): void {
    this.#idleSince.delete(fd)
    if (this.#idleSince.size === 0) this.#context.reactor.timers.cancel(this)
  }

  #deadlineOf(idleSince: Instant): Instant {
    return after(idleSince, this.#owner.settings.timeouts.idleMs)
  }
}

/** What a parked client looks like to those who end connections; one stands for all in turn. */
class ParkedClient extends LiveConnection {
  fd = -1

  override endsWithServer(): boolean {
    return false
  }

  override localAddress(): Address | undefined {
    return localEndpoint(this.fd)?.address
  }

  override end(): void {}
  override handle(): void {}
  override onTimer(): void {}
  override fail(): void {}
}
