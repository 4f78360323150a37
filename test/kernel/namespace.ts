/**
 * Runs code of src/linux inside a host of the lab, in this very process.
 *
 * A network namespace belongs to a thread, and a socket stays in the one it was opened in. As all
 * of src/linux is synchronous, the test's thread can enter the host, open sockets there and come
 * back before anything else of the process has a turn.
 */
import { dlopen } from "bun:ffi"
import { closeSync, openSync } from "node:fs"
import type { Host } from "../lab/host.ts"

/** Calls `action` with this thread inside `host`. It must be synchronous. */
export function inNamespace<Result>(host: Host, action: () => Result): Result {
  const home = openSync("/proc/thread-self/ns/net", "r")
  const away = openSync(`/run/netns/${host.namespace}`, "r")
  try {
    enter(away)
    const result = action()
    if (result instanceof Promise) throw new Error("inNamespace() is for synchronous code only")
    return result
  } finally {
    enter(home)
    closeSync(away)
    closeSync(home)
  }
}

function enter(fd: number): void {
  if (libc.setns(fd, CLONE_NEWNET) !== 0) throw new Error("Cannot enter a network namespace")
}

const CLONE_NEWNET = 0x40000000
const libc = dlopen("libc.so.6", { setns: { args: ["i32", "i32"], returns: "i32" } }).symbols
