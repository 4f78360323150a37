/** The troubles of the README's table "When something is wrong", each provoked on its stage. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { defaultBinary } from "../lab/edge.ts"
import { startMariaDb } from "../lab/mariadb.ts"
import { startTcpServer } from "../lab/servers.ts"
import { CONFIG_PATH, type ReadmePair, VIRTUAL_ADDRESS } from "./readme-pair.ts"

interface Symptom {
  /** Part of the table's first column. */
  readonly of: string
  /** Makes it happen, undoes it, and returns what there was to see. */
  readonly provoke: (pair: ReadmePair) => Promise<string>
}

export const SYMPTOMS: readonly Symptom[] = [
  { of: "EADDRINUSE", provoke: portTaken },
  { of: "EACCES", provoke: unreadableFile },
  { of: "EPERM", provoke: withoutCapabilities },
  { of: "both edges say", provoke: bothActive },
  { of: "an edge says `fault`", provoke: interfaceDown },
  { of: "is also used by", provoke: thirdMachine },
  { of: "is blocked because", provoke: blockedHost },
  { of: "Access denied", provoke: refusedChecks },
  { of: "Ports to servers", provoke: missingSysctl },
  { of: "works by hand and fails here", provoke: sandbox },
]

async function portTaken({ client }: ReadmePair): Promise<string> {
  const rival = await startTcpServer(client, { port: 443 })
  const { exitCode, stderr } = await client.run([
    ...defaultBinary(),
    "run",
    "-c",
    strayConfig(client, 443),
  ])
  await rival.stop()
  if (exitCode !== 1) throw new Error(`The exit code is ${exitCode}`)
  return stderr
}

/** As `cp` and an umask of 077 leave it; put right by what the message advises. */
async function unreadableFile({ edgeA }: ReadmePair): Promise<string> {
  await edgeA.typed(`chown root:root ${CONFIG_PATH}; chmod 600 ${CONFIG_PATH}; causeway check`)
  const { exitCode, stderr } = await edgeA.type("causeway reload")
  const [, advice = "false"] = /^hint: .*: (chgrp .*)$/m.exec(stderr) ?? []
  await edgeA.typed(`${advice} && causeway reload`)
  return exitCode === 1 ? stderr : ""
}

async function withoutCapabilities({ client }: ReadmePair): Promise<string> {
  const wrapper = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
  const argv = [...wrapper, ...defaultBinary(), "run", "-c", strayConfig(client, 4430)]
  const edge = client.spawn(argv)
  const line = await edge.waitFor(/.*EPERM.*/)
  await edge.stop()
  return line
}

/** By a version that differs. */
async function bothActive({ edgeA, edgeB }: ReadmePair): Promise<string> {
  const other = (toml: string) => toml.replace(/^priority/m, "version = 2\npriority")
  return edgeB.withConfig(other, async () => {
    await edgeB.waitStatus(({ vrrp }) => vrrp[0]?.state === "active")
    const { vrrp } = await edgeA.waitStatus(({ vrrp: [router] }) => {
      return Object.values(router?.dropped ?? {}).some((count) => count > 0)
    })
    return `both edges: ${vrrp[0]?.state}`
  })
}

async function interfaceDown({ edgeB }: ReadmePair): Promise<string> {
  await edgeB.host.linkDown("eth0")
  const { vrrp } = await edgeB.waitStatus(({ vrrp: [router] }) => router?.state === "fault")
  const text = await edgeB.typed("causeway status")
  await edgeB.host.linkUp("eth0")
  await edgeB.waitStatus(({ vrrp: [router] }) => router?.state === "backup")
  return vrrp[0]?.reason.includes("down") ? text : ""
}

async function thirdMachine({ client, edgeA }: ReadmePair): Promise<string> {
  await client.ip(`address add ${VIRTUAL_ADDRESS}/32 dev eth0`)
  await client.exec(["arping", "-U", "-c", "1", "-I", "eth0", VIRTUAL_ADDRESS])
  await client.ip(`address del ${VIRTUAL_ADDRESS}/32 dev eth0`)
  await edgeA.waitStatus(({ vrrp: [router] }) => (router?.warnings.length ?? 0) > 0)
  return edgeA.typed("causeway status")
}

