/**
 * Which Ingresses are ours. The old annotation goes before the field (API of IngressSpec: "for
 * backwards compatibility, when that annotation is set, it must be given precedence"); whoever
 * names no class is ours only where our class is the cluster's default. Nothing of the others is
 * ever read or written.
 */
import type { Ingress, IngressClass } from "../objects.ts"

export const CONTROLLER = "causeway.dev/ingress-controller"
export const CLASS_ANNOTATION = "kubernetes.io/ingress.class"

export interface OurClasses {
  readonly names: ReadonlySet<string>
  /** Ingresses without a class are ours too. */
  readonly hasDefault: boolean
}

/** `configured`: `ingress_class`, which is ours also where no IngressClass is called so. */
export function ourClasses(configured: string, classes: Iterable<IngressClass>): OurClasses {
  const names = new Set([configured])
  let hasDefault = false
  for (const { meta, controller, isDefault } of classes) {
    if (controller === CONTROLLER) names.add(meta.name)
    if (isDefault && names.has(meta.name)) hasDefault = true
  }
  return { names, hasDefault }
}

export function isOurs({ meta, className }: Ingress, { names, hasDefault }: OurClasses): boolean {
  // Helm charts leave an empty one where no class was chosen.
  const named = meta.annotations[CLASS_ANNOTATION] || className
  return named === undefined || named === "" ? hasDefault : names.has(named)
}
