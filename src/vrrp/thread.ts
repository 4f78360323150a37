/**
 * Entry of the vrrp thread: one epoll loop over the sockets of all links, the changes of links and
 * addresses, and the mailbox of the control thread; between events it sleeps until the nearest
 * deadline of a virtual router. Nothing else runs here, so that neither a slow request nor a
 * collection of somebody else's garbage delays an advert.
 *
 * The order within a pass matters. Routers learn first how late it is, or one that slept would
 * answer an ARP packet that waited for it by claiming an address that is its peer's by now. And
 * what was received is handled before what was due, or one that slept would take over from a
 * living router whose adverts wait in its socket.
 */
import type { VrrpConfig } from "../config/config.ts"
import { monotonicNow } from "../linux/clock.ts"
import { EPOLLIN, Epoll } from "../linux/epoll.ts"
import { SystemError } from "../linux/errno.ts"
import { MailboxReader } from "../linux/mailbox.ts"
import { setNice, threadId, useFifoScheduling } from "../linux/process.ts"
import { Rtnetlink } from "../linux/rtnetlink.ts"
import { RtnetlinkMonitor } from "../linux/rtnetlink-monitor.ts"
import { formatPrefix } from "../net/address.ts"
import { earlier, type Instant } from "../net/time.ts"
import { type DriverHost, RouterDriver } from "./driver.ts"
import type { FromVrrpThread, ToVrrpThread, VrrpThreadData } from "./messages.ts"
import { peekVirtualRouterId } from "./reception.ts"
import { InterfaceTable } from "./shell/interface-table.ts"
import { removeLeftovers } from "./shell/leftovers.ts"
import type { VrrpLink } from "./shell/link.ts"
import { LinkPool } from "./shell/link-pool.ts"

import type { Tracking } from "./tracking.ts"
import { isSameRouter } from "./translate.ts"

/** The heart beats at least this often. */
const PASS_WAIT_MS_MAX = 500
const EVENTS_MAX = 64
/** Above everything of SCHED_OTHER; among real-time threads of a host rather low. */
const FIFO_PRIORITY = 20
const ADDRESS_MARK = 202

declare const self: Worker
self.onmessage = (event: MessageEvent<VrrpThreadData>) => {
  new VrrpThread(event.data).run()
}

class VrrpThread implements DriverHost {
  readonly addressMark: number
  readonly rtnetlink = new Rtnetlink()
  readonly interfaces: InterfaceTable
  readonly links: LinkPool
  readonly #epoll = new Epoll(EVENTS_MAX)
  readonly #monitor: RtnetlinkMonitor
  readonly #mailbox: MailboxReader<ToVrrpThread>
  /** The first cell counts beats (daemon's `Heartbeat`). */
  readonly #heartbeat: Int32Array
  readonly #onReadable = new Map<number, () => void>()
  readonly #routers = new Map<string, RouterDriver>()
  /** Not configured any more, and about to be gone. */
  readonly #leaving = new Set<RouterDriver>()
  readonly #tracked = new Map<string, Tracking>()
  #desired: readonly VrrpConfig[] = []
  #isConfigured = false
  #isReady = false
  #isStopping = false
  #now: Instant = monotonicNow()

  constructor({ mailbox, heartbeat, nice, addressMark }: VrrpThreadData) {
    setNice(threadId(), nice)
    this.addressMark = addressMark ?? ADDRESS_MARK
    this.#monitor = new RtnetlinkMonitor(["link", "ipv4-address"], this.addressMark)
    this.interfaces = new InterfaceTable(this.rtnetlink, this.addressMark)
    this.#heartbeat = new Int32Array(heartbeat)
    this.#mailbox = new MailboxReader(mailbox)
    const watcher = {
      watch: (fd: number, onReadable: () => void) => this.#watch(fd, onReadable),
      unwatch: (fd: number) => this.#unwatch(fd),
    }
    this.links = new LinkPool(watcher, {
      vrrpReadable: (link) => this.#hearVrrp(link),
      arpReadable: (link) => this.#hearArp(link),
      ndpReadable: (link) => this.#hearNdp(link),
    })
    this.interfaces.reload()
    this.#watch(this.#mailbox.doorbell, () => this.#obeyAll())
    this.#watch(this.#monitor.fd, () => this.#followInterfaces())
  }

  post(message: FromVrrpThread): void {
    self.postMessage(message)
  }

