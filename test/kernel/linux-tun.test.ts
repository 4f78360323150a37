/**
 * Virtual addresses on a tun device: gone with the process, answered for on the LAN, and never the
 * host's own source address (DESIGN.md §1).
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { join } from "node:path"
import {
  type AddressSpec,
  SCOPE_GLOBAL,
  SCOPE_HOST,
  SCOPE_LINK,
} from "../../src/linux/address-message.ts"
import { monotonicNow } from "../../src/linux/clock.ts"
import { EPOLLIN, Epoll } from "../../src/linux/epoll.ts"
import { check, leakedFds, ownFd, traceFds } from "../../src/linux/fd.ts"
import { libc } from "../../src/linux/libc.ts"
import { Rtnetlink } from "../../src/linux/rtnetlink.ts"
import { RtnetlinkMonitor } from "../../src/linux/rtnetlink-monitor.ts"
import { AF_INET, AF_INET6, encodeSockaddr } from "../../src/linux/sockaddr.ts"
import {
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOL_SOCKET,
  setSocketOption,
} from "../../src/linux/socket-option.ts"
import { localEndpoint } from "../../src/linux/tcp.ts"
import { openTun, type TunDevice } from "../../src/linux/tun.ts"
import { type Address, familyOf, type Prefix, parsePrefix } from "../../src/net/address.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { inNamespace } from "./namespace.ts"

const VIP = "192.0.2.40"
const SO_BINDTODEVICE = 25
const HOLD_ADDRESS = join(import.meta.dir, "programs/hold-address.ts")
const TRY_PRIVILEGED = join(import.meta.dir, "programs/try-privileged.ts")

let lab: Lab
let edge: Host
let client: Host
let rtnetlink: Rtnetlink
let hostNumber = 0

beforeAll(async () => {
  lab = await createLab("tun")
})

afterAll(() => lab.close())

beforeEach(async () => {
  const lan = await lab.lan(`lan${hostNumber}`)
  edge = await lab.host(`edge${hostNumber}`)
  client = await lab.host(`client${hostNumber}`)
  hostNumber++
  await lan.join(edge, { addresses: ["192.0.2.1/24"] })
  await lan.join(client, { addresses: ["192.0.2.9/24"] })
  traceFds(true)
  rtnetlink = inNamespace(edge, () => new Rtnetlink())
})

afterEach(() => {
  rtnetlink.close()
  expect(leakedFds()).toEqual([])
  traceFds(false)
})

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

function tunWith(...specs: AddressSpec[]): TunDevice {
  const tun = inNamespace(edge, () => openTun("cwvip%d", rtnetlink))
  for (const spec of specs) rtnetlink.addAddress(tun, spec)
  return tun
}

describe("openTun()", () => {
  test("makes a device that is up, not persistent, and without addresses of its own", async () => {
    const tun = inNamespace(edge, () => openTun("cwvip", rtnetlink))
    expect(tun.name).toBe("cwvip")
    expect(rtnetlink.link("cwvip")).toMatchObject({
      index: tun.index,
      kind: "tun",
      up: true,
      running: true,
      noArp: true,
      mac: undefined,
    })
    expect(await edge.ip("tuntap show")).toBe("cwvip: tun\n")
    expect(rtnetlink.addresses({ ifindex: tun.index })).toEqual([])
    tun.close()
    expect(rtnetlink.link("cwvip")).toBeUndefined()
  })

  test("takes the first free number for %d", () => {
    using first = tunWith()
    using second = tunWith()
    expect([first.name, second.name]).toEqual(["cwvip0", "cwvip1"])
  })

  test("fails when the name is taken, be it by a persistent tun device or by another kind", async () => {
    await edge.ip("tuntap add mode tun name cwold")
    const open = (name: string) => () => inNamespace(edge, () => openTun(name, rtnetlink))
    const reason = "EBUSY (an interface of that name exists)"
    expect(open("cwold")).toThrow(`Cannot create tun device cwold: ${reason}`)
    expect(open("eth0")).toThrow(`Cannot create tun device eth0: ${reason}`)
    expect(open("a234567890123456")).toThrow("the name is longer than 15 bytes")
  })

  test("works on a host without IPv6", async () => {
    await edge.sysctl({ "net.ipv6.conf.all.disable_ipv6": 1 })
    using tun = tunWith({ prefix: prefix(`${VIP}/32`), scope: SCOPE_LINK })
    expect(rtnetlink.addresses({ ifindex: tun.index })).toHaveLength(1)
  })
})

describe("when the process dies", () => {
  let holder: ManagedProcess
  let child: number

  beforeEach(async () => {
    const arguments_ = ["cwvip", `${VIP}/32`, "2001:db8::40/128"]
    holder = edge.spawn([process.execPath, HOLD_ADDRESS, ...arguments_])
    child = Number((await holder.waitFor(/child \d+/)).split(" ")[1])
  })

  afterEach(async () => {
    try {
      process.kill(child, "SIGKILL")
    } catch {
      // It ended with its parent.
    }
    await holder.stop({ signal: "SIGKILL" })
  })

  test("device and addresses are gone within 50 ms of kill -9, whatever its children do", async () => {
    expect(await edge.holds(VIP)).toBe(true)
    const monitor = inNamespace(edge, () => new RtnetlinkMonitor(["link", "ipv4-address"]))
    const killedAt = monotonicNow()
    holder.signal("SIGKILL")
    const goneMs = waitUntilGone(monitor, "cwvip") - killedAt
    process.kill(child, 0) // throws when the child is gone too, which would prove nothing
    expect(goneMs).toBeLessThan(50)
    expect(rtnetlink.link("cwvip")).toBeUndefined()
    const held = rtnetlink.addresses().map((address) => address.prefix.address as string)
    expect(held).not.toContain(VIP)
    expect(held).not.toContain("2001:db8::40")
    monitor.close()
  })
})

/** Blocks until both the address and the device are reported removed; gives the time. */
function waitUntilGone(monitor: RtnetlinkMonitor, name: string): number {
  const epoll = new Epoll(1)
  epoll.add(monitor.fd, EPOLLIN)
  const missing = new Set(["link", "address"])
  const giveUpAt = monotonicNow() + 5000
  while (missing.size > 0 && monotonicNow() < giveUpAt) {
    epoll.wait(100)
    for (const event of monitor.read()) {
      if (!("change" in event) || event.change !== "removed") continue
      if (event.type === "link" && event.link.name === name) missing.delete("link")
      if (event.type === "address" && event.address.prefix.address === VIP)
        missing.delete("address")
    }
  }
  epoll.close()
  expect([...missing]).toEqual([])
  return monotonicNow()
}

