/**
 * A program that asks for every path of every Ingress, and at every LoadBalancer's address, of a
 * large cluster, once each, and looks whether a pod of the right Service answers. To be run in a
 * client's host. Argument: JSON `VisitOptions`. Writes one line of JSON, `VisitResult`.
 */
import { balancerAddress, type ClusterSize, clusterPaths, serviceOf } from "./large-cluster.ts"

export interface VisitOptions {
  readonly size: ClusterSize
  /** ADDRESS:PORT of the listener for Ingresses. */
  readonly target: string
}

export interface VisitResult {
  /** Answers of the right Service. */
  readonly paths: number
  readonly balancers: number
  /** What went wrong, the first ones of it. */
  readonly problems: readonly string[]
}

async function main({ size, target }: VisitOptions): Promise<void> {
  const problems: string[] = []
  const visit = async (url: string, init: RequestInit, service: number): Promise<boolean> => {
    const answer = await answerOf(url, init)
    if (answer.ok && serviceOf(answer.text) === service) return true
    problems.push(`${url} of service ${service}: ${answer.text}`)
    return false
  }
  const paths = await counted(clusterPaths(size), ({ host, path, service }) =>
    visit(`http://${target}${path}`, { headers: { Host: host } }, service),
  )
  const indexes = Array.from({ length: size.balancers }, (_, index) => index)
  const balancers = await counted(indexes, (index) =>
    visit(`http://${balancerAddress(index)}/`, { keepalive: false }, index),
  )
  const result: VisitResult = { paths, balancers, problems: problems.slice(0, PROBLEMS_MAX) }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

/** How many come out true, some at a time. */
async function counted<T>(all: readonly T[], visit: (one: T) => Promise<boolean>) {
  let count = 0
  let next = 0
  const work = async () => {
    while (next < all.length) if (await visit(all[next++] as T)) count += 1
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return count
}

async function answerOf(url: string, init: RequestInit): Promise<{ ok: boolean; text: string }> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) })
    const text = (await response.text()).trim()
    return { ok: response.ok, text: response.ok ? text : `${response.status} ${text}` }
  } catch (error) {
    return { ok: false, text: String(error) }
  }
}

const AT_ONCE = 16
const TIMEOUT_MS = 5_000
const PROBLEMS_MAX = 5

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? ""))
