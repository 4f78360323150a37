/**
 * keepalived as the other router: each backs the other up, in version 2 with PASS and version 3.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import type { Capture } from "../lab/capture.ts"
import type { Host } from "../lab/host.ts"
import { type Keepalived, keepalivedConfig, startKeepalived } from "../lab/keepalived.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { type RouterProcess, routerConfig, startRouter } from "../lab/virtual-router.ts"
import { epochMs, eventually } from "../lab/wait.ts"

const VIP = "192.0.2.40"

const VERSIONS = [
  { name: "version 2 with PASS", version: 2, intervalMs: 1000, password: "42" },
  { name: "version 3, 100 ms", version: 3, intervalMs: 100, password: undefined },
] as const

for (const { name, version, intervalMs, password } of VERSIONS) {
  describe(name, () => {
    let lab: Lab
    let lan: Lan
    let ours: Host
    let theirs: Host

    beforeEach(async () => {
      lab = await createLab("keepalived")
      lan = await lab.lan("lan")
      ours = await lab.host("ours")
      theirs = await lab.host("theirs")
      await lan.join(ours, { addresses: ["192.0.2.1/24"] })
      await lan.join(theirs, { addresses: ["192.0.2.2/24"] })
    })

    afterEach(() => lab.close())

    const startOurs = (priority: number): Promise<RouterProcess> =>
      startRouter(ours, [
        routerConfig({
          version,
          priority,
          advertisementIntervalMs: intervalMs,
          authentication: password === undefined ? undefined : { type: "pass", password },
        }),
      ])

    const startTheirs = (priority: number): Promise<Keepalived> =>
      startKeepalived(
        theirs,
        keepalivedConfig({
          interface: "eth0",
          virtualRouterId: 51,
          version,
          priority,
          advertInterval: intervalMs / 1000,
          addresses: [`${VIP}/32`],
          ...(password === undefined ? {} : { password }),
        }),
      )

    const theyAre = (keepalived: Keepalived, state: "MASTER" | "BACKUP") =>
      eventually(() => keepalived.state === state, { what: `keepalived to be ${state}` })

    const downMs = (priority: number) =>
      3 * intervalMs + ((256 - priority) * (version === 3 ? intervalMs : 1000)) / 256

    test("keepalived backs us up: after a crash, after a stop; we preempt it again", async () => {
      const capture = await lan.capture({ filter: "ip proto 112" })
      const first = await startOurs(150)
      await first.reaches("active")
      const keepalived = await startTheirs(100)
      await theyAre(keepalived, "BACKUP")
      await Bun.sleep(2 * intervalMs)
      const watch = await theirs.watchAddresses()
      const killedAt = epochMs()
      await first.process.stop({ signal: "SIGKILL" })
      await theyAre(keepalived, "MASTER")
      const added = watch.events(VIP).find((event) => event.type === "added")
      expect((added?.atMs ?? 0) - killedAt).toBeLessThan(downMs(100) + 100)
      const second = await startOurs(150)
      await second.reaches("active")
      await theyAre(keepalived, "BACKUP")
      await second.process.stop()
      await theyAre(keepalived, "MASTER")
      expect(keepalived.process.output).not.toMatch(/[Ii]nvalid|mismatch|wrong|expected/)
      await expectOneSpeaker(capture, intervalMs)
    }, 40_000)

    test("we back keepalived up: after a stop, after a crash; it preempts us again", async () => {
      const capture = await lan.capture({ filter: "ip proto 112" })
      const first = await startTheirs(150)
      await theyAre(first, "MASTER")
      const router = await startOurs(100)
      await router.shows(({ peers }) => peers.length === 1, "keepalived to be heard")
      expect(router.latest().state).toBe("backup")
      expect(router.latest().peers[0]?.priority).toBe(150)
      const stoppedAt = epochMs()
      await first.stop()
      await router.reaches("active")
      const active = router.snapshots().find(({ state }) => state === "active")
      const skewMs = downMs(100) - 3 * intervalMs
      expect((active?.atMs ?? 0) - stoppedAt).toBeLessThan(skewMs + 1000)
      const second = await startTheirs(150)
      await theyAre(second, "MASTER")
      await router.reaches("backup")
      const killedAt = epochMs()
      await theirs.linkDown("eth0")
      await router.reaches("active")
      const again = router.snapshots().findLast(({ transitions }) => transitions > 3)
      expect((again?.atMs ?? 0) - killedAt).toBeLessThan(downMs(100) + 1000)
      // What came before it had started is ignored, and counted as that.
      const { "not-running": _before, ...dropped } = router.latest().dropped
      expect(dropped).toEqual({})
      await expectOneSpeaker(capture, intervalMs)
    }, 40_000)
  })
}

/**
 * When the speaker changes, the one before must not go on for longer than an interval. It goes on
 * when it advertises again without having said priority 0 or having been silent for two intervals.
 */
async function expectOneSpeaker(capture: Capture, intervalMs: number): Promise<void> {
  await capture.stop()
  const rows = await capture.fields(["frame.time_epoch", "ip.src", "vrrp.prio"])
  const adverts = rows.map(([at, source, priority]) => ({
    atMs: Number(at) * 1000,
    source,
    isFarewell: priority === "0",
  }))
  let changes = 0
  for (const [index, advert] of adverts.entries()) {
    const previous = adverts[index - 1]
    if (previous === undefined || previous.source === advert.source) continue
    changes += 1
    let last = previous
    for (const later of adverts.slice(index)) {
      if (later.source !== previous.source) continue
      if (last.isFarewell || later.atMs - last.atMs > 2 * intervalMs) break
      last = later
    }
    expect(last.atMs - advert.atMs).toBeLessThanOrEqual(intervalMs)
  }
  expect(changes).toBeGreaterThanOrEqual(3)
}
