/**
 * The tables about a cluster: `[kubernetes]`, how to reach it; `[[address_pool]]`, what its
 * Services may be given; `[[publish]]`, what it may reach of ours; `[pool.kubernetes]`, servers
 * found in it.
 */
import type {
  AddressPoolConfig,
  KubernetesConfig,
  PoolKubernetesConfig,
  PublishConfig,
} from "./config.ts"
import { list, optional, required, type TableSchema } from "./decode.ts"
import { boolean, duration, identifier, integer, oneOf, optionalPath, text } from "./values.ts"
import {
  addressRange,
  apiServerUrl,
  ingressClassName,
  leaseKey,
  loadBalancerClassName,
  namespaceName,
  serviceName,
  servicePort,
} from "./values-kubernetes.ts"

export const kubernetesSchema: TableSchema<KubernetesConfig> = {
  name: "kubernetes",
  title: "[kubernetes]",
  fields: {
    kubeconfig: optional("kubeconfig", optionalPath, ""),
    context: optional("context", text, ""),
    apiServer: optional("api_server", apiServerUrl, ""),
    caFile: optional("ca_file", optionalPath, ""),
    tokenFile: optional("token_file", optionalPath, ""),
    namespaces: optional("namespaces", list(namespaceName, "a list of namespaces"), []),
    ingressClass: optional("ingress_class", ingressClassName, "causeway"),
    loadBalancerClass: optional("load_balancer_class", loadBalancerClassName, "causeway.dev/edge"),
    claimUnclassed: optional("claim_unclassed", boolean, true),
    podRoutes: optional("pod_routes", oneOf("auto", "off"), "auto"),
    lease: optional("lease", leaseKey, { namespace: "kube-system", name: "causeway" }),
    // The API server sends a bookmark about once a minute on a quiet watch.
    watchSilenceMs: optional("watch_silence", duration(5000, 3_600_000), 90_000),
  },
}

export const addressPoolSchema: TableSchema<AddressPoolConfig> = {
  name: "address_pool",
  title: "[[address_pool]]",
  fields: {
    name: required("name", identifier),
    addresses: required("addresses", list(addressRange, "a list of address ranges")),
    vrrp: required("vrrp", list(identifier, "a list of virtual routers")),
    autoAssign: optional("auto_assign", boolean, true),
  },
}

/** The rest comes from the stream (`draft.ts`). */
export type PublishKeys = Omit<PublishConfig, "endpoints" | "pool">

export const publishSchema: TableSchema<PublishKeys> = {
  name: "publish",
  title: "[[publish]]",
  fields: {
    stream: required("stream", identifier),
    namespace: required("namespace", namespaceName),
    service: required("service", serviceName),
    port: required("port", integer(1, 65_535)),
    direct: optional("direct", boolean, false),
  },
}

export const poolKubernetesSchema: TableSchema<PoolKubernetesConfig> = {
  name: "pool.kubernetes",
  title: "[pool.kubernetes]",
  fields: {
    namespace: required("namespace", namespaceName),
    service: required("service", serviceName),
    port: required("port", servicePort),
    reach: optional("reach", oneOf("pod", "node_port"), "pod"),
  },
}
