/**
 * The route table looks at patterns after all plain paths. ingress-nginx makes a pattern of every
 * path of a host that has one and tries the longest first, so "/api/(.*)" goes before "/". Here a
 * prefix becomes a pattern only where it would hide a longer pattern; all others stay as quick as
 * they are.
 */
import { literalStart } from "./pattern.ts"
import type { Place } from "./places.ts"

export interface HostPlaces {
  /** Exact paths and prefixes, in any order. */
  readonly plain: readonly Place[]
  /** In the order in which they are tried; prefixes among them are to be made patterns. */
  readonly patterns: readonly Place[]
}

/** `places`: those of one host. */
export function inPatternOrder(places: readonly Place[]): HostPlaces {
  const regexes = places.filter(({ rule }) => rule.match === "regex")
  if (regexes.length === 0) return { plain: places, patterns: [] }
  const starts = regexes.map(({ rule }) => ({
    length: rule.path.length,
    start: literalStart(rule.path).toLowerCase(),
  }))
  const hides = ({ rule }: Place) => {
    if (rule.match !== "prefix") return false
    const path = rule.path.replace(/\/$/, "").toLowerCase()
    return starts.some(({ length, start }) => {
      return length > rule.path.length && (start.startsWith(path) || path.startsWith(start))
    })
  }
  const plain: Place[] = []
  const patterns = [...regexes]
  for (const place of places) {
    if (place.rule.match !== "regex") (hides(place) ? patterns : plain).push(place)
  }
  return { plain, patterns: patterns.toSorted((a, b) => b.rule.path.length - a.rule.path.length) }
}
