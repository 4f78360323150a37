/**
 * A cluster on a LAN, as an edge sees it: an API server, nodes that forward to pods on networks of
 * their own, two places for edges, and a client that knows nothing of pods.
 *
 *     edge-a 192.168.1.2   edge-b 192.168.1.3   api 192.168.1.10   client 192.168.1.100
 *     node-1 192.168.1.11 → 10.244.1.0/24       node-2 192.168.1.12 → 10.244.2.0/24
 *
 * A pod is an nginx on an address of its node's pod network, which says its name.
 */
import type { ApiServer, ApiServerOptions } from "../lab/api-server/api-server.ts"
import { type SimulatedPod, SliceWriter } from "../lab/api-server/slice-writer.ts"
import { type HostedApiServer, startApiServerIn } from "../lab/api-server-host.ts"
import { type Edge, type EdgeOptions, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { startNginx } from "../lab/nginx.ts"
import type { ManagedProcess } from "../lab/process.ts"
import type { KeyPair } from "./certificates.ts"

export const API_ADDRESS = "192.168.1.10"

export interface KubernetesStage {
  readonly lab: Lab
  readonly lan: Lan
  readonly a: Host
  readonly b: Host
  readonly client: Host
  /** Where the API server runs. */
  readonly master: Host
  readonly server: HostedApiServer
  readonly api: ApiServer
  /** By number: 1 and 2. */
  readonly nodes: ReadonlyMap<number, Host>
  /** Pods live in these, by the same number. */
  readonly podHosts: ReadonlyMap<number, Host>
}

export async function createKubernetesStage(
  name: string,
  options: ApiServerOptions = {},
): Promise<KubernetesStage> {
  const lab = await createLab(name)
  const lan = await lab.lan("lan")
  const join = async (hostName: string, lastByte: number) => {
    const host = await lab.host(hostName)
    await lan.join(host, { addresses: [`192.168.1.${lastByte}/24`] })
    return host
  }
  const a = await join("edge-a", 2)
  const b = await join("edge-b", 3)
  const client = await join("client", 100)
  const master = await join("api", 10)
  const server = await startApiServerIn(master, API_ADDRESS, options)
  const nodes = new Map<number, Host>()
  const podHosts = new Map<number, Host>()
  for (const number of [1, 2]) {
    const node = await join(`node-${number}`, 10 + number)
    const pods = await lab.host(`pods-${number}`)
    const podLan = await lab.lan(`pods-${number}`)
    await podLan.join(node, { addresses: [`10.244.${number}.1/24`] })
    await podLan.join(pods, { addresses: [`10.244.${number}.254/24`] })
    await pods.ip(`route add default via 10.244.${number}.1`)
    await node.sysctl({ "net.ipv4.ip_forward": 1 })
    nodes.set(number, node)
    podHosts.set(number, pods)
    await server.api.apply(nodeManifest(number))
  }
  // What is deployed in every cluster, and what the manifests grant.
  await server.api.apply(await Bun.file(RBAC).text())
  return { lab, lan, a, b, client, master, server, api: server.api, nodes, podHosts }
}

export interface Pod extends SimulatedPod {
  readonly process: ManagedProcess
}

export interface PodOptions {
  readonly node: number
  /** Last byte of its address. */
  readonly last: number
  readonly port?: number
  /** Serves TLS instead, with this certificate. */
  readonly tls?: KeyPair
  /** Further lines of its `server { … }`. */
  readonly more?: string
}

/** Starts the pod 10.244.NODE.LAST that answers HTTP on `port` with its name. */
export async function startPod(
  { podHosts }: KubernetesStage,
  name: string,
  { node, last, port = 8080, tls, more = "" }: PodOptions,
): Promise<Pod> {
  const host = podHosts.get(node)
  if (host === undefined) throw new Error(`No node ${node}`)
  const address = `10.244.${node}.${last}`
  await host.ip(`address replace ${address}/24 dev eth0`)
  const process = await startNginx(host, {
    http: `
      server {
        listen ${address}:${port} ${tls === undefined ? "" : "ssl"} backlog=4096;
        ${tls === undefined ? "" : `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};`}
        default_type text/plain;
        keepalive_requests 1000000;
        add_header x-client $remote_addr always;
        add_header x-server ${name} always;
        add_header x-host $http_host always;
        client_max_body_size 0;
        ${more}
        location / { return 200 "${name} $request_uri\\n"; }
      }`,
  })
  return { name, address, node: `node-${node}`, state: "ready", process }
}

