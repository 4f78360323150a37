/**
 * What is written about Ingresses: where they are reached, and what is wrong with them. Status is
 * compared with what the API says each time, so a write that got lost is asked for again; an Event
 * is asked for once, as long as its cause lasts.
 */
import type { Address } from "../../net/address.ts"
import { type Ingress, keyOf, type ObjectKey } from "../objects.ts"
import type { Json, Write } from "../writes.ts"
import type { IngressProblem } from "./problem.ts"

export interface StatusInput {
  readonly ingresses: readonly Ingress[]
  readonly problems: readonly IngressProblem[]
}

export interface StatusContext {
  readonly view: { readonly ingresses: ReadonlyMap<ObjectKey, Ingress> }
  readonly addresses: readonly Address[]
  readonly isWriter: boolean
}

export class IngressStatus {
  /** Events that were asked for. */
  #announced: ReadonlySet<string> = new Set()
  /** UIDs of those that were ours when we last looked. */
  #ours: ReadonlySet<string> = new Set()

  writes({ ingresses: translated, problems }: StatusInput, context: StatusContext): Write[] {
    const { view, addresses, isWriter } = context
    // The translation may be older than their status.
    const ingresses = translated.flatMap(({ meta }) => {
      const now = view.ingresses.get(keyOf(meta))
      return now?.meta.uid === meta.uid ? now : []
    })
    const released = this.#released(ingresses, view.ingresses)
    this.#ours = new Set(ingresses.map(({ meta }) => meta.uid))
    if (!isWriter) {
      this.#announced = new Set()
      return []
    }
    const writes: Write[] = []
    if (addresses.length > 0) {
      for (const ingress of ingresses) {
        if (isToBeWritten(ingress, addresses)) writes.push(statusWrite(ingress, addresses))
      }
      for (const ingress of released) {
        // Whoever has it now may have written already.
        if (isReachedAt(ingress, addresses)) writes.push(statusWrite(ingress, []))
      }
    }
    return [...writes, ...this.#events(problems, view.ingresses)]
  }

  /** What is to be written for these, nothing else having changed since `writes` as the writer. */
  again(keys: Iterable<ObjectKey>, { view, addresses }: Omit<StatusContext, "isWriter">): Write[] {
    if (addresses.length === 0) return []
    return [...keys].flatMap((key) => {
      const ingress = view.ingresses.get(key)
      if (ingress === undefined || !this.#ours.has(ingress.meta.uid)) return []
      return isToBeWritten(ingress, addresses) ? statusWrite(ingress, addresses) : []
    })
  }

  /** They were ours and are still there, of another class. */
  #released(ours: readonly Ingress[], all: ReadonlyMap<ObjectKey, Ingress>): Ingress[] {
    const now = new Set(ours.map(({ meta }) => meta.uid))
    const gone = this.#ours.difference(now)
    return gone.size === 0 ? [] : [...all.values()].filter(({ meta }) => gone.has(meta.uid))
  }

  #events(
    problems: readonly IngressProblem[],
    ingresses: ReadonlyMap<ObjectKey, Ingress>,
  ): Write[] {
    const announced = new Set<string>()
    const events = problems.flatMap((problem): Write[] => {
      const meta = ingresses.get(problem.ingress)?.meta
      if (meta === undefined || problem.severity !== "warning") return []
      const { uid, namespace, name } = meta
      const { reason } = problem
      const message = shortened(problem.message)
      const key = `${uid} ${reason} ${message}`
      announced.add(key)
      if (this.#announced.has(key)) return []
      const about = { kind: "Ingress", namespace, name, uid } as const
      return [{ type: "event", about, severity: "Warning", reason, message }]
    })
    this.#announced = announced
    return events
  }
}

function isToBeWritten(ingress: Ingress, addresses: readonly Address[]): boolean {
  return !ingress.meta.isDeleting && !isReachedAt(ingress, addresses)
}

function isReachedAt({ ingress }: Ingress, addresses: readonly Address[]): boolean {
  const now = new Set(ingress.map(({ ip, hostname }) => ip ?? hostname))
  return now.size === addresses.length && addresses.every((address) => now.has(address))
}

function statusWrite({ meta }: Ingress, addresses: readonly Address[]): Write {
  const ingress: Json = addresses.map((ip) => ({ ip }))
  return {
    type: "patch",
    resource: "ingresses",
    namespace: meta.namespace,
    name: meta.name,
    subresource: "status",
    resourceVersion: meta.resourceVersion === "" ? undefined : meta.resourceVersion,
    patch: { status: { loadBalancer: { ingress } } },
  }
}

/** The API takes no more in an Event. */
function shortened(message: string): string {
  return message.length > MESSAGE_MAX ? `${message.slice(0, MESSAGE_MAX - 1)}…` : message
}

const MESSAGE_MAX = 1024
