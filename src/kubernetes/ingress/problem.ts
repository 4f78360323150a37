/**
 * What is wrong with an Ingress, for `status` and for the Events that its owner sees. Nothing of an
 * Ingress is left out without one of these; what is right in it is served all the same.
 */
import type { Ingress, ObjectKey } from "../objects.ts"
import { keyOf } from "../objects.ts"

export type ProblemReason =
  /** An older Ingress, or the same one, has this host and path. */
  | "Conflict"
  /** No such Service or port, or none that can be served: 503. */
  | "BackendNotFound"
  | "InvalidPath"
  | "InvalidHost"
  /** A value that is not used. */
  | "InvalidAnnotation"
  /** Of ingress-nginx, and not served here. */
  | "UnsupportedAnnotation"
  | "UnknownAnnotation"
  /** Configuration of nginx itself. */
  | "RefusedSnippet"
  /** Who may pass is not known, so nobody does: 503. */
  | "AccessDenied"
  | "SecretNotFound"
  | "InvalidCertificate"
  | "CertificateNotForHost"
  | "CanaryWithoutMain"
  | "ClassMismatch"

export interface IngressProblem {
  readonly ingress: ObjectKey
  readonly reason: ProblemReason
  /** For a person: what, where, what to do. */
  readonly message: string
  /** A notice is only listed in status; of a warning there is an Event too. */
  readonly severity: "warning" | "notice"
}

/** What an object on its own finds wrong with itself. */
export type Finding = Omit<IngressProblem, "ingress">

export function warning(reason: ProblemReason, message: string): Finding {
  return { reason, message, severity: "warning" }
}

export function notice(reason: ProblemReason, message: string): Finding {
  return { reason, message, severity: "notice" }
}

export function problemOf({ meta }: Ingress, finding: Finding): IngressProblem {
  return { ingress: keyOf(meta), ...finding }
}
