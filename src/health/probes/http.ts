/**
 * `type = "http"`, with or without TLS: one HTTP/1.1 request on a connection of its own.
 *
 * It speaks over a plain socket and not through `fetch`, which obeys HTTP_PROXY, follows redirects
 * and keeps connections for reuse: a check must see this server, this answer, a new connection.
 * Without `expect_body` it leaves after the head.
 */
import { readFile } from "node:fs/promises"
import { getCACertificates } from "node:tls"
import type { HttpCheckConfig } from "../../config/config.ts"
import { formatEndpoint, parseAddress } from "../../net/address.ts"
import { Connection, type ConnectionTls } from "./connection.ts"
import { HttpResponseReader } from "./http-response.ts"
import { type Finding, type Probe, type ProbeRun, probedEndpoint, probePreface } from "./probe.ts"

export const probeHttp: Probe<HttpCheckConfig> = async (target, run) => {
  const { check } = target
  const endpoint = probedEndpoint(target)
  const host = check.host === "" ? formatEndpoint(endpoint) : check.host
  const tls = check.tls ? await tlsOptions(check) : undefined
  const options = { tls, preface: probePreface(target) }
  using connection = await Connection.open(endpoint, run, options)
  connection.write(Buffer.from(encodeRequest(check, host), "latin1"))
  return judge(await readResponse(connection, check, run), check)
}

/** Throws when a value would break out of its line. */
export function encodeRequest(
  { method, path }: Pick<HttpCheckConfig, "method" | "path">,
  host: string,
): string {
  if (UNSAFE.test(method + path + host)) {
    throw new Error("The method, path or host holds a blank or control character")
  }
  return [
    `${method} ${path} HTTP/1.1`,
    `Host: ${host}`,
    "User-Agent: causeway-check",
    "Accept: */*",
    "Connection: close",
    "\r\n",
  ].join("\r\n")
}

async function readResponse(
  connection: Connection,
  check: HttpCheckConfig,
  run: ProbeRun,
): Promise<HttpResponseReader> {
  const isBodyWanted = check.expectBody !== "" && check.method !== "HEAD"
  const response = new HttpResponseReader({ isBodyWanted, bodyBytesMax: BODY_BYTES_MAX })
  while (response.state === "head" || response.state === "body") {
    run.phase = response.state === "head" ? "waiting for the response" : "reading the body"
    const bytes = await connection.read()
    if (bytes === undefined) response.end()
    else response.push(bytes)
  }
  run.phase = ""
  return response
}

function judge(response: HttpResponseReader, check: HttpCheckConfig): Finding {
  if (response.state === "failed") return { ok: false, reason: response.reason }
  const { status } = response
  const reason = `status ${status}`
  if (!check.expectStatus.some(({ from, to }) => from <= status && status <= to)) {
    return { ok: false, reason: `${reason}, expected ${formatStatuses(check.expectStatus)}` }
  }
  if (check.expectBody === "") return { ok: true, reason }
  if (new RegExp(check.expectBody).test(response.body())) return { ok: true, reason }
  return { ok: false, reason: `${reason}, but the body does not match ${check.expectBody}` }
}

function formatStatuses(ranges: HttpCheckConfig["expectStatus"]): string {
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(", ")
}

/** SNI carries names only (RFC 6066 §3); without one the certificate must name the address. */
async function tlsOptions(check: HttpCheckConfig): Promise<ConnectionTls> {
  const name = check.host.replace(/:\d+$/, "")
  const isAddress = parseAddress(name.replace(/^\[|\]$/g, "")) !== undefined
  return {
    serverName: isAddress ? "" : name,
    verify: check.tlsVerify,
    ca: check.tlsVerify ? await authorities(check.caFile) : [],
  }
}

/** The file is read for every check, so that a renewed one counts without a reload. */
async function authorities(caFile: string): Promise<readonly string[]> {
  if (caFile !== "") {
    const text = await readFile(caFile, "utf8")
    if (!text.includes(PEM_START)) throw new Error(`${caFile} holds no certificate`)
    return [text]
  }
  systemAuthorities ??= getCACertificates("system")
  return systemAuthorities
}

let systemAuthorities: readonly string[] | undefined

const PEM_START = "-----BEGIN CERTIFICATE-----"

/** Enough for a status page; a check that needs more looks for the wrong word. */
const BODY_BYTES_MAX = 64 * 1024

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNSAFE = /[\u0000-\u0020\u007f]/
