/**
 * A Worker that does nothing but block in epoll on interface events, and posts what it reads. The
 * main thread prints it. Both sides are this file.
 */
import { EPOLLIN, Epoll } from "../../../src/linux/epoll.ts"
import { RtnetlinkMonitor } from "../../../src/linux/rtnetlink-monitor.ts"

declare const self: Worker

if (Bun.isMainThread) {
  const worker = new Worker(import.meta.url)
  worker.onmessage = ({ data }) => process.stdout.write(`${data}\n`)
} else {
  const monitor = new RtnetlinkMonitor(["ipv4-address"])
  const epoll = new Epoll(1)
  epoll.add(monitor.fd, EPOLLIN)
  self.postMessage("watching")
  for (;;) {
    epoll.wait(-1)
    for (const event of monitor.read()) {
      if (event.type !== "address") continue
      self.postMessage(`${event.change} ${event.address.prefix.address}`)
    }
  }
}
