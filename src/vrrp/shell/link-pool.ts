/**
 * The open links of the thread: one `VrrpLink` per interface however many virtual routers use it,
 * opened by the first and closed after the last.
 */
import type { Link } from "../../linux/link-message.ts"
import { VrrpLink } from "./link.ts"

export interface FdWatcher {
  /** Calls `onReadable` whenever `fd` can be read. */
  watch(fd: number, onReadable: () => void): void
  /** Before `fd` is closed. */
  unwatch(fd: number): void
}

export interface LinkListener {
  vrrpReadable(link: VrrpLink): void
  arpReadable(link: VrrpLink): void
  ndpReadable(link: VrrpLink): void
}

export class LinkPool {
  readonly #watcher: FdWatcher
  readonly #listener: LinkListener
  readonly #users = new Map<VrrpLink, number>()

  constructor(watcher: FdWatcher, listener: LinkListener) {
    this.#watcher = watcher
    this.#listener = listener
  }

  /** Throws `SystemError` when the sockets cannot be opened. */
  acquire(link: Link): VrrpLink {
    for (const [open, users] of this.#users) {
      if (!isSameLink(open, link)) continue
      this.#users.set(open, users + 1)
      return open
    }
    const opened = new VrrpLink(link)
    this.#users.set(opened, 1)
    this.#watcher.watch(opened.vrrpFd, () => this.#listener.vrrpReadable(opened))
    if (opened.arpFd !== undefined)
      this.#watcher.watch(opened.arpFd, () => this.#listener.arpReadable(opened))
    if (opened.ndpFd !== undefined)
      this.#watcher.watch(opened.ndpFd, () => this.#listener.ndpReadable(opened))
    return opened
  }

  release(link: VrrpLink): void {
    const users = (this.#users.get(link) ?? 0) - 1
    if (users > 0) {
      this.#users.set(link, users)
      return
    }
    this.#users.delete(link)
    this.#watcher.unwatch(link.vrrpFd)
    if (link.arpFd !== undefined) this.#watcher.unwatch(link.arpFd)
    if (link.ndpFd !== undefined) this.#watcher.unwatch(link.ndpFd)
    link.close()
  }
}

/** An interface made anew has another index, and one may be given another MAC. */
export function isSameLink(open: VrrpLink, link: Link): boolean {
  return open.index === link.index && open.mac === (link.noArp ? undefined : link.mac)
}
