/** `npm start`: what a newcomer runs first must work, with and without namespaces. */
import { expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { runCommand } from "../lab/process.ts"

const DEMO = `${import.meta.dir}/../../scripts/demo.ts`

function runDemo(...options: readonly string[]) {
  const argv = [process.execPath, DEMO, "--no-build", ...options]
  return runCommand(argv, { timeoutMs: 50_000 })
}

test.concurrent("demo shows a takeover and the return of the first edge", async () => {
  const { exitCode, stdout, stderr } = await runDemo("--kill-after", "1", "--seconds", "18")
  expect(stderr).toBe("")
  expect(stdout).toContain("kill -9 edge-a")
  const takeover = /takeover: edge-b answers ([\d.]+) s after the kill/.exec(stdout)?.[1]
  expect(Number(takeover)).toBeLessThan(5)
  expect(stdout).toMatch(/the address left edge-a after: \d+ ms/)
  expect(stdout).toContain("edge-a is active again")
  expect(stdout).toContain("To try, in another terminal:")
  expect(exitCode).toBe(0)
}, 60_000)

test.concurrent("demo shows balancing on loopback when there are no namespaces", async () => {
  const { exitCode, stdout, stderr } = await runDemo(
    "--kill-after",
    "1",
    "--loopback",
    "--seconds",
    "9",
  )
  expect(stderr).toBe("")
  expect(stdout).toContain("On loopback, one edge, no virtual address")
  expect(stdout).toContain("s1 found down")
  expect(stdout).toContain("s1 is back")
  expect(exitCode).toBe(0)
}, 60_000)

test("demo leaves nothing behind when it is interrupted", async () => {
  const demo = Bun.spawn([process.execPath, DEMO, "--no-build"], { stdout: "pipe" })
  const namespaces = () =>
    readdirSync("/run/netns").filter((name) => name.startsWith(`cwlab-${demo.pid}-`))
  for await (const _ of demo.stdout) if (namespaces().length > 3) break
  demo.kill("SIGINT")
  expect(await demo.exited).toBe(130)
  expect(namespaces()).toEqual([])
}, 30_000)
