/**
 * The stage of the Ingress tests: a cluster on a LAN, and an edge that serves its Ingress objects
 * on a virtual address, port 80 and port 443.
 */
import { join } from "node:path"
import type { SliceWriter } from "../lab/api-server/slice-writer.ts"
import type { Edge } from "../lab/edge.ts"
import { eventually } from "../lab/wait.ts"
import type { KeyPair } from "./certificates.ts"
import { startOddWebServer } from "./http-servers.ts"
import {
  createKubernetesStage,
  createService,
  type KubernetesStage,
  type Pod,
  type PodOptions,
  startClusterEdge,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

export const VIP = "192.168.1.40"

export interface IngressStage extends KubernetesStage {
  readonly counts: { pods: number; markers: number }
}

export async function createIngressStage(name: string): Promise<IngressStage> {
  const stage = await createKubernetesStage(name)
  await stage.api.apply(await Bun.file(INGRESS_CLASS).text())
  return { ...stage, counts: { pods: 0, markers: 0 } }
}

export interface IngressEdgeOptions {
  /** Further keys of `[[http]]`, and its routes. */
  readonly http?: string
  /** Further tables. */
  readonly tables?: string
  readonly priority?: number
  /** Default: `VIP`. */
  readonly address?: string
}

export function ingressToml(options: IngressEdgeOptions) {
  const { http = "", tables = "", priority = 100, address = VIP } = options
  // Nothing here is about failing over; a busy machine must not look like it.
  return `${vrrpToml({ priority, addresses: [address], interval: "400ms" })}
[[http]]
name = "web"
bind = ["${address}:80", { address = "${address}:443", tls = true }]
ingress = true
${http}
${tables}`
}

export async function startIngressEdge(
  stage: IngressStage,
  options: IngressEdgeOptions = {},
): Promise<Edge> {
  const edge = await startClusterEdge(stage, stage.a, ingressToml(options))
  await edge.waitState("active")
  return edge
}

export interface Deployment {
  readonly pods: readonly Pod[]
  readonly slices: SliceWriter
}

/** A Service `name`:80 with pods `name`-1, `name`-2 … on alternating nodes. */
export async function deploy(
  stage: IngressStage,
  name: string,
  options: Partial<PodOptions> & {
    readonly namespace?: string
    readonly pods?: number
    readonly servicePort?: number
  } = {},
): Promise<Deployment> {
  const { namespace = "default", pods: count = 1, servicePort = 80, ...rest } = options
  const pods: Pod[] = []
  for (let number = 1; number <= count; number += 1) {
    stage.counts.pods += 1
    const place = { node: 1 + (stage.counts.pods % 2), last: 10 + stage.counts.pods }
    pods.push(await startPod(stage, `${name}-${number}`, { ...place, ...rest }))
  }
  const { port = 8080 } = rest
  const service = { namespace, name, port: servicePort, targetPort: port, endpointsMax: 100 }
  const slices = await createService(stage, service)
  await slices.write(pods)
  return { pods, slices }
}

/** The Service "odd", whose pod has the manners of `programs/odd-web-server.ts`. */
export async function deployOdd(stage: IngressStage): Promise<void> {
  const host = stage.podHosts.get(1)
  if (host === undefined) throw new Error("No node 1")
  await startOddWebServer(host, 9000)
  const slices = await createService(stage, { name: "odd", targetPort: 9000 })
  await slices.write([{ name: "odd-1", address: "10.244.1.254", state: "ready" }])
}

export interface IngressSettings {
  readonly namespace?: string
  readonly name: string
  /** Default: "causeway"; "": none. */
  readonly className?: string
  /** Without a prefix they are of ingress-nginx. */
  readonly annotations?: Readonly<Record<string, string>>
  /** "host/path" (the host may be missing), then "service", "service:port" or "service:name". */
  readonly rules?: readonly (readonly [place: string, backend: string, pathType?: PathType])[]
  readonly defaultBackend?: string
  readonly tls?: readonly { readonly hosts?: readonly string[]; readonly secretName?: string }[]
}

export type PathType = "Prefix" | "Exact" | "ImplementationSpecific"

/** An Ingress as the API has it. */
export function ingressObject(settings: IngressSettings) {
  const { namespace = "default", name, className = "causeway", rules = [] } = settings
  const { annotations = {}, defaultBackend, tls } = settings
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: {
      namespace,
      name,
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [
          key.includes("/") ? key : `nginx.ingress.kubernetes.io/${key}`,
          value,
        ]),
      ),
    },
    spec: {
      ...(className === "" ? {} : { ingressClassName: className }),
      ...(tls === undefined ? {} : { tls }),
      ...(defaultBackend === undefined ? {} : { defaultBackend: backendOf(defaultBackend) }),
      ...(rules.length === 0 ? {} : { rules: rules.map(ruleOf) }),
    },
  }
}

