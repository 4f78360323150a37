/**
 * `metav1.Status`, the body of every answer that is not an object, with the words that the real
 * server uses (k8s.io/apimachinery/pkg/api/errors): a client may look at code and reason only, but
 * a person reads the message, so tests of messages have something true to look at.
 */
import type { JsonObject } from "./object.ts"

export interface StatusDetails {
  readonly name?: string
  readonly group?: string
  readonly kind?: string
  readonly uid?: string
  readonly causes?: readonly StatusCause[]
  readonly retryAfterSeconds?: number
}

export interface StatusCause {
  readonly reason?: string
  readonly message: string
  readonly field?: string
}

/** A refusal: thrown by whatever carries out a request, answered as a Status. */
export class ApiError extends Error {
  readonly code: number
  readonly reason: string
  readonly details: StatusDetails | undefined
  /** `metadata.continue`, of an expired continue token only. */
  readonly continueToken: string | undefined

  constructor(
    code: number,
    reason: string,
    message: string,
    details?: StatusDetails,
    continueToken?: string,
  ) {
    super(message)
    this.code = code
    this.reason = reason
    this.details = details
    this.continueToken = continueToken
  }

  body(): JsonObject {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: this.continueToken === undefined ? {} : { continue: this.continueToken },
      status: "Failure",
      message: this.message,
      ...(this.reason === "" ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    }
  }
}

/** What an object is called in a message: "services", "ingresses.networking.k8s.io". */
export interface ResourceName {
  readonly group: string
  readonly plural: string
}

export interface FieldError {
  readonly type: FieldErrorType
  readonly field: string
  readonly message: string
}

type FieldErrorType =
  | "FieldValueInvalid"
  | "FieldValueRequired"
  | "FieldValueNotSupported"
  | "FieldValueForbidden"
  | "FieldValueDuplicate"
  | "FieldValueTooMany"

export function qualified({ group, plural }: ResourceName): string {
  return group === "" ? plural : `${plural}.${group}`
}

export function notFound(resource: ResourceName, name: string): ApiError {
  const message = `${qualified(resource)} "${name}" not found`
  return new ApiError(404, "NotFound", message, detailsOf(resource, name))
}

/** A path under a known group and version that no resource has. */
export function noSuchResource(): ApiError {
  return new ApiError(404, "NotFound", "the server could not find the requested resource", {})
}

export function alreadyExists(resource: ResourceName, name: string): ApiError {
  const message = `${qualified(resource)} "${name}" already exists`
  return new ApiError(409, "AlreadyExists", message, detailsOf(resource, name))
}

export function conflict(resource: ResourceName, name: string, why = LOCK_MESSAGE): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`
  return new ApiError(409, "Conflict", message, detailsOf(resource, name))
}

export function forbidden(
  resource: ResourceName,
  name: string,
  why: string,
  causes?: readonly StatusCause[],
): ApiError {
  const what = name === "" ? qualified(resource) : `${qualified(resource)} "${name}"`
  const details = { ...detailsOf(resource, name), ...(causes === undefined ? {} : { causes }) }
  if (resource.plural === "") return new ApiError(403, "Forbidden", `forbidden: ${why}`, {})
  return new ApiError(403, "Forbidden", `${what} is forbidden: ${why}`, details)
}

export function unauthorized(): ApiError {
  return new ApiError(401, "Unauthorized", "Unauthorized")
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message)
}

export function methodNotAllowed(): ApiError {
  const message = "the server does not allow this method on the requested resource"
  return new ApiError(405, "MethodNotAllowed", message, {})
}

export function unsupportedMediaType(accepted: readonly string[]): ApiError {
  const message =
    "the body of the request was in an unknown format - accepted media types include: " +
    accepted.join(", ")
  return new ApiError(415, "UnsupportedMediaType", message)
}

export function notAcceptable(): ApiError {
  const message =
    "only the following media types are accepted: application/json, application/yaml, " +
    "application/vnd.kubernetes.protobuf"
  return new ApiError(406, "NotAcceptable", message)
}

export function expired(message: string, continueToken?: string): ApiError {
  return new ApiError(410, "Expired", message, undefined, continueToken)
}

export function tooLargeResourceVersion(wanted: number, current: number): ApiError {
  return new ApiError(
    504,
    "Timeout",
    `Timeout: Too large resource version: ${wanted}, current: ${current}`,
    {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
      retryAfterSeconds: 1,
    },
  )
}

/** 422; `kind` is the kind's name, not the resource's. */
export function invalid(
  { group, kind }: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): ApiError {
  const bodies = errors.map(({ field, message }) => `${field}: ${message}`)
  const list = bodies.length === 1 ? bodies[0] : `[${bodies.join(", ")}]`
  return new ApiError(
    422,
    "Invalid",
    `${group === "" ? kind : `${kind}.${group}`} "${name}" is invalid: ${list}`,
    {
      ...(name === "" ? {} : { name }),
      ...(group === "" ? {} : { group }),
      kind,
      causes: errors.map(({ type, field, message }) => ({ reason: type, message, field })),
    },
  )
}

export function required(field: string, detail = ""): FieldError {
  return fieldError("FieldValueRequired", field, "Required value", detail)
}

export function invalidValue(field: string, value: unknown, detail: string): FieldError {
  return fieldError("FieldValueInvalid", field, `Invalid value: ${quoted(value)}`, detail)
}

export function forbiddenField(field: string, detail: string): FieldError {
  return fieldError("FieldValueForbidden", field, "Forbidden", detail)
}

export function duplicateValue(field: string, value: unknown): FieldError {
  return fieldError("FieldValueDuplicate", field, `Duplicate value: ${quoted(value)}`, "")
}

export function tooMany(field: string, count: number, max: number): FieldError {
  const detail = `must have at most ${max} items`
  return fieldError("FieldValueTooMany", field, `Too many: ${count}`, detail)
}

export function notSupported(
  field: string,
  value: unknown,
  supported: readonly string[],
): FieldError {
  const detail = `supported values: ${supported.map((each) => `"${each}"`).join(", ")}`
  return fieldError("FieldValueNotSupported", field, `Unsupported value: ${quoted(value)}`, detail)
}

export const LOCK_MESSAGE =
  "the object has been modified; please apply your changes to the latest version and try again"

function fieldError(
  type: FieldErrorType,
  field: string,
  message: string,
  detail: string,
): FieldError {
  return { type, field, message: detail === "" ? message : `${message}: ${detail}` }
}

function quoted(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : JSON.stringify(value ?? "")
}

function detailsOf({ group, plural }: ResourceName, name: string): StatusDetails {
  return {
    ...(name === "" ? {} : { name }),
    ...(group === "" ? {} : { group }),
    kind: plural,
  }
}
