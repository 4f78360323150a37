/**
 * A real systemd as the first process of namespaces of its own, inside a host of the lab: so that a
 * unit is judged by what it does, and not by what one thinks that systemd does with it.
 *
 * It sees the machine's files, but a /run, /dev, /etc, /var and /usr/local/bin of its own, and only
 * the units it is given or that are installed into that /etc. It cannot touch the machine: kernel
 * settings are read-only, its processes are those of its process namespace and die with it, and its
 * control groups are below one that is removed at the end.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs"
import { basename, join } from "node:path"
import type { Host } from "./host.ts"
import type { CommandResult, ManagedProcess } from "./process.ts"
import { eventually } from "./wait.ts"

/** What is there when it boots. Units may also be put into its /etc/systemd/system later. */
export interface SystemdOptions {
  /** Unit files, by path. */
  readonly units?: readonly string[]
  /** Lines added to [Service] of every unit, such as "WatchdogSec=2s". */
  readonly serviceLines?: readonly string[]
  /** A system user and group of this name. */
  readonly user?: string
  /** Executables to put into /usr/local/bin, by path. */
  readonly programs?: readonly string[]
  /** Files of /etc/causeway, owned by root, readable for the group of `user`. */
  readonly config?: Readonly<Record<string, string>>
}

/** Whether this machine has what it takes. */
export function canRunSystemd(): boolean {
  return existsSync(SYSTEMD) && existsSync("/dev/net/tun") && cgroupFolders().length > 0
}

/** Boots one and waits until it takes commands. It ends with the lab at the latest. */
export async function startSystemd(host: Host, options: SystemdOptions = {}): Promise<Systemd> {
  const number = host.processes.length
  const directory = join(host.directory, `systemd-${number}`)
  prepare(directory, options)
  const group = `${basename(host.namespace)}-${number}`
  const child = host.spawn(["sh", "-c", JOIN_GROUP, directory, group, BOOT], { name: "systemd" })
  const systemd = new Systemd(host, { child, group })
  try {
    await eventually(async () => (await systemd.systemctl("list-units")).exitCode === 0, {
      what: "systemd to take commands",
      timeoutMs: 30_000,
    })
  } catch (error) {
    await systemd.stop()
    throw new Error(`${(error as Error).message}\n${child.tail()}`)
  }
  return systemd
}

export class Systemd implements AsyncDisposable {
  readonly #host: Host
  readonly #child: ManagedProcess
  readonly #group: string

  constructor(host: Host, of: { readonly child: ManagedProcess; readonly group: string }) {
    this.#host = host
    this.#child = of.child
    this.#group = of.group
  }

  systemctl(...words: readonly string[]): Promise<CommandResult> {
    return this.run(["systemctl", ...words])
  }

  /** Runs a command as root among its processes and files, outside any unit. */
  run(argv: readonly string[]): Promise<CommandResult> {
    return this.#host.run(["nsenter", "--target", String(this.#initPid()), "--all", ...argv])
  }

  /** A property of a unit, as `systemctl show` has it. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.systemctl("show", "--value", "--property", name, unit)).stdout.trim()
  }

  /** The main process of a unit, by its number outside. */
  async mainPid(unit: string): Promise<number> {
    const inside = await this.property(unit, "MainPID")
    const found = readdirSync("/proc").find((name) => {
      const numbers = /^NSpid:\s+\d+\s+(\d+)$/m.exec(readOptional(`/proc/${name}/status`))
      return numbers?.[1] === inside && this.#isOurs(name)
    })
    if (found === undefined) throw new Error(`${unit} has no process (MainPID ${inside})`)
    return Number(found)
  }

  /** What the services of all units wrote. */
  async log(): Promise<string> {
    return (await this.run(["cat", SERVICE_LOG])).stdout
  }

