/**
 * Program of the lab (`virtual-router.ts`): the vrrp thread as the daemon runs it. Settings are in
 * the JSON file named by the first argument; messages for the thread are POSTed to a Unix socket;
 * what the thread says is printed, one JSON line each.
 */
import { readFileSync } from "node:fs"
import type { VrrpConfig } from "../../src/config/config.ts"
import { VrrpThread } from "../../src/daemon/vrrp-thread.ts"
import type { ToVrrpThread } from "../../src/vrrp/messages.ts"
import { epochMs } from "./wait.ts"

interface Settings {
  readonly routers: readonly VrrpConfig[]
  readonly socket: string
  readonly ready: boolean
  readonly leavingMs: number
}

const settings: Settings = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8"))
const thread = new VrrpThread({
  nice: 0,
  onState: (snapshot) => say({ type: "state", snapshot }),
  onLog: (record) => say(record),
  onLeaving: async (addresses) => {
    say({ type: "leaving", addresses })
    if (settings.leavingMs > 0) await Bun.sleep(settings.leavingMs)
  },
  onFailed: (reason) => {
    say({ type: "failed", reason })
    process.exit(1)
  },
})
process.on("SIGTERM", async () => {
  await thread.stop()
  process.exit(0)
})
await thread.started
thread.post({ type: "configure", routers: settings.routers })
if (settings.ready) thread.post({ type: "ready" })
Bun.serve({
  unix: settings.socket,
  fetch: async (request) => {
    thread.post((await request.json()) as ToVrrpThread)
    return new Response()
  },
})
say({ type: "started", scheduling: thread.scheduling })

function say(message: object): void {
  process.stdout.write(`${JSON.stringify({ atMs: epochMs(), message })}\n`)
}
