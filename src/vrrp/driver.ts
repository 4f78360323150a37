/**
 * One virtual router on the real network: turns packets, link events and commands into inputs of
 * its machines, and their actions into packets, addresses and messages to the control thread.
 *
 *     VirtualRouter   who is Active       (virtual-router.ts)
 *     Handover        taking and leaving  (handover.ts)
 *     AddressHolder   addresses, leases   (shell/address-holder.ts)
 *     Announcer       gratuitous ARP      (shell/announcer.ts)
 *
 * What the kernel refuses (no capability, no tun driver) is a fault like any other: the router
 * gives up with the reason, and tries again every `RETRY_MS`.
 */
import type { VrrpConfig } from "../config/config.ts"
import { SystemError } from "../linux/errno.ts"
import type { Link } from "../linux/link-message.ts"
import type { ReceivedPacket } from "../linux/raw-socket.ts"
import type { Address } from "../net/address.ts"
import type { Mac } from "../net/mac.ts"
import { after, earlier, type Instant } from "../net/time.ts"
import type { Arp } from "../wire/arp.ts"
import type { NeighborMessage } from "../wire/ndp.ts"
import { type ChecksumForm, encodeVrrp, VRRP_MULTICAST_IPV4 } from "../wire/vrrp.ts"
import { Handover, type HandoverAction, type HandoverInput } from "./handover.ts"
import { leaseOf } from "./lease.ts"
import type { FromVrrpThread, VirtualRouterSnapshot } from "./messages.ts"
import { receive } from "./reception.ts"
import { AddressHolder } from "./shell/address-holder.ts"
import { Announcer } from "./shell/announcer.ts"
import type { InterfaceTable } from "./shell/interface-table.ts"
import { Journal, peerSnapshot } from "./shell/journal.ts"
import type { VrrpLink } from "./shell/link.ts"
import { isSameLink, type LinkPool } from "./shell/link-pool.ts"
import type { PlacementOptions } from "./shell/placement.ts"
import {
  combineTracking,
  evaluateTracking,
  NOTHING_TRACKED,
  type Tracking,
  weightsNeverMatter,
} from "./tracking.ts"
import {
  advertisementOf,
  expectationOf,
  heldAddresses,
  heldPrefixes,
  machineConfig,
} from "./translate.ts"
import { type Action, type Input, PRIORITY_STOP, VirtualRouter } from "./virtual-router.ts"

/** After the kernel refused something. */
const RETRY_MS = 5000

/** What a router borrows from its thread. */
export interface DriverHost extends PlacementOptions {
  readonly interfaces: InterfaceTable
  readonly links: LinkPool
  post(message: FromVrrpThread): void
}

interface Failure {
  readonly reason: string
  readonly retryAt: Instant
}

export class RouterDriver {
  readonly #host: DriverHost
  readonly #machine: VirtualRouter
  readonly #handover = new Handover()
  readonly #addresses: AddressHolder
  readonly #announcer: Announcer
  readonly #journal: Journal
  #config: VrrpConfig
  #link: VrrpLink | undefined
  #primaryAddress: Address | undefined
  #tracked: Tracking
  #failure: Failure | undefined
  /** What the kernel refused while actions were being performed. */
  #refusal: SystemError | undefined
  /**
   * `leaving` messages sent, and `left` received, which come in the same order: the answer to one
   * says nothing of the addresses of the next.
   */
  #leavingAsked = 0
  #leavingAnswered = 0
  /** Which of them asks about everything that is held. */
  #handoverAsked = 0
  #isReady = false
  #isStarted = false
  #checksum: ChecksumForm = "pseudo-header"

  constructor(config: VrrpConfig, host: DriverHost) {
    this.#config = config
    this.#host = host
    this.#machine = new VirtualRouter(machineConfig(config))
    this.#addresses = new AddressHolder(config, host)
    this.#journal = new Journal(config.name, (message) => host.post(message))
    this.#announcer = new Announcer(config.announce, this.#journal)
    const followsControl = config.track.some(({ type }) => type !== "interface")
    this.#tracked = { ...NOTHING_TRACKED, settled: !followsControl }
  }

  get config(): VrrpConfig {
    return this.#config
  }

  get link(): VrrpLink | undefined {
    return this.#link
  }

