/**
 * From the backend of a rule to a pool. A pool is a port of a Service; where annotations ask for
 * another way to speak to the same servers there is a pool of its own, told apart by its name.
 */
import type { BalancePolicy, PoolConfig, PoolTlsConfig } from "../../config/config.ts"
import type { ClusterView, IngressBackend, Secret } from "../objects.ts"
import { findServicePort } from "../service-port.ts"
import type { BackendOptions, BackendTls } from "./options-backend.ts"
import { type Finding, warning } from "./problem.ts"

export type BackendResult =
  | { readonly ok: true; readonly pool: PoolConfig }
  | { readonly ok: false; readonly finding: Finding }

export interface BackendContext {
  readonly namespace: string
  readonly backend: BackendOptions
  readonly balance: BalancePolicy | undefined
  readonly services: ClusterView["services"]
  readonly secrets: ClusterView["secrets"]
  /** What all pools have in common. */
  readonly template: PoolConfig
}

export function backendPool(to: IngressBackend, context: BackendContext): BackendResult {
  const { namespace, backend, services, template } = context
  if (to.type === "resource") {
    return missing(`the backend ${to.description} is no Service; answered with 503`)
  }
  const service = services.get(`${namespace}/${to.service}`)
  if (service === undefined) {
    return missing(`there is no Service ${namespace}/${to.service}; answered with 503`)
  }
  const ref = { namespace, service: to.service, port: to.port }
  const answer = findServicePort(ref, service)
  if (!answer.ok) return missing(`${answer.reason}; answered with 503`)
  if (backend.protocol === "unserved") {
    return missing(`the protocol of ${namespace}/${to.service} is not spoken; answered with 503`)
  }
  const tls = backend.tls && poolTls(backend.tls, context.secrets)
  if (typeof tls === "string") {
    return { ok: false, finding: warning("SecretNotFound", `${tls}; answered with 503`) }
  }
  return {
    ok: true,
    pool: {
      ...template,
      name: `${namespace}/${to.service}:${to.port}${suffixOf(context)}`,
      balance: context.balance ?? template.balance,
      connectTimeoutMs: backend.connectTimeoutMs ?? template.connectTimeoutMs,
      tls,
      servers: [],
      kubernetes: { ...ref, reach: template.kubernetes?.reach ?? "pod" },
    },
  }
}

function missing(message: string): BackendResult {
  return { ok: false, finding: warning("BackendNotFound", message) }
}

/** Says what is not as usual: "+https(verify,name=a.b)", "+connect=5s". */
function suffixOf({ backend, balance }: BackendContext): string {
  const { tls, connectTimeoutMs } = backend
  const parts = [
    ...(tls === undefined ? [] : [`https${tlsSuffix(tls)}`]),
    ...(connectTimeoutMs === undefined ? [] : [`connect=${connectTimeoutMs / 1000}s`]),
    ...(balance === undefined ? [] : [balance]),
  ]
  return parts.map((part) => `+${part}`).join("")
}

function tlsSuffix({ verify, serverName, secret, minVersion }: BackendTls): string {
  const parts = [
    ...(verify ? ["verify"] : []),
    ...(serverName === "" ? [] : [`name=${serverName}`]),
    ...(secret === "" ? [] : [`secret=${secret}`]),
    ...(minVersion === "1.2" ? [] : [minVersion]),
  ]
  return parts.length === 0 ? "" : `(${parts.join(",")})`
}

/** Or what is missing. */
function poolTls(
  { verify, serverName, secret, minVersion }: BackendTls,
  secrets: ReadonlyMap<string, Secret>,
): PoolTlsConfig | string {
  const plain = { verify, caFile: "", serverName, cert: "", key: "", minVersion }
  if (secret === "") return { ...plain, caPem: "", certPem: "", keyPem: "" }
  const data = secrets.get(secret)?.data
  if (data === undefined) return `there is no Secret ${secret}`
  const { "ca.crt": caPem = "", "tls.crt": certPem = "", "tls.key": keyPem = "" } = data
  if (caPem === "" && verify) return `the Secret ${secret} has no ca.crt`
  const hasPair = certPem !== "" && keyPem !== ""
  return { ...plain, caPem, ...(hasPair ? { certPem, keyPem } : { certPem: "", keyPem: "" }) }
}
