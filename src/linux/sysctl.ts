/**
 * Kernel settings under /proc/sys, those of the caller's network namespace among them.
 *
 * Names are paths ("net/ipv4/conf/eth0/arp_ignore"), not dotted: interface names may contain dots.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { EACCES, ENOENT, EPERM, SystemError } from "./errno.ts"

const ROOT = "/proc/sys"

/** Equivalent to `sysctl -n NAME`. Undefined when this kernel has no such setting. */
export function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(pathOf(name), "utf8").trim()
  } catch (error) {
    const failure = failureOf(`read sysctl ${name}`, error)
    if (failure.errno === ENOENT) return undefined
    throw failure
  }
}

/** Equivalent to `sysctl -w NAME=VALUE`. Throws `SystemError`. */
export function writeSysctl(name: string, value: string): void {
  try {
    // Never create: a misspelt name must not become a file.
    writeFileSync(pathOf(name), value, { flag: "r+" })
  } catch (error) {
    throw failureOf(`set sysctl ${name} to ${value}`, error)
  }
}

function pathOf(name: string): string {
  const parts = name.split("/")
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new RangeError(`Cannot use "${name}" as the name of a sysctl`)
  }
  return `${ROOT}/${name}`
}

function failureOf(operation: string, error: unknown): SystemError {
  if (!(error instanceof Error) || !("errno" in error) || typeof error.errno !== "number")
    throw error
  const errno = Math.abs(error.errno)
  const denied = errno === EACCES || errno === EPERM
  return new SystemError(
    operation,
    errno,
    denied ? "needs CAP_NET_ADMIN and a writable /proc/sys" : "",
  )
}
