/**
 * `causeway run`: the process around the daemon: what it asks of the kernel, what signals and the
 * service manager say to it.
 */
import { availableParallelism } from "node:os"
import type { Config } from "../config/config.ts"
import { formatDiagnostics } from "../config/diagnostic.ts"
import { loadConfig } from "../config/load.ts"
import { Daemon, startFailure } from "../daemon/daemon.ts"
import { monotonicNow } from "../linux/clock.ts"
import { errnoName } from "../linux/errno.ts"
import { lockMemory } from "../linux/memory-lock.ts"
import { raiseOpenFilesLimit } from "../linux/process.ts"
import { readSysctl, writeSysctl } from "../linux/sysctl.ts"
import { sdNotify, watchdogIntervalMs } from "../linux/unix-datagram.ts"
import { Logger } from "../log/logger.ts"
import { takeOverHangUp } from "./early-signals.ts"
import { printError, printLine } from "./output.ts"
import { version } from "./version-text.ts"

/** Descriptors kept for everything that is not a session: listeners come on top. */
const RESERVED_FDS = 120
/** For each data thread: 48 pipes at the most, its epoll sets and doorbells. */
const RESERVED_FDS_PER_THREAD = 100
/** Each session has a client's and a server's socket. */
const FDS_PER_SESSION = 2
const TCP_TW_REUSE = "net/ipv4/tcp_tw_reuse"
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]

/** Resolves with the exit code. */
export async function run(options: { readonly configPath: string }): Promise<number> {
  // A proxy meant for the operator's shell would be asked to carry health checks.
  for (const name of PROXY_VARIABLES) {
    delete process.env[name]
    delete process.env[name.toLowerCase()]
  }
  const loaded = loadConfig(options.configPath)
  if (!loaded.ok) {
    printError(formatDiagnostics(loaded.diagnostics))
    return 1
  }
  const log = createLogger(loaded.config)
  for (const warning of loaded.warnings) log.warn("config", warning.message, { file: warning.file })
  const filesMax = raiseOpenFilesLimit()
  prepareHost(log, loaded.config)
  const hopeless = Promise.withResolvers<number>()
  const threads = loaded.config.node.threads || availableParallelism()
  const daemon = new Daemon(loaded, {
    configPath: options.configPath,
    version,
    log,
    threads,
    sessionsMax: sessionsMax(filesMax, threads),
    faultInjection: process.env["CAUSEWAY_FAULT_INJECTION"] === "1",
    onHopeless: (reason) => {
      log.error("daemon", "Giving up", { reason })
      hopeless.resolve(1)
    },
  })
  try {
    await daemon.start()
  } catch (error) {
    printError(`causeway: ${startFailure(error)}`)
    return 1
  }
  const watchdog = keepManagerInformed(daemon, log)
  log.info("daemon", "Ready", { version, threads, files_max: filesMax })
  const code = await Promise.race([untilStopped(daemon, log), hopeless.promise])
  clearInterval(watchdog)
  return code
}

function createLogger(config: Config): Logger {
  return new Logger({
    settings: config.log,
    write: printLine,
    now: () => new Date(),
    isJournal: process.env["JOURNAL_STREAM"] !== undefined,
  })
}

/** What listening sockets take is taken off as they are opened (`SessionBudget`). */
function sessionsMax(filesMax: number, threads: number): number {
  const reserved = RESERVED_FDS + RESERVED_FDS_PER_THREAD * threads
  return Math.max(1, Math.floor((filesMax - reserved) / FDS_PER_SESSION))
}

/** What helps but must not stop the start. */
function prepareHost(log: Logger, config: Config): void {
  const locked = lockMemory()
  if (!locked.ok && config.vrrp.length > 0) {
    log.warn("daemon", "Memory is not locked: set LimitMEMLOCK=infinity", {
      cause: errnoName(locked.errno),
    })
  }
  try {
    // Without it 28 000 ports per server address are used up by 470 connections a second.
    if (readSysctl(TCP_TW_REUSE) !== "1") writeSysctl(TCP_TW_REUSE, "1")
  } catch (error) {
    log.warn("daemon", "Ports to servers may run out: set net.ipv4.tcp_tw_reuse=1", {
      cause: String(error),
    })
  }
}

function keepManagerInformed(
  daemon: Daemon,
  log: Logger,
): ReturnType<typeof setInterval> | undefined {
  tellManager("READY=1", log)
  const intervalMs = watchdogIntervalMs()
  if (intervalMs === undefined) return undefined
  return setInterval(() => {
    if (daemon.isBeating) tellManager("WATCHDOG=1", log)
  }, intervalMs)
}

/** A manager that is gone, or too busy to listen (EAGAIN), is no reason to fall over. */
function tellManager(text: string, log: Logger): void {
  try {
    sdNotify(text)
  } catch (error) {
    log.warn("daemon", "The service manager was not told", { text, error: String(error) })
  }
}

/** SIGHUP reloads, SIGTERM and SIGINT stop, a second one stops at once. */
function untilStopped(daemon: Daemon, log: Logger): Promise<number> {
  const done = Promise.withResolvers<number>()
  const cutShort = Promise.withResolvers<void>()
  let isStopping = false
  takeOverHangUp(() => {
    if (!isStopping) void reload(daemon, log)
  })
  const stop = (signal: string) => {
    if (isStopping) return cutShort.resolve()
    isStopping = true
    log.info("daemon", "Stopping", { signal })
    tellManager("STOPPING=1", log)
    void daemon.stop(cutShort.promise).then(
      () => done.resolve(0),
      (error) => {
        log.error("daemon", "Stopping failed", { error: String(error) })
        done.resolve(1)
      },
    )
  }
  process.on("SIGTERM", () => stop("SIGTERM"))
  process.on("SIGINT", () => stop("SIGINT"))
  process.on("unhandledRejection", (error) => {
    log.error("daemon", "Unhandled rejection", { error: String(error) })
  })
  return done.promise
}

async function reload(daemon: Daemon, log: Logger): Promise<void> {
  // sd_notify(3): with Type=notify-reload the manager waits for READY=1 after RELOADING=1.
  tellManager(`RELOADING=1\nMONOTONIC_USEC=${Math.floor(monotonicNow() * 1000)}`, log)
  await daemon.reload()
  tellManager("READY=1", log)
}
