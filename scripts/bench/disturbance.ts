/**
 * Were we alone? A benchmark on a machine that does something else as well measures the caches and
 * queues of that something. Each sample is therefore taken together with the CPU time that programs
 * other than ours used meanwhile, and taken again in a quiet moment when that was too much, as long
 * as patience lasts.
 */
import { readFileSync } from "node:fs"
import { cpuNsBetween, readCpu } from "./accounting.ts"
import { median } from "./statistics.ts"

export class Disturbance {
  /** Our long-running processes: proxies and origin. Loads are children and counted as such. */
  readonly #ours: () => readonly number[]
  readonly #shares: number[] = []
  #repeats = 0
  #patienceMs: number

  constructor(ours: () => readonly number[], patienceMs: number) {
    this.#ours = ours
    this.#patienceMs = patienceMs
  }

  /** Takes a sample, again if others disturbed it. */
  async undisturbed<T>(take: () => Promise<T>): Promise<T> {
    for (;;) {
      const startedAt = performance.now()
      const { result, share } = await this.#watch(take)
      if (share <= SHARE_MAX || this.#patienceMs <= 0) {
        this.#shares.push(share)
        return result
      }
      this.#repeats += 1
      this.#patienceMs -= performance.now() - startedAt
      await this.#quiet()
    }
  }

  /** One line on how quiet the machine was. */
  describe(): string {
    const percent = (100 * median(this.#shares)).toFixed(0)
    const disturbed = this.#shares.filter((share) => share > SHARE_MAX).length
    const counts = `${this.#repeats} samples repeated, ${disturbed} of ${this.#shares.length}`
    return `other programs used ${percent} % of a core (median); ${counts} disturbed all the same`
  }

  /** Waits for a quiet moment, as long as patience lasts. */
  async #quiet(): Promise<void> {
    for (let share = 1; share > SHARE_MAX && this.#patienceMs > 0; this.#patienceMs -= GLANCE_MS) {
      share = (await this.#watch(() => Bun.sleep(GLANCE_MS))).share
    }
  }

  /** `share`: cores that others kept busy meanwhile. */
  async #watch<T>(take: () => Promise<T>): Promise<{ result: T; share: number }> {
    const pids = this.#ours()
    const cpu = readCpu(pids)
    const [machineNs, startedAt] = [machineBusyNs() - familyNs(), performance.now()]
    const result = await take()
    const oursNs = cpuNsBetween(cpu, readCpu(pids))
    const othersNs = machineBusyNs() - familyNs() - machineNs - oursNs
    return { result, share: Math.max(0, othersNs) / 1e6 / (performance.now() - startedAt) }
  }
}

/** All cores, anything but idle and waiting for disks (proc_stat(5): 3 and 4 of the numbers). */
function machineBusyNs(): number {
  const line = readFileSync("/proc/stat", "utf8").split("\n")[0] ?? ""
  const [user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).slice(1).map(Number)
  return sumTicks([user, nice, system, irq, softirq, steal])
}

/** This program and its children that have ended (proc_pid_stat(5): utime to cstime, 14–17). */
function familyNs(): number {
  const stat = readFileSync("/proc/self/stat", "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return sumTicks(fields.slice(11, 15).map(Number))
}

function sumTicks(ticks: readonly (number | undefined)[]): number {
  return ticks.reduce<number>((sum, each) => sum + (each ?? 0), 0) * TICK_NS
}

/** USER_HZ is 100 on every machine we build for. */
const TICK_NS = 1e7
/** Of one core. */
const SHARE_MAX = 0.15
const GLANCE_MS = 500
