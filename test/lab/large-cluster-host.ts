/**
 * A large cluster behind one host of the lab: its API server, its nodes' addresses and its pods
 * (`large-cluster.ts`).
 */
import type { ApiServerOptions } from "./api-server/api-server.ts"
import { type HostedApiServer, startApiServerIn } from "./api-server-host.ts"
import type { Host } from "./host.ts"
import { BALANCER_POOL, type ClusterSize, clusterObjects, startPods } from "./large-cluster.ts"
import type { VisitOptions, VisitResult } from "./large-cluster-visitor.ts"

export interface LargeCluster extends HostedApiServer {
  /** Kubeconfig of a user with the rights of `config/kubernetes/rbac.yaml`. */
  readonly kubeconfig: string
}

export interface LargeClusterOptions {
  /** Of the host, in the /24 where the edge is; nodes take its neighbours' from .100 up. */
  readonly address: string
  readonly size: ClusterSize
  readonly server?: ApiServerOptions
}

export async function startLargeCluster(
  host: Host,
  { address, size, server }: LargeClusterOptions,
): Promise<LargeCluster> {
  const network = address.slice(0, address.lastIndexOf("."))
  const nodeAddress = (node: number) => `${network}.${100 + node}`
  const addresses = Array.from({ length: size.nodes }, (_, node) => nodeAddress(node))
  for (const each of addresses) await host.ip(`address add ${each}/24 dev eth0`)
  await startPods(host)
  const hosted = await startApiServerIn(host, address, { ...server })
  const { api } = hosted
  await api.apply(await Bun.file(RBAC).text())
  const objects = clusterObjects(size, nodeAddress)
  for (let start = 0; start < objects.length; start += BATCH) {
    await api.apply(objects.slice(start, start + BATCH))
  }
  return { ...hosted, kubeconfig: await api.kubeconfigFile(EDGE_USER) }
}

/** Asks for everything once, from `client`; see `VisitResult`. */
export async function visitAll(client: Host, options: VisitOptions): Promise<VisitResult> {
  const program = `${import.meta.dir}/large-cluster-visitor.ts`
  return JSON.parse(await client.exec([process.execPath, program, JSON.stringify(options)]))
}

/** All of its tables but `[node]` and `[admin]`; the router's interface is the client's. */
export function largeClusterToml(
  { kubeconfig }: Pick<LargeCluster, "kubeconfig">,
  edge: { readonly interface: string; readonly address: string; readonly virtualAddress: string },
): string {
  return `
[kubernetes]
kubeconfig = ${JSON.stringify(kubeconfig)}

[[vrrp]]
name = "edge"
interface = "${edge.interface}"
virtual_router_id = 51
priority = 100
advertisement_interval = "100ms"
addresses = ["${edge.virtualAddress}"]

[[address_pool]]
name = "services"
addresses = ["${BALANCER_POOL}"]
vrrp = ["edge"]

[[http]]
name = "web"
bind = ["${edge.address}:80"]
ingress = true
idle_timeout = "10m"
`
}

const EDGE_USER = "system:serviceaccount:kube-system:causeway"
const RBAC = `${import.meta.dir}/../../config/kubernetes/rbac.yaml`
/** Objects of one call. */
const BATCH = 500