  /** Ends it and everything it started, at once. */
  async stop(): Promise<void> {
    await this.#child.stop({ signal: "SIGKILL" })
    await eventually(() => removeGroups(this.#group), { what: "control groups to empty" })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #initPid(): number {
    const { pid } = this.#child
    const [init] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")
    if (init === undefined || init === "") throw new Error(`systemd ended\n${this.#child.tail()}`)
    return Number(init)
  }

  #isOurs(pid: string): boolean {
    return readOptional(`/proc/${pid}/cgroup`).includes(`/${this.#group}/`)
  }
}

function prepare(directory: string, options: SystemdOptions): void {
  const { units = [], serviceLines = [], user, programs = [], config } = options
  for (const folder of ["units/service.d", "programs"]) {
    mkdirSync(join(directory, folder), { recursive: true })
  }
  for (const unit of units) copyFileSync(unit, join(directory, "units", basename(unit)))
  // systemd.unit(5): a drop-in of the type's own name is for all units of the type.
  const output = [`StandardOutput=append:${SERVICE_LOG}`, `StandardError=append:${SERVICE_LOG}`]
  const lines = ["[Service]", ...output, ...serviceLines, ""]
  writeFileSync(join(directory, "units/service.d/lab.conf"), lines.join("\n"))
  for (const target of ["lab", "sysinit", "basic", "network", "multi-user", "shutdown"]) {
    const text = "[Unit]\nDescription=Stand-in of the lab\nDefaultDependencies=no\n"
    writeFileSync(join(directory, "units", `${target}.target`), text)
  }
  for (const program of programs) {
    copyFileSync(program, join(directory, "programs", basename(program)))
  }
  if (config !== undefined) mkdirSync(join(directory, "config"))
  for (const [name, text] of Object.entries(config ?? {})) {
    const path = join(directory, "config", name)
    writeFileSync(path, text)
    chmodSync(path, 0o640)
    chownSync(path, 0, USER_ID)
  }
  const ids = `${USER_ID}:${USER_ID}`
  const accounts = user === undefined ? "" : `${user}:x:${ids}::/var/lib/${user}:/bin/false\n`
  writeFileSync(join(directory, "passwd"), accounts)
  writeFileSync(join(directory, "group"), user === undefined ? "" : `${user}:x:${USER_ID}:\n`)
}

/** Where this machine's control groups can be seen, of the hierarchies that systemd uses. */
function cgroupFolders(): string[] {
  return ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].filter((folder) =>
    existsSync(join(folder, "cgroup.procs")),
  )
}

/** False while a process of it is still there. */
function removeGroups(group: string): boolean {
  try {
    for (const folder of cgroupFolders()) removeTree(join(folder, group))
    return true
  } catch {
    return false
  }
}

function removeTree(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name))
  }
  rmdirSync(folder)
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

const SYSTEMD = "/lib/systemd/systemd"
const SERVICE_LOG = "/run/services.log"
/** Above the users of people, below those of containers. */
const USER_ID = 64_777

/**
 * Inside the host's network: gives systemd control groups of its own (`$1`), then namespaces. The
 * machine is one with control groups of version 2, or with those of version 1 that systemd names.
 */
const JOIN_GROUP = `
set -eu
dir=$0 group=$1 boot=$2
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/v1 /mnt/v2
mount -t cgroup2 cgroup2 /mnt/v2
mkdir /mnt/v2/$group
echo $$ > /mnt/v2/$group/cgroup.procs
if grep -q name=systemd /proc/self/cgroup; then
  mount -t cgroup -o none,name=systemd cgroup /mnt/v1
  mkdir /mnt/v1/$group
  echo $$ > /mnt/v1/$group/cgroup.procs
  umount /mnt/v1
fi
umount /mnt/v2 /mnt
exec unshare --cgroup --mount --pid --uts --ipc --fork --kill-child sh -c "$boot" "$dir"
`

/** As the first process of its namespaces: lays out the files (of `$0`), and becomes systemd. */
const BOOT = `
set -eu
dir=$0
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
if grep -q name=systemd /proc/self/cgroup; then
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
else
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mkdir $dir/dev
mount -t tmpfs -o mode=755 tmpfs $dir/dev
mkdir $dir/dev/net $dir/dev/shm $dir/dev/pts
for name in null zero full random urandom tty net/tun; do
  touch $dir/dev/$name
  mount --bind /dev/$name $dir/dev/$name
done
ln -s /proc/self/fd $dir/dev/fd
mount --rbind $dir/dev /dev
for folder in /run /usr/local/bin /var/lib /var/log; do
  mount -t tmpfs -o mode=755 tmpfs $folder
done
cp -a $dir/programs/. /usr/local/bin
cp -a /etc $dir/etc
cat $dir/passwd >> $dir/etc/passwd
cat $dir/group >> $dir/etc/group
rm -rf $dir/etc/causeway $dir/etc/systemd/system
mkdir $dir/etc/systemd/system
if [ -d $dir/config ]; then cp -a $dir/config $dir/etc/causeway; fi
mount --bind $dir/etc /etc
exec env -i PATH="$PATH" container=lab SYSTEMD_UNIT_PATH=$dir/units:/etc/systemd/system \
  SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none \
  ${SYSTEMD} --system --unit=lab.target --log-target=console --show-status=no
`
