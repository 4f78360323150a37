/**
 * Events as objects of the API (core/v1), repeated ones counted instead of added.
 *
 * As client-go's recorder does: the same Event about the same object within ten minutes is the one
 * that is there with a higher count, and about one object at most 25 new ones are made in that
 * time, so that a Service that changes its mind all day does not fill etcd.
 */
import { after, type Instant } from "../net/time.ts"
import type { Json, Write } from "./writes.ts"

type EventWrite = Write & { readonly type: "event" }

export type EventRequest =
  | { readonly type: "create"; readonly namespace: string; readonly object: Json }
  | {
      readonly type: "patch"
      readonly namespace: string
      readonly name: string
      readonly patch: Json
    }
  /** Too many about this object. */
  | { readonly type: "dropped" }

interface Series {
  readonly name: string
  count: number
  readonly endsAt: Instant
}

export class EventSeries {
  readonly #node: string
  readonly #series = new Map<string, Series>()
  readonly #made = new Map<string, { count: number; readonly endsAt: Instant }>()
  #number = 0

  /** @param node Name of this edge, for whoever reads the Event. */
  constructor(node: string) {
    this.#node = node
  }

  /** @param suffix Something random that makes the names of this process its own. */
  request(write: EventWrite, now: Instant, { epochMs, suffix }: EventTimes): EventRequest {
    this.#forget(now)
    const { about, severity, reason, message } = write
    const key = [about.kind, about.uid, about.namespace, about.name, severity, reason, message]
    const known = this.#series.get(key.join("\n"))
    if (known !== undefined) {
      known.count += 1
      const patch = { count: known.count, lastTimestamp: timeOf(epochMs) }
      return { type: "patch", namespace: about.namespace, name: known.name, patch }
    }
    if (!this.#mayMake(`${about.kind}/${about.uid}`, now)) return { type: "dropped" }
    this.#number += 1
    const name = `${eventPrefix(about.name)}.${suffix}${this.#number.toString(16)}`
    this.#series.set(key.join("\n"), { name, count: 1, endsAt: after(now, WINDOW_MS) })
    const object = this.#object(write, name, timeOf(epochMs))
    return { type: "create", namespace: about.namespace, object }
  }

  #object({ about, severity, reason, message }: EventWrite, name: string, time: string): Json {
    const { kind, namespace, uid } = about
    const apiVersion = kind === "Service" ? "v1" : "networking.k8s.io/v1"
    return {
      apiVersion: "v1",
      kind: "Event",
      metadata: { namespace, name },
      involvedObject: { apiVersion, kind, namespace, name: about.name, uid },
      type: severity,
      reason,
      message,
      source: { component: COMPONENT, host: this.#node },
      reportingComponent: COMPONENT,
      reportingInstance: this.#node,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    }
  }

  #mayMake(object: string, now: Instant): boolean {
    const made = this.#made.get(object) ?? { count: 0, endsAt: after(now, WINDOW_MS) }
    made.count += 1
    this.#made.set(object, made)
    return made.count <= PER_OBJECT_MAX
  }

  /** Both maps are in the order in which their entries end. */
  #forget(now: Instant): void {
    for (const map of [this.#series, this.#made]) {
      for (const [key, { endsAt }] of map) {
        if (endsAt > now && map.size <= ENTRIES_MAX) break
        map.delete(key)
      }
    }
  }
}

export interface EventTimes {
  readonly epochMs: number
  readonly suffix: string
}

/** A name of an Event is a DNS subdomain of at most 253 characters. */
function eventPrefix(name: string): string {
  return name.slice(0, 200).replace(/[-.]+$/, "")
}

/** metav1.Time. */
function timeOf(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(/\.\d+Z$/, "Z")
}

const COMPONENT = "causeway"
const WINDOW_MS = 600_000
const PER_OBJECT_MAX = 25
const ENTRIES_MAX = 4096
