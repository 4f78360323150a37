/**
 * Captures what the installed keepalived really puts on the wire and rewrites the fixture that the
 * codecs in src/wire are tested against. Needs root, keepalived, iproute2 and tcpdump; all traffic
 * stays in two throw-away namespaces.
 *
 *     bun scripts/capture-vrrp-goldens.ts
 *
 * Addresses and MACs are fixed, so a second capture differs only in the IPv4 identification and
 * header checksum.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

interface Case {
  readonly name: string
  readonly says: string
  readonly filter: string
  readonly instance: string
  /** Frames come only while keepalived stops. */
  readonly onStop: boolean
}

const SENDER_MAC = "02:00:00:00:00:01"
const FIXTURE = join(import.meta.dir, "../src/wire/fixtures/keepalived.ts")
const BASE = `state MASTER
  interface eth0
  virtual_router_id 51
  priority 100
  garp_master_delay 1`
const ONE_ADDRESS = "virtual_ipaddress {\n    192.0.2.40/32\n  }"

const CASES: readonly Case[] = [
  {
    name: "v2",
    says: "version 2, no authentication, 1 s",
    filter: "ip proto 112",
    instance: `${BASE}\n  version 2\n  advert_int 1\n  ${ONE_ADDRESS}`,
    onStop: false,
  },
  {
    name: "v2Pass",
    says: "version 2, auth_type PASS, auth_pass 42, 3 s, two addresses, priority 213",
    filter: "ip proto 112",
    instance: `${BASE.replace("priority 100", "priority 213")}
  version 2
  advert_int 3
  authentication {
    auth_type PASS
    auth_pass 42
  }
  virtual_ipaddress {
    192.0.2.40/32
    192.0.2.41/32
  }`,
    onStop: false,
  },
  {
    name: "v2Stop",
    says: "version 2, priority 0 of a stopping keepalived",
    filter: "ip proto 112 and ip[22] = 0",
    instance: `${BASE}\n  version 2\n  advert_int 1\n  ${ONE_ADDRESS}`,
    onStop: true,
  },
  {
    name: "v3",
    says: "version 3, 1 s",
    filter: "ip proto 112",
    instance: `${BASE}\n  version 3\n  advert_int 1\n  ${ONE_ADDRESS}`,
    onStop: false,
  },
  {
    name: "v3Fast",
    says: "version 3, 100 ms, three addresses",
    filter: "ip proto 112",
    instance: `${BASE}
  version 3
  advert_int 0.1
  virtual_ipaddress {
    192.0.2.40/32
    192.0.2.41/32
    198.51.100.7/32
  }`,
    onStop: false,
  },
  {
    name: "v3Unicast",
    says: "version 3, unicast_peer 192.0.2.2",
    filter: "ip proto 112",
    instance: `${BASE}
  version 3
  advert_int 1
  unicast_src_ip 192.0.2.1
  unicast_peer {
    192.0.2.2
  }
  ${ONE_ADDRESS}`,
    onStop: false,
  },
  {
    name: "v3Stop",
    says: "version 3, priority 0 of a stopping keepalived",
    filter: "ip proto 112 and ip[22] = 0",
    instance: `${BASE}\n  version 3\n  advert_int 1\n  ${ONE_ADDRESS}`,
    onStop: true,
  },
  {
    name: "gratuitousArp",
    says: "gratuitous ARP of 192.0.2.40 on becoming master",
    filter: "arp and arp[14:4] = 0xc0000228",
    instance: `${BASE}\n  version 3\n  advert_int 0.1\n  ${ONE_ADDRESS}`,
    onStop: false,
  },
]

const suffix = crypto.randomUUID().slice(0, 8)
const sender = `cw-gold-a-${suffix}`
const listener = `cw-gold-b-${suffix}`
const directory = mkdtempSync(join(tmpdir(), "cw-gold-"))

try {
  makeNamespaces()
  const frames = new Map<string, string>()
  for (const each of CASES) frames.set(each.name, await capture(each))
  writeFileSync(FIXTURE, fixture(frames))
  run(join(import.meta.dir, "../node_modules/.bin/biome"), "format", "--write", FIXTURE)
} finally {
  for (const name of [sender, listener]) Bun.spawnSync(["ip", "netns", "delete", name])
  rmSync(directory, { recursive: true })
}