describe("on the LAN", () => {
  const scopes = [
    ["link", SCOPE_LINK],
    ["host", SCOPE_HOST],
  ] as const
  test.each(scopes)(
    "the kernel answers ARP for a VIP of %s scope with the MAC of the LAN interface",
    async (_, scope) => {
      const arping = ["arping", "-c", "1", "-w", "2", "-I", "eth0", VIP]
      expect(await client.run(arping)).toMatchObject({ exitCode: 1 })
      using _tun = tunWith({ prefix: prefix(`${VIP}/32`), scope })
      const mac = await edge.mac("eth0")
      expect(await client.exec(arping)).toContain(
        `Unicast reply from ${VIP} [${mac.toUpperCase()}]`,
      )
      await client.exec(["ping", "-c", "1", "-W", "1", VIP])
    },
  )
})

describe.each([
  ["link", SCOPE_LINK],
  ["host", SCOPE_HOST],
])("as a source address, a VIP of %s scope on a tun device", (_, scope) => {
  const lease = { prefix: prefix(`${VIP}/32`), scope, validLifetimeS: 60 }

  test("is not chosen towards the LAN or beyond", async () => {
    await edge.ip("route add 198.51.100.0/24 dev eth0")
    await edge.ip("route add default via 192.0.2.254")
    using _tun = tunWith(lease)
    for (const destination of ["192.0.2.9", "198.51.100.1", "8.8.8.8"]) {
      expect(sourceTowards(destination)).toBe("192.0.2.1")
    }
    expect(sourceTowards("224.0.0.18", "eth0")).toBe("192.0.2.1")
  })

  test("is not chosen when the only other address is elsewhere", async () => {
    await edge.ip("address flush dev eth0")
    await edge.ip("address add 203.0.113.1/32 dev lo")
    await edge.ip("route add 198.51.100.0/24 dev eth0")
    await edge.ip("route add default dev eth0")
    using _tun = tunWith(lease)
    expect(sourceTowards("198.51.100.1")).toBe("203.0.113.1")
    expect(sourceTowards("8.8.8.8")).toBe("203.0.113.1")
    expect(sourceTowards("224.0.0.18", "eth0")).toBe("203.0.113.1")
  })

  test("is not chosen when it is the only address", async () => {
    await edge.ip("address flush dev eth0")
    await edge.ip("route add default dev eth0")
    using _tun = tunWith(lease)
    expect(sourceTowards("8.8.8.8")).not.toBe(VIP)
  })
})

