/**
 * A way into a host's network from the test itself: whoever connects to the unix socket is
 * connected to the target from inside the host, byte for byte, half-closes and resets included. So
 * a test can speak a protocol with its own sockets, as if it stood in the namespace.
 */
import { join } from "node:path"
import type { Host } from "./host.ts"

export interface DoorOptions {
  /** Address to come from; default: the kernel's choice. */
  readonly from?: string
}

/** Opens a door to `target` ("address:port"); returns the path of its socket. */
export async function openDoor(
  host: Host,
  target: string,
  options: DoorOptions = {},
): Promise<string> {
  const path = join(host.directory, `door-${host.processes.length}.sock`)
  const program = `${import.meta.dir}/door-program.ts`
  const argv = [process.execPath, program, path, target, options.from ?? ""]
  const child = host.spawn(argv, { name: "door" })
  await child.waitFor("open")
  return path
}
