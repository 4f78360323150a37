/**
 * A Deployment that is rolled on the Kubernetes stage: at every beat a new pod appears, the one
 * before it becomes ready, the oldest is told to end, and the one told before leaves the slices and
 * is killed the moment it has left. That is what the controllers and the kubelet of a real cluster
 * write, one step a beat and all steps at once.
 */
import type { SliceWriter } from "../lab/api-server/slice-writer.ts"
import { epochMs } from "../lab/wait.ts"
import { type KubernetesStage, killPod, type Pod, startPod } from "./kubernetes-stage.ts"

export interface DeploymentOptions {
  readonly name: string
  readonly replicas: number
  /** Last byte of the first pod's address; the next ones count on. */
  readonly firstAddress: number
  /**
   * When a pod ends: once it has left the slices ("after", a preStop hook that waits), or as soon
   * as it is told to ("at once": nginx's image ends by SIGQUIT, which lets requests finish and
   * takes no new ones), while the slices still name it.
   */
  readonly ends?: "after" | "at once"
}

export class Deployment {
  readonly #stage: KubernetesStage
  readonly #slices: readonly SliceWriter[]
  readonly #options: DeploymentOptions
  #pods: Pod[] = []
  #started = 0
  replaced = 0

  private constructor(
    stage: KubernetesStage,
    slices: readonly SliceWriter[],
    options: DeploymentOptions,
  ) {
    this.#stage = stage
    this.#slices = slices
    this.#options = options
  }

  /** With all its pods ready. Several writers: one Deployment behind several Services. */
  static async start(
    stage: KubernetesStage,
    slices: readonly SliceWriter[],
    options: DeploymentOptions,
  ): Promise<Deployment> {
    const deployment = new Deployment(stage, slices, options)
    for (let count = 0; count < options.replicas; count++) {
      deployment.#pods.push(await deployment.#newPod())
    }
    await deployment.#write()
    return deployment
  }

  get pods(): readonly Pod[] {
    return this.#pods
  }

  /** Replaces `count` pods, one step of each every `beatMs`. */
  async roll(count: number, beatMs = 200): Promise<void> {
    const goal = this.replaced + count
    let next: Promise<Pod> | undefined = this.#newPod()
    let toStart = count
    while (this.replaced < goal) {
      const beatAt = epochMs()
      const fresh = toStart > 0 ? await next : undefined
      toStart -= fresh === undefined ? 0 : 1
      await this.#beat(fresh)
      next = toStart > 0 ? this.#newPod() : undefined
      await Bun.sleep(Math.max(0, beatAt + beatMs - epochMs()))
    }
  }

  async #beat(fresh: Pod | undefined): Promise<void> {
    const gone = this.#pods.filter(({ state }) => state === "terminating")
    const ready = this.#pods.filter(({ state }) => state === "ready")
    const starting = this.#pods.filter(({ state }) => state === "starting")
    const isEnough = ready.length + starting.length > this.#options.replicas
    const told = isEnough ? ready[0] : undefined
    this.#pods = [
      ...ready.filter((pod) => pod !== told),
      ...starting.map((pod): Pod => ({ ...pod, state: "ready" })),
      ...(fresh === undefined ? [] : [{ ...fresh, state: "starting" } as const]),
      ...(told === undefined ? [] : [{ ...told, state: "terminating" } as const]),
    ]
    await this.#write()
    if (this.#options.ends === "at once") told?.process.signal("SIGQUIT")
    await Promise.all(gone.map((pod) => killPod(this.#stage, pod)))
    this.replaced += gone.length
  }

  async #write(): Promise<void> {
    for (const slices of this.#slices) await slices.write(this.#pods)
  }

  #newPod(): Promise<Pod> {
    const { name, firstAddress } = this.#options
    const number = this.#started++
    const place = { node: 1 + (number % 2), last: firstAddress + (number >> 1) }
    return startPod(this.#stage, `${name}-${number}`, place)
  }
}
