/** The part of `/v1/status` that is about the cluster. */
import type { KubernetesResourceStatus, KubernetesStatus } from "../../admin/backend.ts"
import type { ClusterModel } from "../../kubernetes/cluster-model.ts"
import type { ElectionStatus } from "../../kubernetes/election.ts"
import type { NodeRoutes } from "../../kubernetes/pod-routes.ts"
import type { SourceStatus } from "../../kubernetes/shell/source-runner.ts"
import type { WriteQueueStatus } from "../../kubernetes/write-queue.ts"
import { formatPrefix } from "../../net/address.ts"
import { rfc3339 } from "../status.ts"

export interface ClusterFacts {
  readonly server: string
  /** "": none. */
  readonly credentialsProblem: string
  readonly isSynced: boolean
  /** Milliseconds since the epoch; undefined: nothing restored is served. */
  readonly restoredSavedAt: number | undefined
  readonly sources: readonly SourceStatus[]
  readonly election: ElectionStatus
  readonly identity: string
  readonly isWriter: boolean
  readonly writer: WriteQueueStatus
  readonly model: ReturnType<ClusterModel["status"]>
  /** Streams whose sockets could not be opened, and why. */
  readonly refusedStreams: ReadonlyMap<string, string>
  readonly nodes: readonly NodeRoutes[]
  readonly nowEpochMs: number
}

export function clusterStatus(facts: ClusterFacts): KubernetesStatus {
  const { sources, election, writer, model } = facts
  const failing = sources.filter(({ failingSinceEpochMs }) => failingSinceEpochMs !== undefined)
  return {
    server: facts.server,
    connected: sources.length > 0 && sources.every(({ isSynced }) => isSynced) && !failing.length,
    synced: facts.isSynced,
    restored: facts.restoredSavedAt !== undefined,
    age_seconds: Math.round(ageMs(facts, failing) / 1000),
    last_error: facts.credentialsProblem || (failing[0]?.lastError ?? ""),
    writer: {
      active: facts.isWriter,
      holder: election.holder,
      identity: facts.identity,
      writes: writer.written,
      refused: writer.refused,
      missing_rules: writer.missingRules,
      last_error: writer.problem || election.problem,
    },
    resources: sources.map(resourceStatus),
    pools: model.pools.map(({ pool: name, ...rest }) => ({ name, ...rest })),
    services: model.services.map(({ routers: vrrp, ...rest }) => ({ ...rest, vrrp })),
    address_pools: model.addressPools.map(({ pool, used }) => ({
      name: pool.name,
      used,
      size: Number(pool.addresses.count("IPv4") + pool.addresses.count("IPv6")),
    })),
    ingresses: model.ingresses,
    problems: problemsOf(facts),
    nodes: facts.nodes.map(({ node, state, reason, networks }) => {
      return { node, state, reason, networks: networks.map(formatPrefix) }
    }),
    published: model.published,
  }
}

/** Since when the server has told nothing about some of it; what is followed has no age. */
function ageMs(
  { restoredSavedAt, nowEpochMs }: ClusterFacts,
  failing: readonly SourceStatus[],
): number {
  const times = failing.flatMap(({ failingSinceEpochMs }) => failingSinceEpochMs ?? [])
  if (restoredSavedAt !== undefined) times.push(restoredSavedAt)
  return times.length === 0 ? 0 : Math.max(0, nowEpochMs - Math.min(...times))
}

function problemsOf({ model, refusedStreams }: ClusterFacts): KubernetesStatus["problems"] {
  const severity = "warning"
  return [
    ...model.addressPoolProblems.map(({ pool, type: reason, message }) => {
      return { object: `address pool ${pool}`, severity, reason, message }
    }),
    ...[...refusedStreams].map(([stream, message]) => {
      return { object: `Service ${stream}`, severity, reason: "CannotListen", message }
    }),
    ...model.ingressProblems.map(({ ingress, ...rest }) => {
      return { object: `Ingress ${ingress}`, ...rest }
    }),
  ]
}

function resourceStatus(source: SourceStatus): KubernetesResourceStatus {
  const { lastEventEpochMs } = source
  return {
    name: source.id,
    state: source.state,
    synced: source.isSynced,
    objects: source.objects,
    resource_version: source.resourceVersion,
    last_event: lastEventEpochMs === undefined ? null : rfc3339(lastEventEpochMs),
    last_error: source.lastError,
    unreadable: source.unreadable,
    relists: source.relists,
    watches: source.watches,
  }
}