  /** Nothing held, nothing to say: it may be closed. */
  get isGone(): boolean {
    return this.#machine.state.name === "initialize" && this.#handover.state.name === "none"
  }

  /** When to call `timeout` next; may change with every call of anything. */
  deadline(): Instant | undefined {
    return [
      this.#machine.deadline(),
      this.#handover.deadline(),
      this.#addresses.deadline(),
      this.#link === undefined ? undefined : this.#announcer.deadline(),
      this.#failure?.retryAt,
      this.#journal.reportAt,
    ].reduce(earlier)
  }

  /** Call first in every pass: after a long sleep nothing may be held or claimed any more. */
  awake(now: Instant): void {
    this.#run(now, () => this.#input({ type: "awake" }, now))
  }

  /** Call after what was received has been handed in. */
  timeout(now: Instant): void {
    this.#run(now, () => {
      if (this.#failure !== undefined && this.#failure.retryAt <= now) this.#retry(now)
      this.#input({ type: "timeout" }, now)
      this.#handOver({ type: "timeout" }, now)
      this.#attempt(() => this.#addresses.timeout(this.#link, now))
      this.#journal.refused = this.#addresses.refused
      if (this.#link !== undefined) this.#announcer.timeout(this.#link, now)
    })
    if (this.#journal.reportAt <= now) this.#report(now)
  }

  /** Call at the start, and whenever the interface table has changed. */
  interfacesChanged(now: Instant): void {
    this.#run(now, () => this.#followInterface(now))
  }

  /** `tracked` is what the tracked checks and pools come to. */
  track(tracked: Tracking, now: Instant): void {
    this.#tracked = tracked
    this.#run(now, () => this.#track(now))
  }

  /** The listeners are bound. */
  ready(now: Instant): void {
    this.#isReady = true
    this.#run(now, () => this.#track(now))
  }

  release(now: Instant): void {
    this.#run(now, () => this.#input({ type: "release" }, now))
    this.#report(now)
  }

  resume(now: Instant): void {
    this.#run(now, () => this.#input({ type: "resume" }, now))
    this.#report(now)
  }

  /** Sessions through the addresses that are leaving have been reset. */
  left(now: Instant): void {
    this.#run(now, () => {
      this.#leavingAnswered += 1
      if (this.#leavingAnswered === this.#handoverAsked) this.#handOver({ type: "left" }, now)
      this.#attempt(() => this.#addresses.left(this.#leavingAnswered))
    })
  }