/** Ends a pod at once, with what it has under way, and takes its address with it. */
export async function killPod({ podHosts }: KubernetesStage, pod: Pod): Promise<void> {
  const number = Number(pod.address.split(".")[2])
  await pod.process.stop({ signal: "SIGTERM" })
  await podHosts.get(number)?.ip(`address del ${pod.address}/24 dev eth0`)
}

/** A Service with its slices; returns what writes the slices. */
export async function createService(
  { api }: KubernetesStage,
  service: {
    readonly namespace?: string
    readonly name: string
    readonly port?: number
    readonly targetPort?: number
    /** Further lines of `spec`, indented by two. */
    readonly spec?: string
    readonly annotations?: Readonly<Record<string, string>>
    /** Two, to see that all of them count. */
    readonly endpointsMax?: number
  },
): Promise<SliceWriter> {
  const { namespace = "default", name, port = 80, targetPort = 8080, annotations = {} } = service
  await api.apply(`
apiVersion: v1
kind: Service
metadata:
  namespace: ${namespace}
  name: ${name}
  annotations: ${JSON.stringify(annotations)}
spec:
  selector: { app: ${name} }
  ports: [{ name: http, port: ${port}, targetPort: ${targetPort} }]
${service.spec ?? ""}`)
  const ports = [{ name: "http", port: targetPort }]
  const { endpointsMax = 2 } = service
  return new SliceWriter(api, { namespace, service: name, ports, endpointsMax })
}

/** The user that the manifests make. */
export const EDGE_USER = "system:serviceaccount:kube-system:causeway"

/** An edge that follows the cluster; `toml` without `[kubernetes]` gets one. */
export async function startClusterEdge(
  { api }: Pick<KubernetesStage, "api">,
  host: Host,
  toml: string,
  options: EdgeOptions & {
    /** Further lines of `[kubernetes]`. */
    readonly kubernetes?: string
    /** Default: one for `EDGE_USER`, made now. */
    readonly kubeconfig?: string
  } = {},
): Promise<Edge> {
  const { kubernetes = "", kubeconfig, ...rest } = options
  const path = kubeconfig ?? (await api.kubeconfigFile(EDGE_USER))
  const table = `\n[kubernetes]\nkubeconfig = ${JSON.stringify(path)}\n${kubernetes}\n`
  return await startEdge(host, `${toml}${table}`, rest)
}

/** An edge that does not run for longer than `interval` × 3 steps back: it gives its address up. */
export function vrrpToml({
  priority,
  addresses,
  interval = "100ms",
}: {
  readonly priority: number
  readonly addresses: readonly string[]
  readonly interval?: string
}) {
  return `
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
priority = ${priority}
advertisement_interval = "${interval}"
addresses = ${JSON.stringify(addresses)}
`
}

function nodeManifest(number: number): string {
  return `
apiVersion: v1
kind: Node
metadata: { name: node-${number} }
spec: { podCIDR: 10.244.${number}.0/24, podCIDRs: [10.244.${number}.0/24] }
status:
  addresses: [{ type: InternalIP, address: 192.168.1.${10 + number} }]
  conditions: [{ type: Ready, status: "True" }]
`
}

const RBAC = `${import.meta.dir}/../../config/kubernetes/rbac.yaml`