/** A server that blocks after one broken handshake, where it would be after a hundred. */
async function blockedHost({ client, edgeA }: ReadmePair): Promise<string> {
  // A server counts by name: `ip netns exec` puts this over /etc, so that the edge has one.
  const names = join("/etc/netns", client.namespace)
  mkdirSync(names, { recursive: true })
  writeFileSync(join(names, "hosts"), "192.168.0.2 edge-a.lab\n")
  try {
    await using server = await startMariaDb({
      host: client,
      address: "192.168.0.9",
      reverseLookup: true,
      settings: { "max-connect-errors": 1 },
    })
    const broken = "exec 3<>/dev/tcp/192.168.0.9/3306; read -n 1 <&3; exec 3>&-"
    await edgeA.host.exec(["bash", "-c", `${broken}; ${broken}; ${broken}`])
    const pool = '\n[[pool]]\nname = "other"\nservers = ["192.168.0.9:3306"]\n'
    const check = '[pool.check]\ntype = "mysql"\nrise = 1\n'
    return await edgeA.withConfig(
      (toml) => toml + pool + check,
      async () => {
        await edgeA.waitStatus(({ pools }) => pools.at(-1)?.servers[0]?.health === "down")
        const text = await edgeA.typed("causeway status")
        await server.query("FLUSH HOSTS")
        await edgeA.waitStatus(({ pools }) => pools.at(-1)?.servers[0]?.health === "up")
        return text
      },
    )
  } finally {
    rmSync(names, { recursive: true, force: true })
  }
}

async function refusedChecks({ servers: [server] }: ReadmePair): Promise<string> {
  return server?.process.output ?? ""
}

async function missingSysctl({ edgeA }: ReadmePair): Promise<string> {
  // In the lab they are read-only, so that `causeway install` could not set them.
  return edgeA.systemd.log()
}

async function sandbox({ edgeA }: ReadmePair): Promise<string> {
  const checks = [
    ["who", "/usr/bin/id -un"],
    ["own", "/usr/bin/touch /run/causeway/x /var/lib/causeway/x /var/log/causeway/x"],
    ["other", "/usr/bin/touch /etc/causeway/x"],
  ].map(([name, command = ""]) => {
    const words = JSON.stringify(command.split(" "))
    return `\n[[check]]\nname = "${name}"\ntype = "command"\ncommand = ${words}\n`
  })
  await edgeA.typed("touch /etc/causeway/x && rm /etc/causeway/x")
  return edgeA.withConfig(
    (toml) => toml + checks.join(""),
    async () => {
      const status = await edgeA.waitStatus(({ checks }) =>
        checks.every(({ health }) => health !== "unknown"),
      )
      const results = status.checks.map(({ name, health, reason }) => `${name} ${health} ${reason}`)
      const wanted = [/^who up causeway$/, /^own up /, /^other down .*Read-only file system$/]
      if (!wanted.every((each, index) => each.test(results[index] ?? ""))) {
        throw new Error(results.join("\n"))
      }
      return results.join("\n")
    },
  )
}

/** Of an edge that is not the README's: it runs beside them, on the client. */
function strayConfig(host: ReadmePair["client"], port: number): string {
  const path = join(host.directory, "stray.toml")
  writeFileSync(
    path,
    `[admin]
listen = ["unix:${join(host.directory, "stray.sock")}"]

[[vrrp]]
name = "stray"
interface = "eth0"
virtual_router_id = 99
addresses = ["192.168.0.99"]

[[pool]]
name = "p"
servers = ["192.168.0.9:444"]

[[stream]]
name = "s"
bind = ["192.168.0.9:${port}"]
pool = "p"
`,
  )
  return path
}
