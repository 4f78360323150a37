/**
 * Which program listens on a TCP port, from /proc, as `ss -ltnp` finds it: the socket's inode in
 * /proc/net/tcp, then the process that has it open. Without root only one's own processes show.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

/** "nginx (pid 812)"; undefined when nobody listens or we may not see who. */
export function portOwner(port: number): string | undefined {
  const inodes = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) =>
    listeningInodes(readOptional(table), port),
  )
  if (inodes.length === 0) return undefined
  const links = new Set(inodes.map((inode) => `socket:[${inode}]`))
  const pid = entries("/proc").find(
    (name) => /^\d+$/.test(name) && hasDescriptor(`/proc/${name}/fd`, links),
  )
  return pid === undefined ? undefined : `${readOptional(`/proc/${pid}/comm`).trim()} (pid ${pid})`
}

/**
 * From the text of /proc/net/tcp (proc(5)): `sl local_address rem_address st … inode`, addresses
 * and ports in hexadecimal.
 */
export function listeningInodes(table: string, port: number): string[] {
  return table.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/)
    const isWanted = state === TCP_LISTEN && Number.parseInt(local.split(":")[1] ?? "", 16) === port
    return isWanted && inode !== undefined ? [inode] : []
  })
}

function hasDescriptor(folder: string, links: ReadonlySet<string>): boolean {
  return entries(folder).some((name) => links.has(linkTarget(`${folder}/${name}`)))
}

/** Processes and descriptors come and go while we look. */
function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** TCP_LISTEN of include/net/tcp_states.h, in hexadecimal. */
const TCP_LISTEN = "0A"
