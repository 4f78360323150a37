/**
 * All rules of all Ingresses, one winner for each host and path. Among rules of one rank the oldest
 * Ingress wins, then the first by namespace and name, so that both edges, and every restart, agree
 * on it; the loser is told. Canaries do not compete: they join the winner of their place.
 */
import { type Ingress, keyOf } from "../objects.ts"
import type { CanaryOptions } from "./options-canary.ts"
import { type IngressProblem, notice, problemOf, warning } from "./problem.ts"
import { type IngressRules, RANKS, type Rule } from "./rules.ts"

export interface Place {
  readonly rule: Rule
  readonly owner: IngressRules
  canary: Canary | undefined
}

export interface Canary {
  readonly rule: Rule
  readonly owner: IngressRules
  readonly options: CanaryOptions
}

/** `ingresses`: oldest first. */
export function placesOf(
  ingresses: readonly IngressRules[],
  problems: IngressProblem[],
): Map<string, Place> {
  const places = new Map<string, Place>()
  const main = ingresses.filter(({ options }) => options.canary === undefined)
  for (const rank of RANKS) {
    for (const owner of main) {
      for (const rule of owner.rules) {
        if (rule.rank === rank) take(places, { rule, owner, canary: undefined }, problems)
      }
    }
  }
  for (const owner of ingresses) {
    const options = owner.options.canary
    if (options !== undefined) joinCanary(places, { owner, options }, problems)
  }
  return places
}

export function byAge({ meta: a }: Ingress, { meta: b }: Ingress): number {
  return (
    a.createdEpochMs - b.createdEpochMs ||
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name)
  )
}

function take(places: Map<string, Place>, place: Place, problems: IngressProblem[]): void {
  const { rule, owner } = place
  const winner = places.get(rule.place)
  if (winner === undefined) {
    places.set(rule.place, place)
    return
  }
  const { ingress } = owner
  const text = `${rule.host || "*"}${rule.path}`
  const other = keyOf(winner.owner.ingress.meta)
  switch (rule.rank) {
    case "rule":
    case "catch-all": {
      const what = rule.rank === "rule" ? text : "the default backend of all hosts"
      const why = winner.rule.rank === rule.rank ? "is older" : "has a rule for it"
      const message =
        winner.owner === owner
          ? `${what} is there twice; the first counts`
          : `${what} is served by Ingress ${other}, which ${why}`
      problems.push(problemOf(ingress, warning("Conflict", message)))
      return
    }
    case "app-root":
    case "alias":
      problems.push(problemOf(ingress, notice("Conflict", `${text} is a rule of Ingress ${other}`)))
      return
    case "rest":
    case "www":
      // Meant for what nobody has a rule for.
      return
  }
}

/**
 * One canary for each place, as in ingress-nginx. It must be of the main Ingress's namespace, or
 * "canary-weight: 100" would be a way to take over another's host.
 */
function joinCanary(
  places: ReadonlyMap<string, Place>,
  { owner, options }: Omit<Canary, "rule">,
  problems: IngressProblem[],
): void {
  for (const rule of owner.rules) {
    if (rule.rank !== "rule" && rule.rank !== "catch-all") continue
    const text = `${rule.host || "*"}${rule.path}`
    const { namespace } = owner.ingress.meta
    const place = places.get(rule.place)
    const isMain =
      place?.rule.target.type === "backend" && place.owner.ingress.meta.namespace === namespace
    if (place === undefined || !isMain) {
      const message = `no other Ingress of namespace ${namespace} has ${text}; it gets nothing`
      problems.push(problemOf(owner.ingress, warning("CanaryWithoutMain", message)))
    } else if (place.canary !== undefined) {
      const other = keyOf(place.canary.owner.ingress.meta)
      const message = `${text} has its canary from Ingress ${other}, which is older`
      problems.push(problemOf(owner.ingress, warning("Conflict", message)))
    } else place.canary = { rule, owner, options }
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
