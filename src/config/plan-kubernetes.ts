/** What `causeway check` says of the cluster: how it is asked, and what of it is served. */
import { formatEndpoint } from "../net/address.ts"
import { formatAddressRange, rangeSize } from "../net/address-range.ts"
import type {
  AddressPoolConfig,
  Config,
  KubernetesConfig,
  PoolKubernetesConfig,
  PublishConfig,
} from "./config.ts"
import { formatDuration } from "./units.ts"

export function formatKubernetes(config: Config): string[] {
  return [
    ...(config.kubernetes === undefined ? [] : formatCluster(config.kubernetes, config)),
    ...config.addressPools.flatMap(formatAddressPool),
    ...config.publish.flatMap(formatPublish),
  ]
}

/** As data, in the snake_case of the admin API. */
export function kubernetesJson({ kubernetes, addressPools, publish }: Config) {
  return {
    kubernetes: kubernetes === undefined ? null : clusterJson(kubernetes),
    address_pools: addressPools.map(({ name, addresses, vrrp, autoAssign }) => ({
      name,
      addresses: addresses.map(formatAddressRange),
      vrrp,
      auto_assign: autoAssign,
    })),
    publish: publish.map(({ stream, namespace, service, port, direct, endpoints }) => ({
      ...{ stream, namespace, service, port, direct },
      endpoints: endpoints.map(formatEndpoint),
    })),
  }
}

/** Where a pool's servers come from. */
export function formatSource({ namespace, service, port, reach }: PoolKubernetesConfig): string {
  const through = reach === "pod" ? "the pods" : "the node ports"
  return `${through} of Service ${namespace}/${service}, port ${port}`
}

function formatCluster(kubernetes: KubernetesConfig, config: Config): string[] {
  const { namespaces, lease, podRoutes, watchSilenceMs } = kubernetes
  const watched = namespaces.length === 0 ? "all namespaces" : namespaces.join(", ")
  const listeners = config.http.filter(({ ingress }) => ingress).map(({ name }) => name)
  return [
    `kubernetes: ${formatAccess(kubernetes)}`,
    `    watches ${watched}; asks anew after ${formatDuration(watchSilenceMs)} of silence`,
    ...(listeners.length === 0
      ? []
      : [`    Ingress class ${kubernetes.ingressClass} on http ${listeners.join(", ")}`]),
    ...formatServices(kubernetes, config),
    podRoutes === "auto"
      ? "    routes to the pods of each node"
      : "    no routes to pods: the network has them, or nobody needs them",
    `    one edge at a time writes: the one with Lease ${lease.namespace}/${lease.name}`,
  ]
}

function formatAccess({ kubeconfig, context, apiServer, tokenFile }: KubernetesConfig): string {
  if (kubeconfig === "") return `${apiServer}${tokenFile === "" ? "" : `, token ${tokenFile}`}`
  return `${kubeconfig}, ${context === "" ? "its current context" : `context ${context}`}`
}

/** Without an address pool of its own the edge may still find MetalLB's in the cluster. */
function formatServices(
  { loadBalancerClass, claimUnclassed }: KubernetesConfig,
  { addressPools, vrrp }: Config,
): string[] {
  const classes = [
    ...(loadBalancerClass === "" ? [] : [`of class ${loadBalancerClass}`]),
    ...(claimUnclassed ? ["without a class"] : []),
  ]
  if (vrrp.length === 0) return []
  if (classes.length === 0) return ["    no Services of type LoadBalancer"]
  const source = addressPools.length === 0 ? ", where the cluster has pools of MetalLB" : ""
  return [`    LoadBalancer Services ${classes.join(" and ")}${source}`]
}

function formatAddressPool({ name, addresses, vrrp, autoAssign }: AddressPoolConfig): string[] {
  const size = addresses.reduce((sum, range) => sum + rangeSize(range), 0n)
  const given = autoAssign ? "" : ", only when asked for"
  return [
    `address pool ${name}: ${size} ${size === 1n ? "address" : "addresses"}${given}`,
    `    ${addresses.map(formatAddressRange).join(", ")}`,
    `    carried by vrrp ${vrrp.join(", ")}`,
  ]
}

function formatPublish(publish: PublishConfig): string[] {
  const { namespace, service, port, stream, endpoints, direct, pool } = publish
  const target = direct
    ? `the servers of pool ${pool} that are up`
    : endpoints.map(formatEndpoint).join(", ")
  return [`publish ${service}.${namespace}.svc:${port} → ${target} (stream ${stream})`]
}

function clusterJson(kubernetes: KubernetesConfig) {
  const { lease } = kubernetes
  return {
    kubeconfig: kubernetes.kubeconfig,
    context: kubernetes.context,
    api_server: kubernetes.apiServer,
    namespaces: kubernetes.namespaces,
    ingress_class: kubernetes.ingressClass,
    load_balancer_class: kubernetes.loadBalancerClass,
    claim_unclassed: kubernetes.claimUnclassed,
    pod_routes: kubernetes.podRoutes,
    lease: `${lease.namespace}/${lease.name}`,
    watch_silence_ms: kubernetes.watchSilenceMs,
  }
}
