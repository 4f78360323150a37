/** Tries what needs capabilities on eth0 and prints each error message, as JSON. */
import { PacketSocket } from "../../../src/linux/packet-socket.ts"
import { RawSocket } from "../../../src/linux/raw-socket.ts"
import { Rtnetlink } from "../../../src/linux/rtnetlink.ts"
import { RtnetlinkMonitor } from "../../../src/linux/rtnetlink-monitor.ts"
import { writeSysctl } from "../../../src/linux/sysctl.ts"
import { openTun } from "../../../src/linux/tun.ts"
import { type Address, parsePrefix } from "../../../src/net/address.ts"

const rtnetlink = new Rtnetlink()
const eth0 = rtnetlink.link("eth0")
const prefix = parsePrefix("192.0.2.40/32")
if (eth0 === undefined || prefix === undefined) throw new Error("no eth0")

const attempts = {
  address: () => rtnetlink.addAddress(eth0, { prefix }),
  packetSocket: () => new PacketSocket(eth0, { etherType: 0x0806 }),
  rawSocket: () =>
    new RawSocket(eth0, { protocol: 112, groups: ["224.0.0.18" as Address], ttl: 255 }),
  tun: () => openTun("cwtun", rtnetlink),
  sysctl: () => writeSysctl("net/ipv4/conf/eth0/arp_ignore", "1"),
  // Listening needs no privilege.
  monitor: () => new RtnetlinkMonitor(["link"]),
}

const outcomes = Object.entries(attempts).map(([name, attempt]) => [name, outcomeOf(attempt)])
process.stdout.write(JSON.stringify(Object.fromEntries(outcomes)))

function outcomeOf(attempt: () => unknown): string {
  try {
    attempt()
    return "ok"
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
