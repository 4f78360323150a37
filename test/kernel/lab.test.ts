/** The lab itself: hosts reach each other, disturbances disturb, nothing is left behind. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab, sweepStaleLabs } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"

describe("two hosts on a LAN", () => {
  let lab: Lab
  let lan: Lan
  let a: Host
  let b: Host

  beforeAll(async () => {
    lab = await createLab("basics")
    lan = await lab.lan("lan")
    a = await lab.host("a")
    b = await lab.host("b")
    await lan.join(a, { addresses: ["10.0.0.1/24", "fd00::1/64"], mac: "02:00:00:00:00:01" })
    await lan.join(b, { addresses: ["10.0.0.2/24", "fd00::2/64"] })
  })

  afterAll(() => lab.close())

  const reaches = async (target: string) => {
    const { exitCode } = await a.run(["ping", "-c", "1", "-W", "1", target])
    return exitCode === 0
  }

  test("join() connects hosts over IPv4 and IPv6 when both are plugged in", async () => {
    expect(await reaches("10.0.0.2")).toBe(true)
    expect(await reaches("fd00::2")).toBe(true)
    expect(await a.mac("eth0")).toBe("02:00:00:00:00:01")
    expect(await a.holds("10.0.0.1")).toBe(true)
    expect(await a.holds("10.0.0.2")).toBe(false)
  })

  test("partition() stops frames both ways until it is healed", async () => {
    const disturbance = await lan.partition(a, b)
    expect(await reaches("10.0.0.2")).toBe(false)
    await disturbance.heal()
    expect(await reaches("10.0.0.2")).toBe(true)
  })

  test("drop() takes only frames that match", async () => {
    await lan.drop({ from: a, match: "ip protocol icmp" })
    expect(await reaches("10.0.0.2")).toBe(false)
    expect(await reaches("fd00::2")).toBe(true)
    await lan.heal()
  })

  test("lose() takes about the given share of frames", async () => {
    const disturbance = await lan.lose(50, { from: a, match: "ip protocol icmp" })
    const { stdout } = await a.run([
      "ping",
      "-q",
      "-i",
      "0.002",
      "-c",
      "200",
      "-W",
      "1",
      "10.0.0.2",
    ])
    await disturbance.heal()
    const lossPercent = Number(/(\d+)(?:\.\d+)?% packet loss/.exec(stdout)?.[1])
    expect(lossPercent).toBeGreaterThan(25)
    expect(lossPercent).toBeLessThan(75)
  })

  test("unplug() takes the carrier away from the host", async () => {
    await lan.unplug(b)
    expect(await b.ip("link show eth0")).toContain("NO-CARRIER")
    await lan.plug(b)
    expect(await b.ip("link show eth0")).not.toContain("NO-CARRIER")
  })

  test("capture() shows what passed the bridge", async () => {
    const capture = await lan.capture({ filter: "icmp" })
    await reaches("10.0.0.2")
    await capture.stop()
    expect(await capture.fields(["ip.src", "ip.dst", "icmp.type"])).toEqual([
      ["10.0.0.1", "10.0.0.2", "8"],
      ["10.0.0.2", "10.0.0.1", "0"],
    ])
  })

  test("watchAddresses() tells when an address came and went", async () => {
    const watch = await b.watchAddresses()
    await b.ip("address add 10.0.0.40/32 dev eth0")
    await b.ip("address del 10.0.0.40/32 dev eth0")
    await Bun.sleep(50)
    const events = watch.events("10.0.0.40")
    expect(events.map(({ type }) => type)).toEqual(["added", "removed"])
    expect(events[0]?.interface).toBe("eth0")
    expect(Math.abs((events[0]?.atMs ?? 0) - Date.now())).toBeLessThan(2_000)
    await watch.stop()
  })

  test("spawn() collects output and waitFor() finds it", async () => {
    const child = a.spawn(["sh", "-c", "echo started; sleep 60"])
    expect(await child.waitFor(/st(a)rted/)).toBe("started")
    await child.stop()
    expect(child.running).toBe(false)
  })

  test("waitFor() shows the output when the process ends first", async () => {
    const child = a.spawn(["sh", "-c", "echo some trouble; exit 3"])
    expect(child.waitFor("never")).rejects.toThrow("some trouble")
    expect(await child.ended()).toBe(3)
  })
})

test("close() removes namespaces, processes and files", async () => {
  const lab = await createLab("gone")
  const host = await lab.host("h")
  const child = host.spawn(["sleep", "600"])
  expect(existsSync(`/run/netns/${host.namespace}`)).toBe(true)
  await lab.close()
  expect(child.running).toBe(false)
  expect(existsSync(`/run/netns/${host.namespace}`)).toBe(false)
  expect(existsSync(lab.directory)).toBe(false)
})

const LAB_MODULE = `${import.meta.dir}/../lab/lab.ts`

/** Runs a program that makes a lab, and returns the lab's prefix and what became of it. */
async function runOwner(ending: string): Promise<string> {
  const script = `
    import { createLab } from ${JSON.stringify(LAB_MODULE)}
    const lab = await createLab("owner")
    const host = await lab.host("h")
    host.spawn(["sleep", "600"])
    process.stdout.write(host.namespace + "\\n")
    ${ending}`
  const owner = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "ignore" })
  const stdout = await new Response(owner.stdout).text()
  await owner.exited
  return stdout.trim()
}

test.each([
  ["ends", "process.exit(0)"],
  ["runs to its end", "lab.host('x').then(() => process.exit(0))"],
  ["throws", "setTimeout(() => { throw new Error('x') }, 1)"],
  ["rejects", "await Promise.reject(new Error('x'))"],
  ["gets SIGTERM", "process.kill(process.pid, 'SIGTERM'); await Bun.sleep(1000)"],
  ["gets SIGINT", "process.kill(process.pid, 'SIGINT'); await Bun.sleep(1000)"],
])("a lab is cleaned up when its owner %s", async (_, ending) => {
  const namespace = await runOwner(ending)
  expect(namespace).toStartWith("cwlab-")
  expect(existsSync(`/run/netns/${namespace}`)).toBe(false)
})

test("sweepStaleLabs() removes what a killed owner left, and nothing else", async () => {
  const lab = await createLab("alive")
  const alive = await lab.host("h")
  const namespace = await runOwner("process.kill(process.pid, 'SIGKILL'); await Bun.sleep(1000)")
  const swept = sweepStaleLabs()
  expect(swept).not.toContain(alive.namespace)
  expect(existsSync(`/run/netns/${namespace}`)).toBe(false)
  expect(existsSync(`/run/netns/${alive.namespace}`)).toBe(true)
  await lab.close()
})
