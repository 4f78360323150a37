import { describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { CommandCheckConfig } from "../../config/config.ts"
import type { Address, Endpoint } from "../../net/address.ts"
import { commandEnvironment, probeCommand } from "./command.ts"
import { type ProbeRun, type ProbeTarget, runProbe } from "./probe.ts"

const DATABASE: Endpoint = { address: "192.0.2.11" as Address, port: 3306 }

function target(
  command: readonly string[],
  overrides: Partial<ProbeTarget<CommandCheckConfig>> & { readonly port?: number } = {},
): ProbeTarget<CommandCheckConfig> {
  const { port, ...rest } = overrides
  const timing = { intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1, port }
  return {
    name: "m1",
    check: { type: "command", command, ...timing },
    address: DATABASE,
    env: {},
    ...rest,
  }
}

function shell(
  script: string,
  run: ProbeRun = { signal: new AbortController().signal, phase: "" },
) {
  return runProbe(probeCommand, target(["/bin/sh", "-c", script]), run)
}

describe("environment", () => {
  test("commandEnvironment() tells which server is meant", () => {
    expect(commandEnvironment(target([], { env: { CAUSEWAY_POOL: "mysql" } }))).toEqual({
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LANG: "C.UTF-8",
      CAUSEWAY_SERVER_NAME: "m1",
      CAUSEWAY_SERVER_ADDR: "192.0.2.11",
      CAUSEWAY_SERVER_PORT: "3306",
      CAUSEWAY_POOL: "mysql",
    })
  })

  test("commandEnvironment() gives the check's own port when it has one", () => {
    expect(commandEnvironment(target([], { port: 9200 }))["CAUSEWAY_SERVER_PORT"]).toBe("9200")
  })

  test("commandEnvironment() names no address when there is none", () => {
    expect(Object.keys(commandEnvironment(target([], { address: undefined })))).toEqual([
      "PATH",
      "LANG",
      "CAUSEWAY_SERVER_NAME",
    ])
  })

  test("probeCommand() passes on nothing of our own environment", async () => {
    process.env["BUN_TEST_SECRET"] = "hidden"
    try {
      const { reason } = await shell("env | cut -d= -f1 | sort | tr '\\n' ' '")
      expect(reason).toBe(
        "CAUSEWAY_SERVER_ADDR CAUSEWAY_SERVER_NAME CAUSEWAY_SERVER_PORT LANG PATH PWD",
      )
    } finally {
      delete process.env["BUN_TEST_SECRET"]
    }
  })
})

describe("output", () => {
  const cases: [string, boolean, string][] = [
    ["exit 0", true, "exit code 0"],
    ["echo one; echo two; echo", true, "two"],
    ["echo problem >&2; exit 2", false, "exit code 2: problem"],
    ["echo said; echo problem >&2; exit 1", false, "exit code 1: said"],
    ["kill -TERM $$", false, "ended by SIGTERM"],
    ["printf '\\033[31mred\\n'", true, "[31mred"],
    ["head -c 300 /dev/zero | tr '\\0' a", true, `${"a".repeat(199)}…`],
  ]
  test.each(cases)("probeCommand() judges %s", async (script, ok, reason) => {
    expect(await shell(script)).toMatchObject({ ok, reason, inconclusive: false })
  })

  test("probeCommand() keeps the last line when the output is large", async () => {
    expect(await shell("head -c 3000000 /dev/zero; echo; echo end")).toMatchObject({
      ok: true,
      reason: "end",
    })
  })
})

describe("processes", () => {
  test("probeCommand() kills the whole group when it is aborted", async () => {
    const directory = mkdtempSync(join(tmpdir(), "causeway-command-test-"))
    try {
      const pidFile = join(directory, "pid")
      const abortion = new AbortController()
      const running = shell(
        `sleep 1000 & echo $! > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; wait`,
        {
          signal: abortion.signal,
          phase: "",
        },
      )
      while (!existsSync(pidFile)) await new Promise((resolve) => setImmediate(resolve))
      const pid = Number(readFileSync(pidFile, "utf8"))
      expect(isAlive(pid)).toBe(true)
      abortion.abort()
      expect(await running).toMatchObject({ ok: false, reason: "ended by SIGKILL" })
      while (isAlive(pid)) await new Promise((resolve) => setImmediate(resolve))
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test("probeCommand() leaves nothing behind when the program has ended", async () => {
    const { reason } = await shell("sleep 1000 & echo $!")
    const pid = Number(reason)
    expect(pid).toBeGreaterThan(1)
    while (isAlive(pid)) await new Promise((resolve) => setImmediate(resolve))
  })

  test("probeCommand() ends with the program when another process holds its output", async () => {
    // The inner shell speaks when it has left the group; what it becomes holds standard error.
    const { reason, durationMs } = await shell(
      "pid=$(setsid sh -c 'echo $$; exec sleep 5 >/dev/null' &); echo started $pid",
    )
    expect(reason).toStartWith("started ")
    expect(durationMs).toBeLessThan(4000)
    process.kill(Number(reason.split(" ")[1]), "SIGKILL")
  })
})

/** A zombie whose parent has not looked yet counts as gone. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}
