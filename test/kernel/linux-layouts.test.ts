/**
 * The structure tables of src/linux against the C headers of this machine. Needs a C compiler and
 * the kernel's headers; without them there is nothing to compare with.
 */
import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { epollEventLayout } from "../../src/linux/epoll.ts"
import * as layouts from "../../src/linux/layouts.ts"

const HEADERS = [
  "stddef.h",
  "stdio.h",
  "arpa/inet.h",
  "linux/filter.h",
  "linux/if_packet.h",
  "linux/netlink.h",
  "linux/rtnetlink.h",
  "net/if.h",
  "sys/epoll.h",
  "sys/socket.h",
  "sys/time.h",
  "sys/uio.h",
  "sys/un.h",
]

interface Row {
  readonly struct: string
  readonly layout: Readonly<Record<string, number>>
  /** Our name of a field to C's. */
  readonly fields: Readonly<Record<string, string>>
}

const { size, dataOffset } = epollEventLayout(process.arch)

const ROWS: readonly Row[] = [
  {
    struct: "sockaddr_nl",
    layout: layouts.SOCKADDR_NL,
    fields: { family: "nl_family", portId: "nl_pid", groups: "nl_groups" },
  },
  {
    struct: "nlmsghdr",
    layout: layouts.NLMSGHDR,
    fields: {
      length: "nlmsg_len",
      type: "nlmsg_type",
      flags: "nlmsg_flags",
      sequence: "nlmsg_seq",
      portId: "nlmsg_pid",
    },
  },
  {
    struct: "nlattr",
    layout: layouts.NLATTR,
    fields: { length: "nla_len", type: "nla_type" },
  },
  {
    struct: "ifinfomsg",
    layout: layouts.IFINFOMSG,
    fields: {
      family: "ifi_family",
      type: "ifi_type",
      index: "ifi_index",
      flags: "ifi_flags",
      change: "ifi_change",
    },
  },
  {
    struct: "ifaddrmsg",
    layout: layouts.IFADDRMSG,
    fields: {
      family: "ifa_family",
      prefixLength: "ifa_prefixlen",
      flags: "ifa_flags",
      scope: "ifa_scope",
      index: "ifa_index",
    },
  },
  {
    struct: "ifa_cacheinfo",
    layout: layouts.IFA_CACHEINFO,
    fields: { preferred: "ifa_prefered", valid: "ifa_valid", created: "cstamp", updated: "tstamp" },
  },
  {
    struct: "rtmsg",
    layout: layouts.RTMSG,
    fields: {
      family: "rtm_family",
      destinationLength: "rtm_dst_len",
      sourceLength: "rtm_src_len",
      tos: "rtm_tos",
      table: "rtm_table",
      protocol: "rtm_protocol",
      scope: "rtm_scope",
      type: "rtm_type",
      flags: "rtm_flags",
    },
  },
  {
    struct: "rtnexthop",
    layout: layouts.RTNEXTHOP,
    fields: { length: "rtnh_len", flags: "rtnh_flags", hops: "rtnh_hops", ifindex: "rtnh_ifindex" },
  },
  {
    struct: "sockaddr_ll",
    layout: layouts.SOCKADDR_LL,
    fields: {
      family: "sll_family",
      protocol: "sll_protocol",
      ifindex: "sll_ifindex",
      hardwareType: "sll_hatype",
      packetType: "sll_pkttype",
      addressLength: "sll_halen",
      address: "sll_addr",
    },
  },
  {
    struct: "sock_filter",
    layout: layouts.SOCK_FILTER,
    fields: { code: "code", jumpTrue: "jt", jumpFalse: "jf", k: "k" },
  },
  {
    struct: "sock_fprog",
    layout: layouts.SOCK_FPROG,
    fields: { length: "len", filter: "filter" },
  },
  {
    struct: "sockaddr_in",
    layout: layouts.SOCKADDR_IN,
    fields: { family: "sin_family", port: "sin_port", address: "sin_addr" },
  },
  {
    struct: "sockaddr_un",
    layout: layouts.SOCKADDR_UN,
    fields: { family: "sun_family", path: "sun_path" },
  },
  {
    struct: "ip_mreqn",
    layout: layouts.IP_MREQN,
    fields: { group: "imr_multiaddr", address: "imr_address", ifindex: "imr_ifindex" },
  },
  {
    struct: "ipv6_mreq",
    layout: layouts.IPV6_MREQ,
    fields: { group: "ipv6mr_multiaddr", ifindex: "ipv6mr_interface" },
  },
  {
    struct: "in_pktinfo",
    layout: layouts.IN_PKTINFO,
    fields: { ifindex: "ipi_ifindex", specDst: "ipi_spec_dst", address: "ipi_addr" },
  },
  {
    struct: "msghdr",
    layout: layouts.MSGHDR,
    fields: {
      name: "msg_name",
      nameLength: "msg_namelen",
      iov: "msg_iov",
      iovLength: "msg_iovlen",
      control: "msg_control",
      controlLength: "msg_controllen",
      flags: "msg_flags",
    },
  },
  {
    struct: "iovec",
    layout: layouts.IOVEC,
    fields: { base: "iov_base", length: "iov_len" },
  },
  {
    struct: "cmsghdr",
    layout: layouts.CMSGHDR,
    fields: { length: "cmsg_len", level: "cmsg_level", type: "cmsg_type" },
  },
  {
    struct: "timeval",
    layout: layouts.TIMEVAL,
    fields: { seconds: "tv_sec", microseconds: "tv_usec" },
  },
  {
    struct: "ifreq",
    layout: layouts.IFREQ,
    fields: { name: "ifr_name", flags: "ifr_flags" },
  },
  {
    struct: "epoll_event",
    layout: { size, data: dataOffset },
    fields: { data: "data" },
  },
]

