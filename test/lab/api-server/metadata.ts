/**
 * Rules about names and metadata that hold for every kind
 * (apimachinery/pkg/api/validation/objectmeta.go).
 */
import type { ApiObject, Metadata } from "./object.ts"
import type { Resource } from "./resources.ts"
import { type FieldError, forbiddenField, invalidValue, required } from "./status.ts"

export function metadataErrors(resource: Resource, { metadata }: ApiObject): FieldError[] {
  return [
    ...nameErrors(resource, metadata.name),
    ...labelErrors(metadata.labels ?? {}),
    ...annotationErrors(metadata.annotations ?? {}),
    ...ownerErrors(metadata),
    ...(metadata.finalizers ?? []).flatMap((finalizer) =>
      isQualifiedName(finalizer)
        ? []
        : [invalidValue("metadata.finalizers", finalizer, QUALIFIED_NAME_WORDS)],
    ),
  ]
}

/** What may not change between two versions of an object. */
export function metadataUpdateErrors(next: Metadata, before: Metadata): FieldError[] {
  const errors: FieldError[] = []
  const isImmutable = (field: "name" | "namespace" | "uid" | "creationTimestamp") => {
    if (next[field] === before[field]) return
    errors.push(invalidValue(`metadata.${field}`, next[field], "field is immutable"))
  }
  isImmutable("name")
  isImmutable("namespace")
  if (before.deletionTimestamp !== undefined) {
    const added = (next.finalizers ?? []).filter((each) => !before.finalizers?.includes(each))
    if (added.length > 0) {
      const list = added.map((each) => `"${each}"`).join(", ")
      const detail =
        "no new finalizers can be added if the object is being deleted, " +
        `found new finalizers []string{${list}}`
      errors.push(forbiddenField("metadata.finalizers", detail))
    }
  }
  return errors
}

export function subdomainErrors(field: string, value: string): FieldError[] {
  if (value.length > 253) return [invalidValue(field, value, "must be no more than 253 characters")]
  return SUBDOMAIN.test(value) ? [] : [invalidValue(field, value, SUBDOMAIN_WORDS)]
}

/** RFC 1123 label. */
export function labelNameErrors(field: string, value: string): FieldError[] {
  if (value.length > 63) return [invalidValue(field, value, "must be no more than 63 characters")]
  return LABEL.test(value) ? [] : [invalidValue(field, value, LABEL_WORDS)]
}

export function isQualifiedName(value: string): boolean {
  const parts = value.split("/")
  const name = parts.at(-1) ?? ""
  const isNameGood = name.length <= 63 && QUALIFIED_PART.test(name)
  if (parts.length === 1) return isNameGood
  return parts.length === 2 && isNameGood && SUBDOMAIN.test(parts[0] ?? "")
}

function nameErrors({ kind, group }: Resource, name: string): FieldError[] {
  const field = "metadata.name"
  if (name === "") return [required(field, "name or generateName is required")]
  if (kind === "Namespace") return labelNameErrors(field, name)
  if (kind === "Service") {
    if (name.length > 63) return [invalidValue(field, name, "must be no more than 63 characters")]
    return SERVICE_NAME.test(name) ? [] : [invalidValue(field, name, SERVICE_NAME_WORDS)]
  }
  // Names of roles are path segments: "system:discovery".
  if (group === "rbac.authorization.k8s.io") {
    return /^\.{1,2}$|[/%]/.test(name) ? [invalidValue(field, name, "may not contain '/'")] : []
  }
  return subdomainErrors(field, name)
}

function labelErrors(labels: Readonly<Record<string, string>>): FieldError[] {
  return Object.entries(labels).flatMap(([key, value]) => [
    ...(isQualifiedName(key) ? [] : [invalidValue("metadata.labels", key, QUALIFIED_NAME_WORDS)]),
    ...(typeof value === "string" && value.length <= 63 && LABEL_VALUE.test(value)
      ? []
      : [invalidValue("metadata.labels", value, LABEL_VALUE_WORDS)]),
  ])
}

function annotationErrors(annotations: Readonly<Record<string, string>>): FieldError[] {
  const bytes = Object.entries(annotations)
    .map(([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(value))
    .reduce((sum, each) => sum + each, 0)
  const field = "metadata.annotations"
  return [
    ...Object.keys(annotations)
      .filter((key) => !isQualifiedName(key.toLowerCase()))
      .map((key) => invalidValue(field, key, QUALIFIED_NAME_WORDS)),
    ...(bytes > ANNOTATION_BYTES_MAX
      ? [
          {
            type: "FieldValueInvalid" as const,
            field,
            message: `Too long: may not be more than ${ANNOTATION_BYTES_MAX} bytes`,
          },
        ]
      : []),
  ]
}

function ownerErrors({ ownerReferences = [] }: Metadata): FieldError[] {
  return ownerReferences.flatMap(({ apiVersion, kind, name, uid }, index) => {
    const field = `metadata.ownerReferences[${index}]`
    return [
      ...(apiVersion ? [] : [invalidValue(`${field}.apiVersion`, "", "version must not be empty")]),
      ...(kind ? [] : [invalidValue(`${field}.kind`, "", "must not be empty")]),
      ...(name ? [] : [invalidValue(`${field}.name`, "", "must not be empty")]),
      ...(uid ? [] : [invalidValue(`${field}.uid`, "", "must not be empty")]),
    ]
  })
}

const ANNOTATION_BYTES_MAX = 256 * 1024

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
/** Services are named by RFC 1035. */
const SERVICE_NAME = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const QUALIFIED_PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/

const SUBDOMAIN_WORDS =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or " +
  "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used " +
  "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const LABEL_WORDS =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and " +
  "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex " +
  "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
const SERVICE_NAME_WORDS =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an " +
  "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or " +
  "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
const QUALIFIED_NAME_WORDS =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for " +
  "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const LABEL_VALUE_WORDS =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or " +
  "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  " +
  "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
