/** Every command of the program, in the order of the help. */
import { resolve } from "node:path"
import type { Command } from "./command.ts"

export const COMMANDS: readonly Command[] = [
  {
    name: "run",
    words: [],
    options: ["config"],
    summary: "the daemon",
    details: `Signals: SIGHUP reloads the configuration; SIGTERM and SIGINT hand the addresses over,
drain and end; a second one ends at once.`,
    // Absolute, because logs and the status are read elsewhere.
    run: async ({ configPath }) =>
      (await import("./run.ts")).run({ configPath: resolve(configPath) }),
  },
  {
    name: "check",
    words: [],
    options: ["kubernetes", "config", "json"],
    summary: "validate the configuration and print the plan",
    details: `Errors are shown with file:line:column and end with exit code 1. Looks at this host
too: interfaces, addresses and ports that the configuration needs. With --kubernetes it asks the API
server, and prints the access rules that are missing; exit code 1 if any is.`,
    run: async (input) => (await import("./check.ts")).check(input),
  },
  {
    name: "status",
    words: [],
    options: ["json", "watch", "config", "admin"],
    summary: "virtual addresses, pools, servers and listeners of the running edge",
    details: "With --watch the picture is renewed every second, until Ctrl-C.",
    run: async (input) => (await import("./status.ts")).status(input),
  },
  {
    name: "route",
    words: ["HOST", "PATH"],
    options: ["method", "header", "tls", "json", "config"],
    summary: "which HTTP route answers a request, and why",
    details: `Reads the configuration file and needs no running edge. PATH may have a query. Says
for each HTTP listener which routes were passed over and what the server gets to see.`,
    run: async (input) => (await import("./route.ts")).route(input),
  },
  {
    name: "reload",
    words: [],
    options: ["config", "admin"],
    summary: "apply the configuration file; prints what changed, or why nothing did",
    details: "The same as SIGHUP, but waits. A file with an error changes nothing: exit code 1.",
    run: async (input) => (await import("./reload.ts")).reload(input),
  },
  {
    name: "drain",
    words: ["POOL/SERVER"],
    options: ["config", "admin"],
    summary: "no new connections to a server; the open ones go on",
    details: "",
    run: async (input) => (await import("./server-state.ts")).setServerState("drain", input),
  },
  {
    name: "maintain",
    words: ["POOL/SERVER"],
    options: ["config", "admin"],
    summary: "take a server out for maintenance",
    details: "",
    run: async (input) => (await import("./server-state.ts")).setServerState("maintenance", input),
  },
  {
    name: "ready",
    words: ["POOL/SERVER"],
    options: ["config", "admin"],
    summary: "put a server back to work",
    details: "",
    run: async (input) => (await import("./server-state.ts")).setServerState("ready", input),
  },
  {
    name: "release",
    words: ["[VRRP]"],
    options: ["config", "admin"],
    summary: "hand the virtual addresses to the peer now, and stay backup until resume",
    details: "Without a name: those of every virtual router.",
    run: async (input) => (await import("./handover.ts")).handOver("release", input),
  },
  {
    name: "resume",
    words: ["[VRRP]"],
    options: ["config", "admin"],
    summary: "take part again after release",
    details: "Without a name: every virtual router.",
    run: async (input) => (await import("./handover.ts")).handOver("resume", input),
  },
  {
    name: "install",
    words: [],
    options: ["root", "dry-run"],
    summary: "copy this program and its systemd units, settings and example configuration",
    details: `Installs /usr/local/bin/causeway, the units causeway.service and causeway@.service,
kernel settings, a system user, and an example configuration. A configuration that exists is never
touched.`,
    run: async (input) => (await import("./install.ts")).install(input),
  },
  {
    name: "version",
    words: [],
    options: [],
    summary: "version, commit, runtime",
    details: "",
    run: async () => (await import("./version.ts")).printVersion(),
  },
]