/** Creates or replaces it, and waits until all that was written to Ingresses so far is served. */
export async function applyIngress(stage: IngressStage, ...settings: IngressSettings[]) {
  await stage.api.apply(settings.map(ingressObject))
  await settle(stage)
}

/** Deletes it, and waits until it is gone here too. */
export async function removeIngress(stage: IngressStage, ...keys: string[]) {
  for (const key of keys) {
    await stage.api.remove("ingresses", key.includes("/") ? key : `default/${key}`)
  }
  await settle(stage)
}

/**
 * Waits until the edge serves the last change of an Ingress, by one more. Secrets and Services come
 * by other watches: what depends on those is waited for by what it does.
 */
export async function settle(stage: IngressStage): Promise<void> {
  stage.counts.markers += 1
  const path = `/${stage.counts.markers}`
  const annotations = { "permanent-redirect": "http://marker.test/" }
  const rules = [[`marker.test${path}`, "marker", "Exact"]] as const
  await stage.api.apply([ingressObject({ name: "zz-marker", annotations, rules })])
  await eventually(async () => (await ask(stage, `marker.test${path}`)).status === 301, {
    what: "the last Ingress to be served",
  })
}

export interface Asking {
  readonly tls?: boolean
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** A body of so many bytes. */
  readonly bodyBytes?: number
  /** Further words for curl. */
  readonly words?: readonly string[]
  readonly timeoutSeconds?: number
}

export interface Answered {
  /** 0: none; `error` says why. */
  readonly status: number
  /** Lower-case names; of several the last. */
  readonly fields: ReadonlyMap<string, string>
  readonly body: string
  /** Of a pod: its name, and the path it was asked for. */
  readonly pod: string
  readonly path: string
  readonly error: string
}

/** One request by curl, from outside: `place` is "host/path". */
export async function ask(
  { client }: Pick<KubernetesStage, "client">,
  place: string,
  { tls = false, method, headers = {}, bodyBytes, words = [], timeoutSeconds = 5 }: Asking = {},
): Promise<Answered> {
  const slash = place.indexOf("/")
  const host = place.slice(0, slash)
  const origin = tls ? `https://${host}` : `http://${VIP}`
  const argv = ["curl", "-sS", "-i", "-m", `${timeoutSeconds}`, "--path-as-is", "-g"]
  if (tls) argv.push("-k", "--connect-to", `::${VIP}:443`)
  else if (host !== "") argv.push("-H", `Host: ${host}`)
  if (method === "HEAD") argv.push("-I")
  else if (method !== undefined) argv.push("-X", method)
  for (const [name, value] of Object.entries(headers)) argv.push("-H", `${name}: ${value}`)
  if (bodyBytes !== undefined) argv.push("--data-binary", "@-", "-H", "Expect:")
  argv.push(...words, `${origin}${place.slice(slash)}`)
  const stdin = bodyBytes === undefined ? undefined : "x".repeat(bodyBytes)
  const options = stdin === undefined ? {} : { stdin }
  const { stdout, stderr } = await client.run(argv, options)
  return { ...parsed(stdout), error: stderr.trim() }
}