  /** `isSameRouter` must hold. What has not changed goes on as if nothing had happened. */
  reconfigure(config: VrrpConfig, now: Instant): void {
    const previous = this.#config
    this.#config = config
    this.#addresses.reconfigure(config)
    if (!Bun.deepEquals(previous.addresses, config.addresses)) this.#journal.forgetStrangers()
    this.#run(now, () => {
      this.#changeHeld(previous, now)
      const machine = machineConfig(config)
      // Or a Backup Router whose addresses change all the time would never see its timer run out.
      if (!Bun.deepEquals(machineConfig(previous), machine))
        this.#input({ type: "reconfigure", config: machine }, now)
      this.#track(now)
    })
    this.#report(now)
  }

  shutdown(reason: string, now: Instant): void {
    this.#run(now, () => this.#input({ type: "shutdown", reason }, now))
  }

  hearVrrp(packet: ReceivedPacket, now: Instant): void {
    const expectation = expectationOf(this.#config, this.#primaryAddress)
    const reception = receive(packet.bytes, expectation)
    if (!reception.ok) return this.#journal.dropped(reception.reason, packet.source, now)
    this.#learnChecksum(reception.checksum, packet.source)
    this.#journal.accepted(packet.source, reception.sameAddresses)
    this.#run(now, () => this.#input(reception.advertisement, now))
  }

  /** A packet for a VRID that is not configured on this link. */
  hearStranger(packet: ReceivedPacket, now: Instant): void {
    this.#journal.dropped("vrid", packet.source, now)
  }

  hearArp(arp: Arp, now: Instant): void {
    if (this.#link === undefined) return
    const isOwn = this.#host.interfaces.isOwnMac(arp.senderMac)
    const claim = { address: arp.senderAddress, mac: arp.senderMac }
    this.#announcer.hear(claim, { link: this.#link, isOwn, now })
  }

  /** `from`: the MAC of the frame. */
  hearNeighbor(message: NeighborMessage, from: Mac, now: Instant): void {
    const link = this.#link
    if (link === undefined) return
    if (message.type === "advertisement") {
      const mac = message.mac ?? from
      const claim = { address: message.target, mac }
      const isOwn = this.#host.interfaces.isOwnMac(mac)
      return this.#announcer.hear(claim, { link, isOwn, now })
    }
    const isHeld = this.#handover.state.name === "held"
    if (isHeld && this.#addresses.isUnanswered(message.target))
      this.#journal.sent(link.answer(message, from), now)
  }

  /** Gives up everything at once; call when `isGone`, or when the thread ends. */
  close(): void {
    this.#addresses.close()
    this.#releaseLink()
  }

  #followInterface(now: Instant): void {
    const status = this.#host.interfaces.status(this.#config.interface)
    if (status.ok) {
      this.#primaryAddress = status.address
      this.#attempt(() => this.#prepare(status.link))
      // Before the machine hears that the interface is up: it would start with what is refused.
      this.#absorbRefusal(now)
      this.#track(now)
      return this.#input({ type: "interface-up", address: status.address }, now)
    }
    this.#input({ type: "interface-down", reason: status.reason }, now)
    if (this.#link !== undefined && !this.#host.interfaces.exists(this.#link)) this.#releaseLink()
    this.#track(now)
  }

  #prepare(link: Link): void {
    const isNew = this.#link === undefined || !isSameLink(this.#link, link)
    if (isNew) {
      this.#releaseLink()
      this.#link = this.#host.links.acquire(link)
    }
    // After the sockets: of a dying process the kernel closes first what was opened last, and it
    // takes its time over packet sockets.
    this.#addresses.prepare()
    if (isNew) this.#journal.obstacles = this.#addresses.obstacles(link)
  }

  #releaseLink(): void {
    if (this.#link !== undefined) this.#host.links.release(this.#link)
    this.#link = undefined
  }

  #track(now: Instant): void {
    const { interfaces } = this.#host
    const ownInterfaces = this.#config.track.filter(({ type }) => type === "interface")
    const tracking = combineTracking([
      { ...NOTHING_TRACKED, fault: this.#failure?.reason },
      this.#tracked,
      evaluateTracking(ownInterfaces, ({ target }) =>
        interfaces.isRunning(target) ? "up" : "down",
      ),
    ])
    this.#input({ type: "tracking", ...tracking }, now)
    if (this.#isStarted || !this.#isReady || !tracking.settled) return
    this.#isStarted = true
    this.#input({ type: "startup" }, now)
  }

  #input(input: Input, now: Instant): void {
    for (const action of this.#machine.handle(input, now)) this.#perform(action, now)
  }

  #perform(action: Action, now: Instant): void {
    switch (action.type) {
      case "send-advertisement":
        return this.#send(action.priority, now)
      case "activate":
      case "deactivate":
        return this.#handOver(action, now)
      case "announce-again":
        if (this.#link !== undefined) this.#announcer.again(this.#link, now)
        return
      case "transition":
        this.#journal.transition(action)
        return this.#report(now)
      case "warning":
        return this.#journal.warn(action.message, now)
      case "ignored":
        return this.#journal.ignored(action.reason)
    }
  }

  #handOver(input: HandoverInput, now: Instant): void {
    for (const action of this.#handover.handle(input, now)) this.#performHandover(action, now)
  }

  #performHandover(action: HandoverAction, now: Instant): void {
    switch (action.type) {
      case "hold":
        return this.#attempt(() => this.#hold(now))
      case "leave":
        this.#announcer.stop(now)
        // Nor after a long sleep, when the lease has run out and a peer holds the address by now.
        this.#addresses.renewNoMore()
        this.#postLeaving(this.#addresses.held)
        this.#handoverAsked = this.#leavingAsked
        return
      case "remove":
        return this.#attempt(() => this.#addresses.remove())
      case "farewell":
        return this.#send(PRIORITY_STOP, now)
    }
  }

  #hold(now: Instant): void {
    const link = this.#link
    if (link === undefined) return
    this.#addresses.hold(link, now)
    this.#journal.obstacles = this.#addresses.obstacles(link)
    this.#journal.refused = this.#addresses.refused
    this.#announcer.start(this.#addresses.held, link, now)
  }

  #changeHeld(previous: VrrpConfig, now: Instant): void {
    const isAnnouncedAnew = !Bun.deepEquals(previous.announce, this.#config.announce)
    if (isAnnouncedAnew) this.#announcer.reconfigure(this.#config.announce)
    const link = this.#link
    if (this.#handover.state.name !== "held" || link === undefined) return
    if (!isAnnouncedAnew && holdsAlike(previous, this.#config)) return
    this.#attempt(() => {
      const question = this.#leavingAsked + 1
      const { added, departing } = this.#addresses.change(link, { question, now })
      if (departing.length > 0) this.#postLeaving(departing)
      this.#journal.refused = this.#addresses.refused
      const addresses = this.#addresses.held
      if (isAnnouncedAnew) this.#announcer.start(addresses, link, now)
      else this.#announcer.change({ addresses, added }, link, now)
    })
  }

  #postLeaving(addresses: readonly Address[]): void {
    this.#leavingAsked += 1
    this.#host.post({ type: "leaving", router: this.#config.name, addresses })
  }

  #send(priority: number, now: Instant): void {
    const source = this.#primaryAddress
    if (this.#link === undefined || source === undefined) return
    const { unicastPeers } = this.#config
    const advertisement = advertisementOf(this.#config, priority)
    for (const destination of unicastPeers.length === 0 ? [VRRP_MULTICAST_IPV4] : unicastPeers) {
      const route = { source, destination }
      const message = encodeVrrp(advertisement, { ...route, checksum: this.#checksum })
      this.#journal.advertised(this.#link.sendAdvertisement(message, route), now)
    }
  }

  /** Peers are answered in the form they send; RFC 9568 and keepalived differ (wire/vrrp.ts). */
  #learnChecksum(form: ChecksumForm, source: Address): void {
    if (this.#config.version === 2 || form === this.#checksum) return
    this.#checksum = form
    this.#journal.log("info", `Checksums take the form of ${source}`, { form })
  }

  /** Public methods run here: what the kernel refused becomes a fault once all actions are done. */
  #run(now: Instant, operation: () => void): void {
    operation()
    if (this.#absorbRefusal(now)) this.#track(now)
    this.#refusal = undefined
  }

  #attempt(operation: () => void): void {
    try {
      operation()
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      this.#refusal ??= error
    }
  }

  #absorbRefusal(now: Instant): boolean {
    const refusal = this.#refusal
    this.#refusal = undefined
    if (refusal === undefined) return false
    this.#failure = { reason: refusal.message, retryAt: after(now, RETRY_MS) }
    this.#journal.log("error", refusal.message)
    return true
  }

  #retry(now: Instant): void {
    this.#failure = undefined
    this.#addresses.close()
    this.#followInterface(now)
  }

  #report(now: Instant): void {
    this.#journal.reported(now)
    this.#host.post({ type: "state", snapshot: this.#snapshot(now) })
  }

  #snapshot(now: Instant): VirtualRouterSnapshot {
    const config = this.#config
    const machine = this.#machine
    const peers = machine.peers.list()
    const peerPriorities = peers.map(({ priority }) => priority)
    const idleWeights = weightsNeverMatter(config, peerPriorities)
    return {
      name: config.name,
      interface: config.interface,
      virtualRouterId: config.virtualRouterId,
      version: config.version,
      state: machine.state.name,
      released: machine.released,
      priority: config.priority,
      effectivePriority: machine.effectivePriority,
      addresses: heldPrefixes(config),
      reason: machine.reason,
      peers: peers.map((peer) => peerSnapshot(peer, now)),
      ...this.#journal.snapshot(idleWeights === undefined ? [] : [idleWeights], now),
    }
  }
}

/** Whether addresses and leases stay as they are. */
function holdsAlike(left: VrrpConfig, right: VrrpConfig): boolean {
  const relevant = (config: VrrpConfig) => [heldAddresses(config), leaseOf(config)]
  return Bun.deepEquals(relevant(left), relevant(right))
}
