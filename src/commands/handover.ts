/**
 * `causeway release` and `resume`: hands the virtual addresses to the peer, or takes part again.
 * Waits until a released router is no longer active, so that a script may go on with the reboot.
 */
import type { VrrpStatus } from "../admin/backend.ts"
import { AdminClient, refused } from "./admin-client.ts"
import { CommandFailure, type CommandInput } from "./command.ts"
import { printLine } from "./output.ts"

export async function handOver(
  command: "release" | "resume",
  input: CommandInput,
): Promise<number> {
  const client = new AdminClient(input)
  const [wanted] = input.words
  const names = wanted === undefined ? await routerNames(client) : [wanted]
  for (const name of names) {
    const answer = await client.change("POST", `/v1/vrrp/${encodeURIComponent(name)}/${command}`)
    if (!answer.ok) throw refused(answer)
  }
  for (const name of names) printLine(describe(await settled(client, { name, command })))
  return 0
}

async function routerNames(client: AdminClient): Promise<string[]> {
  const { vrrp } = await client.status()
  if (vrrp.length === 0) throw new CommandFailure("There is no virtual router")
  return vrrp.map(({ name }) => name)
}

/** The router once the command has taken effect, or as it is when that takes too long. */
async function settled(
  client: AdminClient,
  { name, command }: { readonly name: string; readonly command: "release" | "resume" },
): Promise<VrrpStatus> {
  for (let looks = 0; ; looks++) {
    const router = (await client.status()).vrrp.find((each) => each.name === name)
    if (router === undefined) throw new CommandFailure(`There is no virtual router "${name}" now`)
    const isDone =
      router.released === (command === "release") && !(router.released && router.state === "active")
    if (isDone || looks >= LOOKS_MAX) return router
    await Bun.sleep(LOOK_INTERVAL_MS)
  }
}

function describe({ name, state, released, reason }: VrrpStatus): string {
  const hint = released ? `; take part again with: causeway resume ${name}` : ""
  return `${name}: ${state}${reason === "" ? "" : ` (${reason})`}${hint}`
}

const LOOK_INTERVAL_MS = 50
const LOOKS_MAX = 100
