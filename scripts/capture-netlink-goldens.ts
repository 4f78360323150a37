/**
 * Captures what `ip` says to the kernel and what the kernel answers, and rewrites the fixture that
 * the codecs of src/linux are tested against. Needs root, iproute2, util-linux and strace; works in
 * a network namespace of its own that ends with the command.
 *
 *     bun scripts/capture-netlink-goldens.ts
 *
 * Names, indices and MACs are fixed. Sequence numbers and port ids are written as zero; what still
 * differs from capture to capture are time stamps (IFA_CACHEINFO) and link statistics.
 */
import { join } from "node:path"

const FIXTURE = join(import.meta.dir, "../src/linux/fixtures/netlink.ts")

const RTM_NEWLINK = 16
const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const NLMSG_ERROR = 2
const AF_BRIDGE = 7

interface Case {
  readonly name: string
  readonly command: string
  readonly direction: "sent" | "received"
  /** Which message of the exchange is meant: the first of this type. */
  readonly type: number
  /** Only of this address family. */
  readonly family?: number
  /** Commands that make the situation. */
  readonly before?: readonly string[]
}

const SETUP = [
  "ip link add eth9 index 9 address 02:00:00:00:00:09 type veth peer name eth8 index 8 address 02:00:00:00:00:08",
  "ip link add br7 index 7 address 02:00:00:00:00:07 type bridge",
  "ip link set eth8 master br7",
  "ip link set eth8 up",
]
const LEASED = "192.0.2.40/32 dev eth9 scope link label eth9:vip valid_lft 3 preferred_lft 3"
const ROUTE = "198.51.100.0/24 via 192.0.2.1 dev eth9 table 1234 proto 99 src 192.0.2.2 metric 7"

const CASES: readonly Case[] = [
  {
    name: "addressAdd",
    command: `ip address add ${LEASED} noprefixroute`,
    direction: "sent",
    type: RTM_NEWADDR,
  },
  {
    name: "addressReplaceIpv6",
    command: "ip address replace 2001:db8::40/128 dev eth9 nodad valid_lft 3 preferred_lft 0",
    direction: "sent",
    type: RTM_NEWADDR,
  },
  {
    name: "addressShow",
    command: "ip -4 address show dev eth9",
    direction: "received",
    type: RTM_NEWADDR,
  },
  {
    name: "addressShowIpv6",
    command: "ip -6 address show dev eth9",
    direction: "received",
    type: RTM_NEWADDR,
  },
  {
    name: "addressAddAgain",
    command: `ip address add ${LEASED} noprefixroute`,
    direction: "received",
    type: NLMSG_ERROR,
  },
  {
    name: "addressDelete",
    command: "ip address del 192.0.2.40/32 dev eth9",
    direction: "sent",
    type: RTM_DELADDR,
  },
  {
    name: "addressDeleted",
    command: "ip address del 2001:db8::40/128 dev eth9",
    direction: "received",
    type: NLMSG_ERROR,
  },
  { name: "linkUp", command: "ip link set dev eth9 up", direction: "sent", type: RTM_NEWLINK },
  { name: "linkDown", command: "ip link set dev eth9 down", direction: "sent", type: RTM_NEWLINK },
  {
    name: "linkMtu",
    command: "ip link set dev eth9 mtu 1400",
    direction: "sent",
    type: RTM_NEWLINK,
  },
  {
    name: "linkAddressGeneration",
    command: "ip link set dev eth9 addrgenmode none",
    direction: "sent",
    type: RTM_NEWLINK,
  },
  {
    name: "linkShow",
    command: "ip link show dev eth8",
    direction: "received",
    type: RTM_NEWLINK,
    before: ["ip link set dev eth9 up"],
  },
  {
    name: "bridgePort",
    command: "bridge link show",
    direction: "received",
    type: RTM_NEWLINK,
    family: AF_BRIDGE,
  },
  {
    name: "routeReplace",
    command: `ip route replace ${ROUTE}`,
    direction: "sent",
    type: RTM_NEWROUTE,
    before: ["ip address add 192.0.2.2/24 dev eth9"],
  },
  {
    name: "routeShow",
    command: "ip route show table 1234",
    direction: "received",
    type: RTM_NEWROUTE,
  },
  {
    name: "routeDelete",
    command: "ip route del 198.51.100.0/24 table 1234 proto 99",
    direction: "sent",
    type: RTM_DELROUTE,
  },
  {
    name: "routeAddIpv6Default",
    command: "ip route add default via fe80::1 dev eth9 proto 99",
    direction: "sent",
    type: RTM_NEWROUTE,
  },
  {
    name: "routeAddOnLink",
    command: "ip route add 203.0.113.0/24 dev eth9 proto 99",
    direction: "sent",
    type: RTM_NEWROUTE,
  },
  {
    name: "routeAddForeignSource",
    command: "ip route add 198.18.0.0/15 dev eth9 src 192.0.2.99",
    direction: "received",
    type: NLMSG_ERROR,
  },
  {
    name: "routeShowMultipath",
    command: "ip route show table 1235",
    direction: "received",
    type: RTM_NEWROUTE,
    before: [
      "ip route add 198.18.0.0/15 table 1235 nexthop via 192.0.2.1 dev eth9 weight 1 nexthop via 192.0.2.3 dev eth9 weight 5",
    ],
  },
]

