/**
 * keepalived as the other edge. Several may run at once: pid files lie in the host's folder, and
 * each has a /run of its own (`ip netns exec` already gives it a mount namespace).
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "./host.ts"
import type { ManagedProcess } from "./process.ts"

export interface KeepalivedInstance {
  readonly interface: string
  readonly virtualRouterId: number
  readonly priority: number
  readonly addresses: readonly string[]
  readonly version?: 2 | 3
  /** Seconds; version 3 takes centiseconds such as 0.1. */
  readonly advertInterval?: number
  readonly password?: string
  /** Further lines of the instance. */
  readonly extra?: string
}

/** Starts keepalived with a whole configuration; resolves when its VRRP process runs. */
export async function startKeepalived(host: Host, config: string): Promise<Keepalived> {
  const base = join(host.directory, `keepalived-${host.processes.length}`)
  writeFileSync(`${base}.conf`, config)
  const argv = ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--dump-conf"]
  const files = [`--use-file=${base}.conf`, `--pid=${base}.pid`, `--vrrp_pid=${base}-vrrp.pid`]
  const checkers = `--checkers_pid=${base}-checkers.pid`
  const child = host.spawn(
    ["sh", "-c", PRIVATE_RUN, "sh", ...argv, "--no-syslog", ...files, checkers],
    { name: "keepalived" },
  )
  await child.waitFor(/Startup complete|VRRP_Instance\([^)]*\) Entering/)
  return new Keepalived(child, `${base}.conf`)
}

/** A configuration with one virtual router. */
export function keepalivedConfig(instance: KeepalivedInstance): string {
  const { version = 3, advertInterval = 1, password, extra = "" } = instance
  const authentication =
    password === undefined
      ? ""
      : `authentication {\n    auth_type PASS\n    auth_pass ${password}\n  }`
  return `global_defs {
  vrrp_version ${version}
}
vrrp_instance edge {
  state BACKUP
  interface ${instance.interface}
  virtual_router_id ${instance.virtualRouterId}
  priority ${instance.priority}
  advert_int ${advertInterval}
  ${authentication}
  ${extra}
  virtual_ipaddress {
    ${instance.addresses.join("\n    ")}
  }
}
`
}

export class Keepalived {
  readonly process: ManagedProcess
  readonly configPath: string

  constructor(child: ManagedProcess, configPath: string) {
    this.process = child
    this.configPath = configPath
  }

  /** The state its instance `edge` last reported. */
  get state(): "MASTER" | "BACKUP" | "FAULT" | undefined {
    const all = [...this.process.output.matchAll(/\(edge\) Entering (MASTER|BACKUP|FAULT) STATE/g)]
    return all.at(-1)?.[1] as "MASTER" | "BACKUP" | "FAULT" | undefined
  }

  /** Rereads its configuration, as `systemctl reload` would make it. */
  reload(config: string): void {
    writeFileSync(this.configPath, config)
    this.process.signal("SIGHUP")
  }

  /** Ends it as a crash would: the addresses stay behind, as keepalived's do. */
  kill(): Promise<number> {
    return this.process.stop({ signal: "SIGKILL" })
  }

  stop(): Promise<number> {
    return this.process.stop()
  }
}

const PRIVATE_RUN = 'mount -t tmpfs tmpfs /run && exec "$@"'