function makeNamespaces(): void {
  for (const name of [sender, listener]) run("ip", "netns", "add", name)
  const pair = `cwg${suffix}`
  run("ip", "-n", sender, "link", "add", "eth0", "type", "veth", "peer", pair)
  run("ip", "-n", sender, "link", "set", pair, "netns", listener, "name", "eth0")
  run("ip", "-n", sender, "link", "set", "eth0", "address", SENDER_MAC)
  run("ip", "-n", sender, "address", "add", "192.0.2.1/24", "dev", "eth0")
  run("ip", "-n", listener, "link", "set", "eth0", "address", "02:00:00:00:00:02")
  run("ip", "-n", listener, "address", "add", "192.0.2.2/24", "dev", "eth0")
  for (const name of [sender, listener]) {
    run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", name, "link", "set", "eth0", "up")
  }
}

/** The first matching frame as hex. */
async function capture(each: Case): Promise<string> {
  const config = join(directory, `${each.name}.conf`)
  const pcap = join(directory, `${each.name}.pcap`)
  writeFileSync(config, keepalivedConfig(each))
  const filter = `ether src ${SENDER_MAC} and ${each.filter}`
  const tcpdump = spawnIn(
    listener,
    `tcpdump --immediate-mode -U -Z root -p -c 1 -i eth0 -w ${pcap}`,
    [filter],
  )
  await textSeen(tcpdump.stderr, "listening on")
  const pids = ["-p", "-r", "-c"]
    .map((flag) => `${flag} ${directory}/${each.name}${flag}`)
    .join(" ")
  const options = `--dont-fork --vrrp --log-console --use-file ${config} ${pids}`
  const keepalived = spawnIn(sender, `keepalived ${options}`, [])
  if (each.onStop) {
    await textSeen(keepalived.stderr, "Entering MASTER STATE")
    keepalived.kill("SIGTERM")
  }
  await tcpdump.exited
  keepalived.kill("SIGTERM")
  await keepalived.exited
  return firstFrame(readFileSync(pcap))
}

function spawnIn(namespace: string, command: string, lastArguments: readonly string[]) {
  const whole = ["ip", "netns", "exec", namespace, ...command.split(" "), ...lastArguments]
  return Bun.spawn(whole, { stdout: "ignore", stderr: "pipe" })
}

function keepalivedConfig(each: Case): string {
  return `global_defs {
  router_id golden
}
vrrp_instance golden {
  ${each.instance}
}
`
}

/** Goes on reading afterwards: a program whose log nobody reads dies of SIGPIPE. */
function textSeen(stream: ReadableStream<Uint8Array>, wanted: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  void (async () => {
    let seen = ""
    for await (const chunk of stream) {
      seen += new TextDecoder().decode(chunk)
      if (seen.includes(wanted)) resolve()
    }
    reject(new Error(`Never said "${wanted}": ${seen}`))
  })()
  return promise
}

/** pcap: a 24-byte file header, then 16-byte record headers whose third word is the length. */
function firstFrame(pcap: Buffer): string {
  const length = pcap.readUInt32LE(24 + 8)
  return pcap.subarray(40, 40 + length).toString("hex")
}

function fixture(frames: ReadonlyMap<string, string>): string {
  const version = Bun.spawnSync(["keepalived", "--version"]).stderr.toString().split("\n")[0]
  const entries = CASES.map(
    (each) => `  /** ${each.says} */\n  ${each.name}:\n    "${frames.get(each.name)}",`,
  )
  return `/**
 * Ethernet frames captured from ${version?.trim()}: 192.0.2.1
 * (${SENDER_MAC}), VRID 51, priority 100 and address 192.0.2.40 unless said otherwise.
 * Written by scripts/capture-vrrp-goldens.ts; do not edit.
 */
export const KEEPALIVED = {
${entries.join("\n")}
} as const
`
}

function run(...command: string[]): void {
  const result = Bun.spawnSync(command)
  if (!result.success) throw new Error(`${command.join(" ")}: ${result.stderr.toString()}`)
}
