/**
 * What the machines of this folder want written to the API, as plain data. Only the edge that holds
 * the writer's Lease carries them out (`shell/writer.ts`); serving never waits for one.
 */
import type { ObjectMeta } from "./objects.ts"

/** Resources that are written, named by their plural as in the API. */
export type WrittenResource = "services" | "endpointslices" | "ingresses" | "leases" | "events"

export type Write =
  /**
   * JSON merge patch (RFC 7396), or Kubernetes' strategic one, which merges a list such as
   * `status.conditions` by its key and so leaves the entries of others alone. With
   * `resourceVersion` the server answers 409 when the object has changed since; the machine then
   * sees the new state and thinks again.
   */
  | {
      readonly type: "patch"
      readonly resource: WrittenResource
      readonly namespace: string
      readonly name: string
      readonly subresource: "" | "status"
      readonly resourceVersion: string | undefined
      readonly patch: Json
      /** Default: "merge". */
      readonly format?: "merge" | "strategic"
    }
  | {
      readonly type: "create"
      readonly resource: WrittenResource
      readonly namespace: string
      readonly name: string
      readonly object: Json
    }
  | {
      readonly type: "delete"
      readonly resource: WrittenResource
      readonly namespace: string
      readonly name: string
      /** Precondition: exactly this object. */
      readonly uid: string
    }
  /** A core/v1 Event about an object; the writer counts repeated ones instead of adding to them. */
  | {
      readonly type: "event"
      readonly about: Pick<ObjectMeta, "namespace" | "name" | "uid"> & {
        readonly kind: "Service" | "Ingress"
      }
      readonly severity: "Normal" | "Warning"
      /** UpperCamelCase, for machines. */
      readonly reason: string
      /** For a person: what, where, what to do. */
      readonly message: string
    }

export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json }