/** "pod path" of a pod's answer, else the status. */
export async function answerOf(
  stage: Pick<KubernetesStage, "client">,
  place: string,
  asking: Asking = {},
): Promise<string> {
  const { status, pod, path, error } = await ask(stage, place, asking)
  if (status === 200 && pod !== "") return `${pod} ${path}`
  return status === 0 ? error : String(status)
}

/** Waits until the place is answered like this. */
export async function eventuallyAnswers(
  stage: Pick<KubernetesStage, "client">,
  place: string,
  expected: string,
  asking: Asking = {},
): Promise<void> {
  let last = ""
  await eventually(
    async () => {
      last = await answerOf(stage, place, asking)
      return last === expected
    },
    { what: `${place} to be answered with ${expected}` },
  ).catch((error) => {
    throw new Error(`${error.message} (${last})`)
  })
}

/** A Secret of type kubernetes.io/tls. */
export async function tlsSecret(pair: KeyPair, name: string, namespace = "default") {
  const [cert, key] = await Promise.all([Bun.file(pair.cert).text(), Bun.file(pair.key).text()])
  return secretObject(name, { "tls.crt": cert, "tls.key": key }, { namespace, tls: true })
}

export function secretObject(
  name: string,
  texts: Readonly<Record<string, string>>,
  { namespace = "default", tls = false }: { namespace?: string; tls?: boolean } = {},
) {
  const data = Object.entries(texts).map(([key, text]) => {
    return [key, Buffer.from(text).toString("base64")] as const
  })
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace },
    type: tls ? "kubernetes.io/tls" : "Opaque",
    data: Object.fromEntries(data),
  }
}

/** What `/v1/status` says is wrong with an Ingress: "reason: message". */
export async function problemsOf(edge: Edge, ingress: string): Promise<string[]> {
  const { kubernetes } = await edge.status()
  const key = ingress.includes("/") ? ingress : `default/${ingress}`
  const found = kubernetes?.problems.filter(({ object }) => object === `Ingress ${key}`) ?? []
  return found.map(({ reason, message }) => `${reason}: ${message}`)
}

/** Reasons of the Events about an Ingress. */
export async function eventsOf({ api }: KubernetesStage, name: string): Promise<string[]> {
  const events = await api.events("Ingress", name)
  return events.map(({ reason }) => String(reason))
}

/** Addresses in `status.loadBalancer`. */
export async function addressesOf({ api }: KubernetesStage, key: string): Promise<string[]> {
  const object = await api.get("ingresses", key.includes("/") ? key : `default/${key}`)
  const status = object?.status as
    | { loadBalancer?: { ingress?: readonly { ip?: string }[] } }
    | undefined
  return (status?.loadBalancer?.ingress ?? []).map(({ ip = "" }) => ip)
}

function ruleOf([place, backend, pathType = "Prefix"]: NonNullable<
  IngressSettings["rules"]
>[number]) {
  const slash = place.indexOf("/")
  const host = place.slice(0, slash)
  const path = { path: place.slice(slash), pathType, backend: backendOf(backend) }
  return { ...(host === "" ? {} : { host }), http: { paths: [path] } }
}

function backendOf(text: string) {
  const [name = "", port = "80"] = text.split(":")
  const number = Number(port)
  return { service: { name, port: Number.isInteger(number) ? { number } : { name: port } } }
}

function parsed(text: string): Omit<Answered, "error"> {
  let rest = text
  for (;;) {
    const end = rest.indexOf("\r\n\r\n")
    const [statusLine = "", ...lines] = rest.slice(0, Math.max(end, 0)).split("\r\n")
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1] ?? 0)
    const body = end < 0 ? "" : rest.slice(end + 4)
    if (status >= 100 && status < 200) {
      rest = body
      continue
    }
    const fields = lines.map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })
    const [, pod = "", path = ""] = /^(\S+) (\/\S*)\n$/.exec(body) ?? []
    return { status, fields: new Map(fields), body, pod, path }
  }
}

const INGRESS_CLASS = join(import.meta.dir, "../../config/kubernetes/ingress-class.yaml")
