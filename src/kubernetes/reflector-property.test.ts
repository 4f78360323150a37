import { expect, test } from "bun:test"
import fc from "fast-check"
import { instant } from "../net/time.ts"
import { ModelServer, type Trouble } from "./fixtures/model-server.ts"
import { Reflector, type ReflectorAction, type ReflectorInput } from "./reflector.ts"

/** A reflector and its copy against a model server, on one fake clock. */
class Simulation {
  readonly server = new ModelServer()
  readonly copy = new Map<string, string>()
  readonly #reflector: Reflector<string>
  #now = 0
  #lastVersion = 0

  constructor(random: () => number) {
    const options = { isOptional: true, isRestored: false, silenceMs: 90_000, random }
    this.#reflector = new Reflector(options)
    this.hand([{ type: "start" }])
  }

  hand(inputs: readonly ReflectorInput<string>[]): void {
    const queue = [...inputs]
    for (let input = queue.shift(), turns = 0; input !== undefined; input = queue.shift()) {
      if (++turns > 500) throw new Error("The reflector asks in a circle without time passing")
      for (const action of this.#reflector.handle(input, instant(this.#now))) {
        queue.push(...this.#carryOut(action))
      }
      this.#check()
    }
  }

  /** Time goes by until `ms` later; deadlines are kept. */
  pass(ms: number): void {
    const end = this.#now + ms
    for (let at = this.#reflector.deadline(); at !== undefined && at <= end; ) {
      this.#now = Math.max(this.#now, at)
      this.hand([{ type: "timeout" }])
      at = this.#reflector.deadline()
    }
    this.#now = end
  }

  isSynced(): boolean {
    return this.#reflector.status().isSynced
  }

  #carryOut(action: ReflectorAction<string>): ReflectorInput<string>[] {
    switch (action.type) {
      case "list":
        return this.server.list(action.request, action.query)
      case "watch":
        return this.server.watch(action.request, action.query)
      case "cancel":
        this.server.cancel(action.request)
        return []
      case "replace":
        this.copy.clear()
        for (const [key, value] of action.objects) this.copy.set(key, value)
        return []
      case "apply":
        for (const { key, object } of action.changes) {
          if (object === undefined) this.copy.delete(key)
          else this.copy.set(key, object)
        }
        return []
    }
  }

  /** The copy is the server's state at the version it claims, and versions only go forward. */
  #check(): void {
    const { resourceVersion, isSynced } = this.#reflector.status()
    if (!isSynced) return
    expect([...this.copy].sort()).toEqual([...(this.server.stateAt(resourceVersion) ?? [])].sort())
    expect(Number(resourceVersion)).toBeGreaterThanOrEqual(this.#lastVersion)
    this.#lastVersion = Number(resourceVersion)
  }
}

type Step = (simulation: Simulation) => void

const key = fc.integer({ min: 0, max: 9 }).map((number) => `object-${number}`)
const trouble = fc.constantFrom<Trouble>("refused", 429, 500, 401, 403, "ok")

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(key, fc.option(fc.string({ maxLength: 3 }))).map(writes) },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: 5 }).map(
      (count): Step =>
        (each) =>
          each.hand(each.server.deliver(count)),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.integer({ min: 1, max: 200_000 }).map(
      (ms): Step =>
        (each) =>
          each.pass(ms),
    ),
  },
  fc.constantFrom<Step>(
    (each) => each.hand(each.server.cut()),
    (each) => each.hand(each.server.end()),
    (each) => each.hand(each.server.bookmarks()),
    (each) => each.server.silence(),
    (each) => each.server.compact(),
  ),
  fc.array(trouble, { maxLength: 4 }).map(
    (troubles): Step =>
      (each) =>
        each.server.trouble.push(...troubles),
  ),
)

function writes([name, value]: [string, string | null]): Step {
  return (simulation) => simulation.server.write(name, value ?? undefined)
}

test("Reflector converges, and never goes back, whatever server and network do", () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 120 }),
      fc.boolean(),
      fc.integer(),
      (steps, canStream, seed) => {
        let state = seed
        const random = () => {
          state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
          return state / 0x80000000
        }
        const simulation = new Simulation(random)
        simulation.server.canStream = canStream
        for (const each of steps) each(simulation)
        simulation.server.trouble.length = 0
        for (let round = 0; round < 5; round++) {
          simulation.pass(200_000)
          simulation.hand(simulation.server.deliver(1000))
        }
        expect(simulation.isSynced()).toBe(true)
        const wanted = simulation.server.stateAt(simulation.server.version) ?? new Map()
        expect([...simulation.copy].sort()).toEqual([...wanted].sort())
      },
    ),
    { numRuns: 400 },
  )
})
