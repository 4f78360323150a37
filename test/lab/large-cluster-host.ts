/**
 * A large cluster behind one host of the lab: its API server, its nodes' addresses and its pods
 * (`large-cluster.ts`).
 */
import type { ApiServer, ApiServerOptions } from "./api-server/api-server.ts"
import { startApiServerIn } from "./api-server-host.ts"
import type { Host } from "./host.ts"
import { type ClusterSize, clusterObjects, startPods } from "./large-cluster.ts"

export interface LargeCluster {
  readonly api: ApiServer
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
  const { api } = await startApiServerIn(host, address, { ...server })
  await api.apply(await Bun.file(RBAC).text())
  const objects = clusterObjects(size, nodeAddress)
  for (let start = 0; start < objects.length; start += BATCH) {
    await api.apply(objects.slice(start, start + BATCH))
  }
  return { api, kubeconfig: await api.kubeconfigFile(EDGE_USER) }
}

const EDGE_USER = "system:serviceaccount:kube-system:causeway"
const RBAC = `${import.meta.dir}/../../config/kubernetes/rbac.yaml`
/** Objects of one call. */
const BATCH = 500