  run(): void {
    const scheduling = useFifoScheduling(FIFO_PRIORITY).ok ? "fifo" : "normal"
    this.post({ type: "started", scheduling })
    while (!this.#isStopping || this.#leaving.size > 0) this.#pass()
    for (const router of this.#routers.values()) router.close()
    this.#monitor.close()
    this.rtnetlink.close()
    this.#epoll.close()
    this.post({ type: "stopped" })
    self.terminate?.()
  }

  #pass(): void {
    Atomics.add(this.#heartbeat, 0, 1)
    const count = this.#epoll.wait(this.#waitMs())
    this.#now = monotonicNow()
    for (const router of this.#all()) router.awake(this.#now)
    for (let index = 0; index < count; index++) this.#onReadable.get(this.#epoll.fd(index))?.()
    for (const router of this.#all()) {
      const deadline = router.deadline()
      if (deadline !== undefined && deadline <= this.#now) router.timeout(this.#now)
    }
    this.#buryGone()
  }

  #waitMs(): number {
    let deadline: Instant | undefined
    for (const router of this.#all()) deadline = earlier(deadline, router.deadline())
    if (deadline === undefined) return PASS_WAIT_MS_MAX
    // Rounded up: a wait that ends early would spin until the deadline.
    return Math.max(0, Math.min(PASS_WAIT_MS_MAX, Math.ceil(deadline - monotonicNow())))
  }

  *#all(): Generator<RouterDriver> {
    yield* this.#routers.values()
    yield* this.#leaving
  }

  #obeyAll(): void {
    for (const message of this.#mailbox.drain()) this.#obey(message)
  }

  #obey(message: ToVrrpThread): void {
    switch (message.type) {
      case "configure":
        return this.#configure(message.routers)
      case "tracking":
        this.#tracked.set(message.router, message.tracking)
        return this.#routers.get(message.router)?.track(message.tracking, this.#now)
      case "ready":
        this.#isReady = true
        for (const router of this.#routers.values()) router.ready(this.#now)
        return
      case "release":
        return this.#routers.get(message.router)?.release(this.#now)
      case "resume":
        return this.#routers.get(message.router)?.resume(this.#now)
      case "left":
        for (const router of this.#all())
          if (router.config.name === message.router) router.left(this.#now)
        return
      case "stop":
        this.#isStopping = true
        return this.#configure([])
    }
  }

  #configure(desired: readonly VrrpConfig[]): void {
    this.#desired = desired
    if (!this.#isConfigured) this.#removeLeftovers()
    this.#isConfigured = true
    const byName = new Map(desired.map((config) => [config.name, config]))
    for (const name of this.#tracked.keys()) if (!byName.has(name)) this.#tracked.delete(name)
    for (const [name, router] of this.#routers) {
      const next = byName.get(name)
      if (next === undefined || !isSameRouter(router.config, next)) this.#retire(router)
      else if (!Bun.deepEquals(router.config, next)) router.reconfigure(next, this.#now)
    }
    this.#createMissing()
  }

  #retire(router: RouterDriver): void {
    this.#routers.delete(router.config.name)
    this.#leaving.add(router)
    router.shutdown(this.#isStopping ? "stopping" : "configuration changed", this.#now)
  }

  /** A router that replaces one of its name waits until that one has left. */
  #createMissing(): void {
    const leaving = new Set([...this.#leaving].map(({ config }) => config.name))
    for (const config of this.#desired) {
      if (this.#routers.has(config.name) || leaving.has(config.name)) continue
      const router = new RouterDriver(config, this)
      this.#routers.set(config.name, router)
      router.interfacesChanged(this.#now)
      const tracked = this.#tracked.get(config.name)
      if (tracked !== undefined) router.track(tracked, this.#now)
      if (this.#isReady) router.ready(this.#now)
    }
  }

  #buryGone(): void {
    if (this.#leaving.size === 0) return
    for (const router of this.#leaving) {
      if (!router.isGone) continue
      router.close()
      this.#leaving.delete(router)
      const isReplaced = this.#desired.some(({ name }) => name === router.config.name)
      if (!isReplaced) this.post({ type: "removed", router: router.config.name })
    }
    this.#createMissing()
  }

  #removeLeftovers(): void {
    try {
      const removed = removeLeftovers(this)
      if (removed.length > 0)
        this.#log("info", "Removed addresses that a previous run left behind", {
          addresses: removed.map(formatPrefix).join(" "),
        })
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      this.#log("warn", error.message, {})
    }
  }

  #followInterfaces(): void {
    let isNews = false
    for (const event of this.#monitor.read()) isNews = this.interfaces.apply(event) || isNews
    if (!isNews) return
    for (const router of this.#all()) router.interfacesChanged(this.#now)
  }

  #hearVrrp(link: VrrpLink): void {
    for (const packet of this.#guarded(link.receiveVrrp())) {
      const virtualRouterId = peekVirtualRouterId(packet.bytes)
      const routers = [...this.#all()].filter((router) => router.link === link)
      const addressed = routers.filter(({ config }) => config.virtualRouterId === virtualRouterId)
      for (const router of addressed) router.hearVrrp(packet, this.#now)
      if (addressed.length === 0)
        for (const router of routers) router.hearStranger(packet, this.#now)
    }
  }

  #hearArp(link: VrrpLink): void {
    for (const arp of this.#guarded(link.receiveArp()))
      for (const router of this.#all()) if (router.link === link) router.hearArp(arp, this.#now)
  }

  #hearNdp(link: VrrpLink): void {
    for (const { message, from } of this.#guarded(link.receiveNdp()))
      for (const router of this.#all())
        if (router.link === link) router.hearNeighbor(message, from, this.#now)
  }

  /** A socket whose interface has just gone fails to receive; the interface table tells more. */
  *#guarded<Item>(items: Generator<Item>): Generator<Item> {
    try {
      yield* items
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      this.#log("warn", error.message, {})
    }
  }

  #watch(fd: number, onReadable: () => void): void {
    this.#epoll.add(fd, EPOLLIN)
    this.#onReadable.set(fd, onReadable)
  }

  #unwatch(fd: number): void {
    this.#epoll.remove(fd)
    this.#onReadable.delete(fd)
  }

  #log(level: "info" | "warn", message: string, fields: Record<string, string>): void {
    this.post({ type: "log", level, component: "vrrp", message, fields })
  }
}
