/**
 * What this machine lets the demo do. Root can make namespaces; anybody else can become the root of
 * a user namespace of their own, where the kernel allows that; else only loopback is left.
 */

/** Set for the script that `runInUserNamespace` runs. */
export const USER_NAMESPACE_VARIABLE = "CAUSEWAY_DEMO_USER_NAMESPACE"

export type Rights =
  | { readonly type: "namespaces" }
  | { readonly type: "user-namespace" }
  | { readonly type: "loopback"; readonly missing: string }

export function findRights(): Rights {
  const absent = ["ip", "unshare", "setpriv"].filter((name) => Bun.which(name, PATHS) === null)
  if (absent.length > 0) return { type: "loopback", missing: `no ${absent.join(", ")} here` }
  if (succeeds(["unshare", "--net", "--mount", "true"])) return { type: "namespaces" }
  if (succeeds(["unshare", ...OWN_NAMESPACES, "true"])) return { type: "user-namespace" }
  const settings = "kernel.unprivileged_userns_clone, user.max_user_namespaces"
  return { type: "loopback", missing: `neither root nor user namespaces (sysctl ${settings})` }
}

/** Runs this script again as the root of a user namespace; returns its exit code. */
export async function runInUserNamespace(words: readonly string[]): Promise<number> {
  // `ip netns` keeps its names under /run, which here is ours alone.
  const ownRun = 'mount -t tmpfs tmpfs /run && exec "$@"'
  const script = process.argv[1] ?? ""
  const child = Bun.spawn(
    ["unshare", ...OWN_NAMESPACES, "sh", "-c", ownRun, "sh", process.execPath, script, ...words],
    {
      stdio: ["inherit", "inherit", "inherit"],
      env: { ...process.env, [USER_NAMESPACE_VARIABLE]: "1", PATH: PATHS.PATH },
    },
  )
  // Ctrl-C reaches it by itself; here it must only not end us first.
  process.on("SIGINT", () => {})
  process.on("SIGTERM", () => child.kill("SIGTERM"))
  return child.exited
}

function succeeds(argv: readonly string[]): boolean {
  return Bun.spawnSync([...argv]).exitCode === 0
}

const OWN_NAMESPACES = ["--user", "--map-root-user", "--net", "--mount"]
const { PATH = "" } = process.env
const PATHS = { PATH: `${PATH}:/usr/sbin:/sbin` }