describe.skipIf(!hasCompiler())("layouts", () => {
  test("every size and offset is the C compiler's", () => {
    const expected = ROWS.map(({ struct, layout }) => [struct, layout])
    expect(compilerLayouts()).toEqual(Object.fromEntries(expected))
  })

  test("every table of layouts.ts is compared", () => {
    const tables = Object.values(layouts).filter((value) => typeof value === "object")
    expect(new Set(ROWS.map((row) => row.layout)).isSupersetOf(new Set(tables))).toBe(true)
  })
})

test("epollEventLayout() is packed on x86-64 alone", () => {
  expect(epollEventLayout("x64")).toEqual({ size: 12, dataOffset: 4 })
  expect(epollEventLayout("arm64")).toEqual({ size: 16, dataOffset: 8 })
})

function hasCompiler(): boolean {
  const source = HEADERS.map((header) => `#include <${header}>\n`).join("")
  return (
    Bun.which("cc") !== null &&
    Bun.spawnSync(["cc", "-fsyntax-only", "-x", "c", "-"], { stdin: Buffer.from(source) })
      .exitCode === 0
  )
}

function compilerLayouts(): unknown {
  const directory = mkdtempSync(join(tmpdir(), "causeway-layouts-"))
  try {
    const program = join(directory, "layouts")
    writeFileSync(`${program}.c`, source())
    const compiled = Bun.spawnSync(["cc", "-o", program, `${program}.c`])
    if (compiled.exitCode !== 0) throw new Error(compiled.stderr.toString())
    return JSON.parse(Bun.spawnSync([program]).stdout.toString())
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** A C program that prints the layouts as JSON. */
function source(): string {
  const objects = ROWS.map(({ struct, fields }) => {
    const names = ["size", ...Object.keys(fields)].map((name) => `\\"${name}\\":%zu`)
    const offsets = Object.values(fields).map((field) => `offsetof(struct ${struct}, ${field})`)
    const values = [`sizeof(struct ${struct})`, ...offsets].join(", ")
    return `printf("\\"${struct}\\":{${names.join(",")}}", ${values});`
  })
  const includes = HEADERS.map((header) => `#include <${header}>`).join("\n")
  return `#define _GNU_SOURCE\n${includes}
int main(void) {
  printf("{");
  ${objects.join('\n  printf(",");\n  ')}
  printf("}");
}
`
}
