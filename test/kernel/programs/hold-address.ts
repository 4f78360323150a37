/**
 * Holds virtual addresses on a tun device until it is killed, as an edge does, with a child process
 * that must not keep them alive. Arguments: name of the device, then addresses with prefix length.
 */
import { SCOPE_LINK } from "../../../src/linux/address-message.ts"
import { Rtnetlink } from "../../../src/linux/rtnetlink.ts"
import { openTun } from "../../../src/linux/tun.ts"
import { parsePrefix } from "../../../src/net/address.ts"

const [name = "", ...addresses] = process.argv.slice(2)
const rtnetlink = new Rtnetlink()
const tun = openTun(name, rtnetlink)
for (const text of addresses) {
  const prefix = parsePrefix(text)
  if (prefix === undefined) throw new Error(text)
  rtnetlink.addAddress(tun, { prefix, scope: SCOPE_LINK, validLifetimeS: 60, noDad: true })
}
const child = Bun.spawn(["sleep", "60"])
process.stdout.write(`holding ${tun.name} ${tun.index} child ${child.pid}\n`)
await child.exited
