/**
 * How long and how much to load. Every load is bounded, so that a whole run with the default rounds
 * ends within ten minutes on two cores, and a quick one (a smoke test) within two minutes. Many
 * short samples rather than few long ones: the median then shrugs off what else the machine does.
 */
import { type ClusterSize, FULL_CLUSTER } from "../../test/lab/large-cluster.ts"

export interface Settings {
  readonly rounds: number
  /** Of one closed-loop load, in whole seconds (wrk knows no others). */
  readonly loadSeconds: number
  readonly bulkFileMib: number
  /** Files per bulk sample, one after another over one connection. */
  readonly bulkFiles: number
  /** Requests of one sample at a fixed rate. */
  readonly pacedSeconds: number
  /** TLS connections of one sample. */
  readonly handshakes: number
  /** Idle connections opened for the memory figure. */
  readonly idleConnections: number
  /** Clients that never come to the end of a request. More do not fit 20 000 descriptors. */
  readonly slowHeads: number
  /** Of each half of a round. */
  readonly slowHeadsWindows: number
  /** Milliseconds of rest before memory is looked at: idle is who has said nothing for a while. */
  readonly restMs: number
  /** Fresh processes the memory figure is the median of. */
  readonly memoryRounds: number
  /** Untimed rounds of every load before the first that counts. */
  readonly warmUpRounds: number
  /** Time spent, over the whole part, on samples taken again because other programs were busy. */
  readonly patienceSeconds: number
  /** Of the Kubernetes part. */
  readonly cluster: ClusterSize
  /** Starts with an empty state. */
  readonly clusterStarts: number
  /** Of one load at a fixed rate; six in each round. */
  readonly clusterPacedSeconds: number
  /** Of changes and load before memory is looked at again. */
  readonly clusterBusySeconds: number
}

export const FULL: Settings = {
  rounds: 6,
  loadSeconds: 1,
  bulkFileMib: 100,
  bulkFiles: 5,
  pacedSeconds: 2,
  handshakes: 1_000,
  idleConnections: 9_000,
  slowHeads: 9_700,
  slowHeadsWindows: 24,
  restMs: 3_000,
  memoryRounds: 3,
  warmUpRounds: 1,
  patienceSeconds: 30,
  cluster: FULL_CLUSTER,
  clusterStarts: 3,
  clusterPacedSeconds: 3,
  clusterBusySeconds: 60,
}

export const QUICK: Settings = {
  rounds: 1,
  loadSeconds: 1,
  bulkFileMib: 16,
  bulkFiles: 2,
  pacedSeconds: 0.5,
  handshakes: 50,
  idleConnections: 100,
  slowHeads: 500,
  slowHeadsWindows: 4,
  restMs: 300,
  memoryRounds: 1,
  warmUpRounds: 0,
  patienceSeconds: 0,
  cluster: { services: 100, endpoints: 10, balancers: 10, paths: 200, nodes: 5 },
  clusterStarts: 1,
  clusterPacedSeconds: 0.5,
  clusterBusySeconds: 2,
}