if (process.argv[2] === "inside") captureAll()
else capture()

function capture(): void {
  const run = Bun.spawnSync(["unshare", "--net", process.execPath, import.meta.path, "inside"], {
    stderr: "inherit",
  })
  if (run.exitCode !== 0) throw new Error("The capture failed")
  Bun.write(FIXTURE, run.stdout.toString())
}

function captureAll(): void {
  for (const command of SETUP) runPlain(command)
  const goldens = CASES.map((each) => {
    for (const command of each.before ?? []) runPlain(command)
    return `  /** \`${each.command}\`, ${each.direction} */\n  ${each.name}:\n    "${captured(each)}",`
  })
  const version = Bun.spawnSync(["ip", "-V"]).stdout.toString().trim()
  process.stdout.write(`/**
 * Netlink messages captured by scripts/capture-netlink-goldens.ts (strace of \`ip\`), as hex.
 * ${version}; Linux ${Bun.spawnSync(["uname", "-r"]).stdout.toString().trim()}.
 * Sequence number and port id are zero.
 */
export const GOLDEN = {
${goldens.join("\n")}
} as const
`)
}

function captured({ name, command, direction, type, family }: Case): string {
  const traced = ["strace", "-qq", "-e", "trace=sendmsg,sendto,recvmsg"]
  const run = Bun.spawnSync([...traced, "-e", "write=all", "-e", "read=all", ...command.split(" ")])
  const calls = run.stderr.toString().split(/^(?=sendmsg|sendto|recvmsg)/m)
  const wanted = direction === "sent" ? /^send/ : /^recv/
  // A failing first call is iproute2 trying what the kernel supports, always with index 0.
  const messages = calls
    .filter((call) => wanted.test(call))
    .flatMap((call) => splitMessages(dumpedBytes(call)))
    .filter((message) => message.readUInt16LE(4) === type && !isFeatureProbe(message))
    .filter((message) => family === undefined || message[16] === family)
  const message = messages[0]
  if (message === undefined) throw new Error(`${name}: not found\n${run.stderr}`)
  message.fill(0, 8, 16)
  if (type === NLMSG_ERROR) message.fill(0, 28, 36)
  return message.toString("hex")
}

function isFeatureProbe(message: Buffer): boolean {
  const type = message.readUInt16LE(4)
  if (type === RTM_NEWLINK) return message.length === 32 && message.readInt32LE(20) === 0
  return type === NLMSG_ERROR && message.readInt32LE(16) === -19
}

/** The hex dump that strace writes under a call: " | 00000  34 00 …  00 00 …  4...". */
function dumpedBytes(call: string): Buffer {
  const lines = call.split("\n").filter((line) => /^ \| [0-9a-f]{5} /.test(line))
  return Buffer.from(lines.map((line) => line.slice(10, 59).replaceAll(" ", "")).join(""), "hex")
}

function splitMessages(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = []
  for (let start = 0; start + 16 <= bytes.length; ) {
    const length = bytes.readUInt32LE(start)
    messages.push(Buffer.from(bytes.subarray(start, start + length)))
    start += (length + 3) & ~3
  }
  return messages
}

function runPlain(command: string): void {
  const run = Bun.spawnSync(command.split(" "))
  if (run.exitCode !== 0) throw new Error(`${command}: ${run.stderr}`)
}