describe("as a source address", () => {
  test("a VIP of global scope on a tun device is chosen when no other address is near", async () => {
    await edge.ip("address flush dev eth0")
    await edge.ip("route add default dev eth0")
    using _tun = tunWith({ prefix: prefix(`${VIP}/32`), scope: SCOPE_GLOBAL })
    expect(sourceTowards("8.8.8.8")).toBe(VIP)
  })

  test("an IPv6 VIP without preferred lifetime is not chosen", async () => {
    await edge.ip("address add 2001:db8::1/64 dev eth0 nodad")
    const vip = prefix("2001:db8::40/128")
    using _tun = tunWith({ prefix: vip, validLifetimeS: 60, preferredLifetimeS: 0, noDad: true })
    expect(sourceTowards("2001:db8::9")).toBe("2001:db8::1")
  })

  test("an IPv6 VIP without preferred lifetime yields to an address elsewhere", async () => {
    await edge.ip("address add 2001:db8:5::1/128 dev lo nodad")
    await edge.ip("route add default dev eth0 metric 1")
    await edge.ip("-6 route add default dev eth0 metric 1")
    const vip = prefix("2001:db8::40/128")
    using _tun = tunWith({ prefix: vip, validLifetimeS: 60, preferredLifetimeS: 0, noDad: true })
    expect(sourceTowards("2001:db8:9::1")).toBe("2001:db8:5::1")
  })
})

describe("on an interface that has an address of its own", () => {
  const onEth0 = (scope: number) => {
    const eth0 = rtnetlink.link("eth0")
    if (eth0 === undefined) throw new Error("no eth0")
    rtnetlink.addAddress(eth0, { prefix: prefix(`${VIP}/32`), scope })
  }

  test("a VIP of link scope becomes the source of multicast and of routes without a gateway", async () => {
    await edge.ip("route add 198.51.100.0/24 dev eth0")
    onEth0(SCOPE_LINK)
    expect(sourceTowards("192.0.2.9")).toBe("192.0.2.1")
    expect(sourceTowards("198.51.100.1")).toBe(VIP)
    expect(sourceTowards("224.0.0.18", "eth0")).toBe(VIP)
  })

  test("a VIP of host scope does not, and is reachable all the same", async () => {
    await edge.ip("route add 198.51.100.0/24 dev eth0")
    await edge.ip("route add default via 192.0.2.254")
    onEth0(SCOPE_HOST)
    for (const destination of ["192.0.2.9", "198.51.100.1", "8.8.8.8"]) {
      expect(sourceTowards(destination)).toBe("192.0.2.1")
    }
    expect(sourceTowards("224.0.0.18", "eth0")).toBe("192.0.2.1")
    await client.exec(["arping", "-c", "1", "-w", "2", "-I", "eth0", VIP])
    await client.exec(["ping", "-c", "1", "-W", "1", VIP])
  })
})

/** The source address that a program gets that does not choose one. */
function sourceTowards(destination: string, boundTo?: string): string | undefined {
  return inNamespace(edge, () => {
    const address = destination as Address
    const family = familyOf(address) === 4 ? AF_INET : AF_INET6
    using socket = ownFd(libc.socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), "open UDP socket")
    if (boundTo !== undefined) {
      const value = Buffer.from(`${boundTo}\0`)
      setSocketOption(socket, { level: SOL_SOCKET, name: SO_BINDTODEVICE, value }, "bind")
    }
    const target = encodeSockaddr({ address, port: 9 })
    check(libc.connect(socket.number, target.address, target.bytes.length), "connect")
    return localEndpoint(socket.number)?.address
  })
}

describe("without privileges", () => {
  test("every error names the operation and the missing capability", async () => {
    const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"]
    const unprivileged = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", ...nobody]
    const output = await edge.exec([...unprivileged, process.execPath, TRY_PRIVILEGED])
    expect(JSON.parse(output)).toEqual({
      address: "Cannot add 192.0.2.40/32 to eth0: EPERM (needs CAP_NET_ADMIN)",
      packetSocket: "Cannot open packet socket on eth0: EPERM (needs CAP_NET_RAW)",
      rawSocket: "Cannot open raw socket for IP protocol 112 on eth0: EPERM (needs CAP_NET_RAW)",
      tun: "Cannot create tun device cwtun: EPERM (needs CAP_NET_ADMIN)",
      sysctl:
        "Cannot set sysctl net/ipv4/conf/eth0/arp_ignore to 1: EACCES (needs CAP_NET_ADMIN and a writable /proc/sys)",
      monitor: "ok",
    })
  })

  test("a missing /dev/net/tun is named", async () => {
    const hide = "mount -t tmpfs none /dev/net && exec"
    const command = `${hide} ${process.execPath} ${TRY_PRIVILEGED}`
    const output = await edge.exec(["unshare", "--mount", "sh", "-c", command])
    expect(JSON.parse(output)).toMatchObject({
      tun: "Cannot create tun device cwtun: ENOENT (/dev/net/tun is missing; load the module tun, or let the unit see it)",
      packetSocket: "ok",
      rawSocket: "ok",
    })
  })
})
