/** Clients that are sent elsewhere. */
import type { RedirectConfig } from "../../config/http-config.ts"
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"

export interface RedirectOptions {
  /** All requests of the Ingress go there. */
  readonly whole: RedirectTarget | undefined
  /** Where "/" itself goes; "": nowhere. */
  readonly appRoot: string
  /** "www." and the name without it lead to the one that has rules. */
  readonly fromToWww: boolean
}

export interface RedirectTarget {
  readonly scheme: "http" | "https" | undefined
  readonly host: string | undefined
  readonly port: number | undefined
  readonly path: string
  /** `$request_uri` stood at the end: path and query of the request are kept. */
  readonly keepsRequest: boolean
  readonly status: RedirectConfig["status"]
}

export function readRedirects(reader: AnnotationReader): RedirectOptions {
  const permanent = readTarget(reader, "permanent-redirect", 301)
  const temporal = readTarget(reader, "temporal-redirect", 302)
  return {
    // Temporal goes first, as in ingress-nginx.
    whole: temporal ?? permanent,
    appRoot: reader.text("app-root", APP_ROOT) ?? "",
    fromToWww: reader.boolean("from-to-www-redirect") ?? false,
  }
}

function readTarget(
  reader: AnnotationReader,
  name: "permanent-redirect" | "temporal-redirect",
  usual: RedirectConfig["status"],
): RedirectTarget | undefined {
  const status = readStatus(reader, `${name}-code`, usual)
  const value = reader.raw(name)
  if (value === undefined) return undefined
  const match = URL_FORM.exec(value)
  const port = match?.[3] === undefined ? undefined : Number(match[3])
  const [path = "", variable = ""] = (match?.[4] ?? "").split("$")
  const keepsRequest = variable === "request_uri" && path === ""
  const isWhole = !(match?.[4] ?? "").includes("$") || keepsRequest
  if (match === null || !isWhole || port === 0 || (port ?? 1) > 65_535) {
    const message = `${PREFIX}${name} is not a URL, with $request_uri at its end at most`
    reader.warn("InvalidAnnotation", message)
    return undefined
  }
  const scheme = match[1]?.toLowerCase() === "https" ? "https" : match[1] && "http"
  const host = match[2]?.toLowerCase()
  return { scheme: scheme || undefined, host, port, path, keepsRequest, status }
}

function readStatus(
  reader: AnnotationReader,
  name: string,
  usual: RedirectConfig["status"],
): RedirectConfig["status"] {
  const value = reader.integer(name, { min: 300, max: 308 })
  if (value === undefined) return usual
  const status = STATUSES.find((each) => each === value)
  if (status !== undefined) return status
  reader.warn("InvalidAnnotation", `${PREFIX}${name}: ${value} is not a redirect; ${usual} is used`)
  return usual
}

const STATUSES = [301, 302, 303, 307, 308] as const
/** "https://host:port/path"; "/path" stays on the host, and "//path" would not. */
const ORIGIN = String.raw`(https?)://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?(?=[/$?]|$)`
const REST = String.raw`(?:/(?!/)|\?|\$|$)[\x21\x23-\x5b\x5d-\x7e]*`
const URL_FORM = new RegExp(`^(?:${ORIGIN})?(${REST})$`, "i")
const APP_ROOT = {
  pattern: /^\/(?!\/)[\x21\x23-\x5b\x5d-\x7e]{0,511}$/,
  expected: "a path on the same host",
}
