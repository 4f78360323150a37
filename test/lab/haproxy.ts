/** HAProxy as a peer. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "./host.ts"
import type { ManagedProcess } from "./process.ts"

/** Starts HAProxy in the foreground with a whole configuration; resolves when it listens. */
export async function startHaproxy(host: Host, config: string): Promise<ManagedProcess> {
  const path = join(host.directory, `haproxy-${host.processes.length}.cfg`)
  writeFileSync(path, config)
  await host.exec(["haproxy", "-c", "-q", "-f", path])
  const child = host.spawn(["haproxy", "-W", "-db", "-f", path], { name: "haproxy" })
  await child.waitFor("Loading success")
  return child
}
