/** What must hold within the tables about a cluster, and between them and the others. */
import { ANY_IPV6 } from "../net/address.ts"
import { isReachable } from "../net/reachable.ts"
import type { KubernetesConfig, StreamConfig } from "./config.ts"
import type { Context, Decoded } from "./decode.ts"
import type { Draft } from "./draft.ts"
import { checkPem, readSecret } from "./named-file.ts"
import { publishEndpoints } from "./publish-endpoints.ts"
import { checkAddressPools } from "./rules-address-pool.ts"
import type { PublishKeys } from "./schema-kubernetes.ts"
import { locate, type TomlNode } from "./toml.ts"

export function checkKubernetes(draft: Draft, context: Context): void {
  if (draft.kubernetes === undefined) checkNeeded(draft, context)
  else checkAccess(draft.kubernetes, context)
  checkAddressPools(draft, context)
  checkPoolSources(draft, context)
  checkPublish(draft, context)
}

/** Everything about a cluster needs to know which. */
function checkNeeded({ pools, addressPools, publish, http }: Draft, { report }: Context): void {
  const asked: (readonly [TomlNode, string])[] = [
    ...pools.flatMap(({ node }) => {
      const at = locate(node, "kubernetes")
      return at === node ? [] : ([[at, "[pool.kubernetes]"]] as const)
    }),
    ...addressPools.map(({ node }) => [node, "[[address_pool]]"] as const),
    ...publish.map(({ node }) => [node, "[[publish]]"] as const),
    ...http.flatMap(({ node, draft }) => {
      return draft.ingress ? ([[locate(node, "ingress"), "ingress = true"]] as const) : []
    }),
  ]
  for (const [at, what] of asked) {
    const hint = 'Add [kubernetes] with kubeconfig = "/etc/causeway/kubeconfig"'
    report.error(at, `${what} needs [kubernetes]`, hint)
  }
}

function checkAccess(kubernetes: Decoded<KubernetesConfig>, context: Context): void {
  const { node, draft } = kubernetes
  const { report } = context
  checkNamespaces(kubernetes, context)
  if (draft.kubeconfig === undefined || draft.apiServer === undefined) return
  if (draft.kubeconfig === "" && draft.apiServer === "") {
    const hint = 'Add kubeconfig = "/etc/causeway/kubeconfig", or api_server with its files'
    report.error(node, "[kubernetes] needs kubeconfig or api_server", hint)
  } else if (draft.kubeconfig !== "") checkKubeconfig(kubernetes, context)
  else checkApiServer(kubernetes, context)
}

function checkKubeconfig({ node, draft }: Decoded<KubernetesConfig>, context: Context): void {
  for (const key of ["api_server", "ca_file", "token_file"]) {
    if (!node.entries.has(key)) continue
    const hint = "Remove it, or remove kubeconfig"
    context.report.error(locate(node, key), `${key} is taken from the kubeconfig`, hint)
  }
  readSecret(locate(node, "kubeconfig"), draft.kubeconfig ?? "", context)
}

function checkApiServer({ node, draft }: Decoded<KubernetesConfig>, context: Context): void {
  const { report } = context
  const { context: name, caFile, tokenFile, apiServer = "" } = draft
  if (name) report.error(locate(node, "context"), "context needs a kubeconfig", "Remove it")
  if (caFile) checkPem(locate(node, "ca_file"), caFile, context)
  if (tokenFile) readSecret(locate(node, "token_file"), tokenFile, context)
  if (tokenFile !== "" || apiServer.startsWith("http:")) return
  const hint = `README.md, "Kubernetes", says how to make one; or use a kubeconfig`
  report.error(locate(node, "api_server"), "api_server needs token_file", hint)
}

function checkNamespaces({ node, draft }: Decoded<KubernetesConfig>, { report }: Context): void {
  const namespaces = draft.namespaces ?? []
  for (const [index, name] of namespaces.entries()) {
    if (namespaces.indexOf(name) === index) continue
    report.error(locate(node, "namespaces", index), `${name} is listed twice`)
  }
}

/** A namespace that is not watched would look empty. */
function checkWatched(
  at: TomlNode,
  namespace: string | undefined,
  { draft, context }: { readonly draft: Draft; readonly context: Context },
): void {
  const watched = draft.kubernetes?.draft.namespaces ?? []
  if (namespace === undefined || watched.length === 0 || watched.includes(namespace)) return
  const message = `The namespace "${namespace}" is not among those of [kubernetes]`
  context.report.error(at, message, `Add "${namespace}" to its namespaces, or empty the list`)
}

function checkPoolSources(draft: Draft, context: Context): void {
  for (const { node, draft: pool } of draft.pools) {
    const at = locate(node, "kubernetes")
    if (at === node) continue
    checkWatched(locate(at, "namespace"), pool.kubernetes?.namespace, { draft, context })
    if (!node.entries.has("servers")) continue
    const message = "A pool has servers or [pool.kubernetes], not both"
    context.report.error(locate(node, "servers"), message, "Keep one of them")
  }
}

function checkPublish(draft: Draft, context: Context): void {
  const first = new Map<string, TomlNode>()
  for (const publish of draft.publish) {
    const { node, draft: keys } = publish
    checkWatched(locate(node, "namespace"), keys.namespace, { draft, context })
    const stream = draft.streams.find((each) => each.draft.name === keys.stream)
    if (stream !== undefined) checkTargets(publish, { stream, draft }, context)
    if (keys.namespace === undefined || keys.service === undefined) continue
    const key = `${keys.namespace}/${keys.service}`
    const earlier = first.get(key)
    if (earlier === undefined) first.set(key, node)
    else {
      const hint = `The first is at ${context.report.place(earlier)}`
      context.report.error(locate(node, "service"), `${key} is published twice`, hint)
    }
  }
}

interface Target {
  readonly stream: Decoded<StreamConfig>
  readonly draft: Draft
}

function checkTargets(publish: Decoded<PublishKeys>, target: Target, context: Context): void {
  const { report } = context
  const { stream, draft } = target
  const at = locate(publish.node, "stream")
  if (publish.draft.direct) return checkServers(at, target, context)
  if (stream.draft.bind === undefined || draft.vrrp.some(({ value }) => value === undefined)) return
  const routers = draft.vrrp.flatMap(({ value }) => value ?? [])
  const endpoints = publishEndpoints(stream.draft.bind, routers)
  if (endpoints.length === 0) {
    const problem = "it is bound to no address of [[vrrp]]"
    const message = `Pods cannot reach stream "${stream.draft.name}": ${problem}`
    report.error(at, message, `Its bind is at ${report.place(locate(stream.node, "bind"))}`)
  }
  const virtual = new Set(publishEndpoints(ANYWHERE, routers).map(({ address }) => address))
  for (const { address } of endpoints) {
    if (virtual.has(address)) continue
    const message = `${address} is no address of [[vrrp]]: the Service ends with this host`
    report.warning(at, message, "Bind the stream to a virtual address")
  }
}

function checkServers(at: TomlNode, { stream, draft }: Target, { report }: Context): void {
  const pool = draft.pools.find((each) => each.draft.name === stream.draft.pool)
  for (const { name, endpoint } of pool?.draft.servers ?? []) {
    if (isReachable(endpoint.address)) continue
    const message = `Pods cannot reach the server ${name} directly: it is left out`
    report.warning(at, message, "Give it an address of the network, or remove direct = true")
  }
}

const ANYWHERE = [{ address: ANY_IPV6, port: 0 }]
