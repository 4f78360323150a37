/**
 * Runs a reflector for each resource that is wanted, on the control thread, and tells of every
 * change as soon as it is in the mirror. What is wanted may change while it runs; resources that
 * stay wanted are not asked for again.
 */
import type { Logger } from "../../log/logger.ts"
import type { Mirror, MirrorChange, MirrorSnapshot } from "../mirror.ts"
import { keyOf, type ObjectKey } from "../objects.ts"
import { fairShare, namedSecret, type Source } from "../resources.ts"
import type { ApiClient } from "./api-client.ts"
import { type RunnerContext, SourceRunner, type SourceStatus } from "./source-runner.ts"

export interface ReflectorsSettings {
  readonly client: ApiClient
  readonly sources: readonly Source[]
  /** `KubernetesConfig.watchSilenceMs`. */
  readonly silenceMs: number
}

export interface ReflectorsOptions extends ReflectorsSettings {
  readonly mirror: Mirror
  readonly log: Logger
  /** In the turn in which the bytes came; one call per chunk that changed something. */
  readonly onChange: (changes: readonly MirrorChange[]) => void
  /** Whenever all that is wanted has become known (again, after more was wanted). */
  readonly onSynced?: () => void
  /** So many characters of JSON have been read: garbage now. */
  readonly onRead?: (characters: number) => void
  readonly random?: () => number
}

export class Reflectors {
  readonly #options: ReflectorsOptions
  readonly #runners = new Map<string, SourceRunner>()
  #settings: ReflectorsSettings
  #secrets: readonly Source[] = []
  /** Named Secrets of an earlier run, until it is said which are still wanted. */
  readonly #restoredSecrets = new Set<string>()
  #isRunning = false
  #wasSynced = false

  constructor(options: ReflectorsOptions) {
    this.#options = options
    this.#settings = options
  }

  /**
   * Fills the mirror with what an earlier run knew, before `start`. Sources that are no longer
   * wanted are left out. Tells no changes: the caller computes everything from the view once.
   */
  restore(snapshot: MirrorSnapshot): void {
    const wanted = new Map(this.#settings.sources.map((source) => [source.id, source]))
    for (const { id, kind, objects } of snapshot.sources) {
      // Named Secrets are asked for only when an Ingress is seen that names them, but then at once.
      if (wanted.get(id)?.kind !== kind && kind !== "secrets") continue
      if (!wanted.has(id)) this.#restoredSecrets.add(id)
      const entries = objects.map((object) => [keyOf(object.meta), object] as const)
      this.#options.mirror.replace({ id, kind }, new Map(entries))
    }
  }

  start(): void {
    this.#isRunning = true
    this.#align()
  }

  /** Takes over other sources, or another server; the mirror stays until it is known better. */
  reconfigure(settings: ReflectorsSettings): void {
    const isOther =
      settings.client !== this.#settings.client || settings.silenceMs !== this.#settings.silenceMs
    this.#settings = settings
    if (isOther) this.#stopAll()
    this.#align()
  }

  /**
   * Secrets to be mirrored although the watch of all TLS Secrets does not bring them: those of
   * other types, and all where that watch is forbidden. The whole set each time; beyond a bound,
   * which namespaces share fairly, the rest is left out and returned.
   */
  wantSecrets(keys: Iterable<ObjectKey>): readonly ObjectKey[] {
    const wanted = [...new Set(keys)].filter((key) => /^[^/]+\/[^/]+$/.test(key)).sort()
    const chosen = fairShare(wanted, NAMED_SECRETS_MAX)
    this.#secrets = [...chosen].map(namedSecret)
    this.#dropRestoredSecrets()
    this.#align()
    return wanted.filter((key) => !chosen.has(key))
  }

  /** Ends all requests. The mirror stays as it is. */
  stop(): void {
    this.#isRunning = false
    this.#stopAll()
  }

  /** All that is wanted, and may be read, has been known since the start. */
  isSynced(): boolean {
    return this.#runners.size > 0 && [...this.#runners.values()].every(({ isSettled }) => isSettled)
  }

  status(): SourceStatus[] {
    return [...this.#runners.values()].map((runner) => runner.status())
  }

  /** Starts what is wanted and does not run; stops what is not wanted. */
  #align(): void {
    if (!this.#isRunning) return
    const wanted = [...this.#settings.sources, ...this.#secrets]
    const ids = new Set(wanted.map(({ id }) => id))
    for (const [id, runner] of this.#runners) {
      if (ids.has(id)) continue
      runner.stop()
      this.#runners.delete(id)
      this.#tell(this.#options.mirror.remove(id))
    }
    const fresh = wanted.filter(({ id }) => !this.#runners.has(id))
    for (const source of fresh) this.#runners.set(source.id, this.#runner(source))
    for (const { id } of fresh) this.#runners.get(id)?.start()
    this.#progress()
  }

  #dropRestoredSecrets(): void {
    const ids = new Set(this.#secrets.map(({ id }) => id))
    const unwanted = [...this.#restoredSecrets].filter((id) => !ids.has(id))
    this.#restoredSecrets.clear()
    this.#tell(unwanted.flatMap((id) => this.#options.mirror.remove(id)))
  }

  #tell(changes: readonly MirrorChange[]): void {
    if (changes.length > 0) this.#options.onChange(changes)
  }

  #runner(source: Source): SourceRunner {
    const { mirror, log, onChange, onRead = () => {}, random = Math.random } = this.#options
    const { client, silenceMs } = this.#settings
    const context: RunnerContext = {
      ...{ client, mirror, log, silenceMs, random, onChange, onRead },
      onProgress: () => this.#progress(),
      onRecovery: () => {
        for (const runner of this.#runners.values()) runner.retry()
      },
    }
    return new SourceRunner(source, context)
  }

  #stopAll(): void {
    for (const runner of this.#runners.values()) runner.stop()
    this.#runners.clear()
  }

  #progress(): void {
    const isSynced = this.isSynced()
    if (isSynced === this.#wasSynced) return
    this.#wasSynced = isSynced
    if (isSynced) this.#options.onSynced?.()
  }
}

/** Each is a connection. */
const NAMED_SECRETS_MAX = 64
