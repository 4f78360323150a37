/** Metrics as tables: a row a metric, filled in for each of the things it is about. */
import type { MetricFamily, Sample } from "../metrics/exposition.ts"

/** One metric of many things: its name, type and help, and its samples for one of the things. */
export type Metric<Thing> = readonly [
  name: string,
  type: MetricFamily["type"],
  help: string,
  samples: (thing: Thing) => number | readonly Sample[],
]

export interface Labelled<Thing> {
  readonly thing: Thing
  readonly labels: Readonly<Record<string, string>>
}

export function tabulate<Thing>(
  metrics: readonly Metric<Thing>[],
  things: readonly Labelled<Thing>[],
): MetricFamily[] {
  return metrics.map(([name, type, help, samples]) => ({
    name: `causeway_${name}`,
    type,
    help,
    samples: things.flatMap(({ thing, labels }) => {
      const found = samples(thing)
      if (typeof found === "number") return [{ labels, value: found }]
      return found.map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } }))
    }),
  }))
}

export function withLabels<Thing>(labelsOf: (thing: Thing) => Readonly<Record<string, string>>) {
  return (thing: Thing): Labelled<Thing> => ({ thing, labels: labelsOf(thing) })
}

/** 1 for the value that holds, 0 for the others. */
export function stateSet(label: string, values: readonly string[], current: string): Sample[] {
  return values.map((value) => ({ labels: { [label]: value }, value: value === current ? 1 : 0 }))
}

export function byLabel(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([value, count]) => ({
    labels: { [label]: value },
    value: count,
  }))
}

export function flag(holds: boolean): number {
  return holds ? 1 : 0
}
