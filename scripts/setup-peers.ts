/**
 * Installs the programs that tests, bench and demo run beside ours, by apt, only those missing.
 * Nothing is installed that is already there, and no service is left running: packages are told not
 * to start theirs (policy-rc.d, Debian Policy §9.3.3.1).
 */
import { existsSync, rmSync, writeFileSync } from "node:fs"

export interface Peers {
  /** Programs that are missing still; empty when all is well. */
  readonly missing: readonly string[]
  /** Why they could not be installed. */
  readonly reason: string
  readonly installed: readonly string[]
}

/** Installs what is missing as far as possible; never throws. */
export async function setUpPeers(): Promise<Peers> {
  const packages = missingPackages()
  if (packages.length === 0) return { missing: [], reason: "", installed: [] }
  const reason = await install(packages)
  const missing = missingPrograms()
  return { missing, reason: missing.length === 0 ? "" : reason, installed: packages }
}

/** Programs that tests call for and that are not on this machine. */
export function missingPrograms(): string[] {
  return Object.keys(PACKAGES).filter((program) => !isPresent(program))
}

async function install(packages: readonly string[]): Promise<string> {
  if (process.getuid?.() !== 0) return "installing needs root"
  if (Bun.which("apt-get") === null) return "no apt-get here"
  const denyStart = !existsSync(POLICY)
  if (denyStart) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 })
  try {
    await apt("update")
    return await apt("install", "--yes", "--no-install-recommends", ...packages)
  } finally {
    if (denyStart) rmSync(POLICY)
  }
}

/** Empty on success, else the last lines it wrote. */
async function apt(...words: readonly string[]): Promise<string> {
  const child = Bun.spawn(["apt-get", "--quiet", ...words], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  })
  const stderr = await new Response(child.stderr).text()
  if ((await child.exited) === 0) return ""
  return stderr.trim().split("\n").slice(-3).join("\n")
}

function missingPackages(): string[] {
  return [...new Set(missingPrograms().map((program) => PACKAGES[program] ?? program))]
}

/** A program on the path (sbin included), or a file by its full name. */
function isPresent(program: string): boolean {
  if (program.startsWith("/")) return existsSync(program)
  const { PATH = "" } = process.env
  return Bun.which(program, { PATH: `${PATH}:/usr/sbin:/sbin` }) !== null
}

const POLICY = "/usr/sbin/policy-rc.d"

/** Program → the Debian package that has it. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2",
  ping: "iputils-ping",
  arping: "iputils-arping",
  nft: "nftables",
  sysctl: "procps",
  setpriv: "util-linux",
  tcpdump: "tcpdump",
  tshark: "tshark",
  keepalived: "keepalived",
  haproxy: "haproxy",
  nginx: "nginx",
  "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream",
  mariadbd: "mariadb-server",
  mariadb: "mariadb-client",
  "redis-server": "redis-server",
  curl: "curl",
  wrk: "wrk",
  h2load: "nghttp2-client",
  ab: "apache2-utils",
  strace: "strace",
  capsh: "libcap2-bin",
  openssl: "openssl",
  "systemd-analyze": "systemd",
  kubectl: "kubernetes-client",
}

if (import.meta.main) {
  const { missing, reason, installed } = await setUpPeers()
  if (installed.length > 0) process.stdout.write(`installed: ${installed.join(" ")}\n`)
  if (missing.length > 0) process.stdout.write(`missing: ${missing.join(" ")} (${reason})\n`)
  process.exit(missing.length === 0 ? 0 : 1)
}
