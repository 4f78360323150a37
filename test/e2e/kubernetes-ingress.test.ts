/**
 * Ingress objects on the compiled binary: what the common tutorials apply, asked by a client that
 * knows the virtual address alone, and what becomes of it when objects and the API come and go.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { openDoor } from "../lab/door.ts"
import type { Edge } from "../lab/edge.ts"
import { median, report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { makeAuthority, makeCertificate } from "./certificates.ts"
import { HttpConnection } from "./http-connection.ts"
import { startHttpLoad } from "./http-load.ts"
import {
  addressesOf,
  answerOf,
  applyIngress,
  ask,
  createIngressStage,
  deploy,
  deployOdd,
  type IngressStage,
  ingressObject,
  ingressToml,
  removeIngress,
  secretObject,
  settle,
  startIngressEdge,
  tlsSecret,
  VIP,
} from "./kubernetes-ingress-stage.ts"

let stage: IngressStage
let edge: Edge

beforeAll(async () => {
  stage = await createIngressStage("k8s-ingress")
  await deploy(stage, "service-apiv1", { namespace: "training" })
  await deploy(stage, "service-apiv2", { namespace: "training" })
  await deploy(stage, "web", { pods: 2 })
  await deployOdd(stage)
  edge = await startIngressEdge(stage)
}, 60_000)

afterAll(() => stage?.lab.close())

describe("the tutorial: k8s.com with /api/v1 and /api/v2", () => {
  /** As the tutorials have it, but for apiVersion and its form of backends. */
  const manifest = (annotation: string, head: string, paths: readonly [string, string]) => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: training-ingress
  namespace: training
  annotations:
    ${annotation}
spec:
${head}
  rules:
  - host: k8s.com
    http:
      paths:
      - path: ${paths[0]}
        pathType: ImplementationSpecific
        backend:
          service:
            name: service-apiv1
            port:
              number: 80
      - path: ${paths[1]}
        pathType: ImplementationSpecific
        backend:
          service:
            name: service-apiv2
            port:
              number: 80
`
  const CLASS = "  ingressClassName: causeway"
  const PLAIN = ["/api/v1", "/api/v2"] as const
  const CAPTURES = ["/api/v1(/|$)(.*)", "/api/v2(/|$)(.*)"] as const

  test.each([
    [
      "the old rewrite-target replaces the prefix",
      manifest("ingress.kubernetes.io/rewrite-target: /", CLASS, PLAIN),
      "/users?x=1",
    ],
    [
      "ingress-nginx's has captures",
      manifest("nginx.ingress.kubernetes.io/rewrite-target: /$2", CLASS, CAPTURES),
      "/users?x=1",
    ],
    [
      "or replaces the whole path",
      manifest("nginx.ingress.kubernetes.io/rewrite-target: /", CLASS, PLAIN),
      "/?x=1",
    ],
    [
      "with the class by annotation",
      manifest(
        "kubernetes.io/ingress.class: causeway\n    ingress.kubernetes.io/rewrite-target: /",
        "",
        PLAIN,
      ),
      "/users?x=1",
    ],
  ])("%s", async (_, text, path) => {
    await stage.api.apply(text)
    await settle(stage)
    const answers = []
    for (const place of ["k8s.com/api/v1/users?x=1", "k8s.com/api/v2/users?x=1"]) {
      answers.push(await answerOf(stage, place))
    }
    expect(answers).toEqual([`service-apiv1-1 ${path}`, `service-apiv2-1 ${path}`])
    expect(await answerOf(stage, "k8s.com/api/v1")).toBe("service-apiv1-1 /")
    expect(await answerOf(stage, "k8s.com/api/v10/users")).toBe("404")
    expect(await answerOf(stage, "other.com/api/v1/users")).toBe("404")
    await eventually(
      async () => (await addressesOf(stage, "training/training-ingress")).join() === VIP,
      { what: "the address in its status" },
    )
    await removeIngress(stage, "training/training-ingress")
    expect(await answerOf(stage, "k8s.com/api/v1/users")).toBe("404")
  })

  test("the example of config/kubernetes works as it is", async () => {
    const path = `${import.meta.dir}/../../config/kubernetes/ingress-path-rewrite.yaml`
    await stage.api.apply(await Bun.file(path).text())
    await settle(stage)
    expect(await answerOf(stage, "k8s.com/api/v2/a/b")).toBe("service-apiv2-1 /a/b")
    await removeIngress(stage, "training/api")
  })
})

describe("changes", () => {
  const web = (name: string, host: string, path = "/") => ({
    name,
    rules: [[`${host}${path}`, "web"] as const],
  })

  test("reach the data threads quickly", async () => {
    const door = await openDoor(stage.client, `${VIP}:80`)
    using connection = await HttpConnection.open(door)
    const tookMs: number[] = []
    for (let round = 0; round < 20; round += 1) {
      const host = `quick-${round}.test`
      await stage.api.apply([ingressObject(web("quick", host))])
      const startedAt = performance.now()
      let status = 0
      await eventually(
        async () => {
          status = (await connection.ask({ host, path: "/" })).status
          return status === 200
        },
        { intervalMs: 1 },
      )
      tookMs.push(performance.now() - startedAt)
    }
    report("an Ingress changed → served", {
      "median ms": median(tookMs),
      "worst ms": Math.max(...tookMs),
    })
    expect(median(tookMs)).toBeLessThan(1_000)
    await removeIngress(stage, "quick")
  })

  test("200 of them under load: no request to another host fails", async () => {
    await applyIngress(stage, web("steady", "k8s.com", "/steady"))
    const options = { paths: ["/steady"], connections: 6, intervalMs: 4 }
    const kept = await startHttpLoad(stage.client, `${VIP}:80`, options)
    const fresh = await startHttpLoad(stage.client, `${VIP}:80`, { ...options, closes: true })
    await kept.requests(100)
    for (let round = 0; round < 200; round += 1) {
      const name = `changing-${round % 10}`
      if (round % 4 === 3) await stage.api.remove("ingresses", `default/${name}`)
      else await stage.api.apply([ingressObject(web(name, `${name}.test`, `/v${round}`))])
      // Not all in one: each is to be served by itself.
      await Bun.sleep(10)
    }
    await settle(stage)
    await kept.requests(100)
    const books = [await kept.stop(), await fresh.stop()]
    const { config } = await edge.status()
    report("200 changes of Ingresses under load", {
      requests: books.reduce((sum, { requests }) => sum + requests, 0),
      failed: JSON.stringify(books.map(({ failed }) => failed)),
      reopened: books[0]?.reopened ?? -1,
      "p99 ms": books[0]?.p99Ms ?? -1,
    })
    expect(books.map(({ failed }) => failed)).toEqual([{}, {}])
    expect(config.last_error).toBeNull()
    const left = (await stage.api.list("ingresses", "default")).map(({ metadata }) => metadata.name)
    await removeIngress(stage, ...left.filter((name) => /^(changing|steady)/.test(name)))
  }, 60_000)

  test("a deleted one is not served any more, its neighbour is", async () => {
    await applyIngress(stage, web("leaving", "two.test", "/a"), web("staying", "two.test", "/b"))
    expect([await podAt("two.test/a"), await podAt("two.test/b")]).toEqual(["web", "web"])
    await removeIngress(stage, "leaving")
    expect([await podAt("two.test/a"), await podAt("two.test/b")]).toEqual(["404", "web"])
    await removeIngress(stage, "staying")
  })
})

test("a request under way goes on when its Ingress is changed, and when it is deleted", async () => {
  const leading = (service: string) => ({
    name: "slow",
    rules: [["slow.test/", service] as const],
  })
  for (const change of [
    () => applyIngress(stage, leading("web")),
    () => removeIngress(stage, "slow"),
  ]) {
    await applyIngress(stage, leading("odd"))
    // Ten bytes in two seconds.
    const answer = ask(stage, "slow.test/drip")
    await Bun.sleep(300)
    await change()
    expect(await podAt("slow.test/")).not.toBe("odd")
    const { status, body } = await answer
    expect([status, body]).toEqual([200, ".........."])
  }
})

test("hosts as clients write them", async () => {
  await applyIngress(stage, { name: "written", rules: [["written.test/", "web"]] })
  const pods = []
  for (const host of ["WRITTEN.test", "written.test:80", "written.test.", "xwritten.test"]) {
    pods.push(await podAt(`${host}/`))
  }
  expect(pods).toEqual(["web", "web", "web", "404"])
  await removeIngress(stage, "written")
})

async function podAt(place: string): Promise<string> {
  return (await answerOf(stage, place)).split("-")[0] ?? ""
}

describe("beside the file's own routes", () => {
  test("those win for the same host and path, and the rest is the Ingress's", async () => {
    await applyIngress(stage, {
      name: "contested",
      rules: [
        ["own.test/file", "web"],
        ["own.test/cluster", "web"],
        ["other.test/file", "web"],
      ],
    })
    const http = `
[[http.route]]
host = "own.test"
path = "/file"
respond = { status = 418, body = "the file" }
`
    const table = kubernetesTable(await Bun.file(edge.configPath).text())
    expect(await edge.reload(ingressToml({ http, tables: table }))).toMatchObject({ exitCode: 0 })
    const answers = []
    for (const path of ["own.test/file", "own.test/cluster", "other.test/file", "own.test/x"]) {
      answers.push(await podAt(path))
    }
    expect(answers).toEqual(["418", "web", "web", "404"])
    expect(await edge.reload(ingressToml({ tables: table }))).toMatchObject({ exitCode: 0 })
    expect(await podAt("own.test/file")).toBe("web")
    await removeIngress(stage, "contested")
  })
})

/** `[kubernetes]` of a configuration. */
function kubernetesTable(toml: string): string {
  return /\n\[kubernetes\]\n[^[]*/.exec(toml)?.[0] ?? ""
}

describe("while the API server is away", () => {
  test("all goes on, and an edge that starts then serves hosts and certificates too", async () => {
    const directory = join(stage.lab.directory, "tls")
    mkdirSync(directory)
    const authority = await makeAuthority(directory, "authority")
    const pair = await makeCertificate(authority, "kept", ["kept.test"])
    await stage.api.apply(await tlsSecret(pair, "kept"))
    const hash = (await stage.client.exec(["openssl", "passwd", "-apr1", "pass"])).trim()
    await stage.api.apply(secretObject("users", { auth: `alice:${hash}\n` }))
    await applyIngress(
      stage,
      {
        ...web("kept", "kept.test"),
        tls: [{ hosts: ["kept.test"], secretName: "kept" }],
      },
      {
        ...web("locked", "locked.test"),
        annotations: { "auth-type": "basic", "auth-secret": "users" },
      },
    )
    const words = ["--no-insecure", "--cacert", authority.cert]
    const login = { words: ["-u", "alice:pass"] }
    const everything = async () => {
      const answers = [
        await ask(stage, "locked.test/"),
        await ask(stage, "locked.test/", login),
        await ask(stage, "kept.test/", { tls: true, words }),
      ]
      return answers.map(({ status }) => status)
    }
    await eventually(async () => Bun.deepEquals(await everything(), [401, 200, 200]))
    await stateWritten(edge)
    expect(statSync(statePathOf(edge)).mode & 0o777).toBe(0o600)
    await stage.api.faults.stop("reset")
    expect(await everything()).toEqual([401, 200, 200])
    for (const how of ["stopped", "killed"] as const) {
      if (how === "stopped") await edge.stop()
      else await edge.kill()
      edge.start()
      await edge.waitReady(20_000)
      await edge.waitState("active")
      const { kubernetes } = await edge.status()
      expect([kubernetes?.restored, kubernetes?.connected]).toEqual([true, false])
      expect(await everything()).toEqual([401, 200, 200])
    }
    await stage.api.faults.start()
    await edge.waitStatus(({ kubernetes }) => kubernetes?.connected, { timeoutMs: 30_000 })
    expect(await everything()).toEqual([401, 200, 200])
    await applyIngress(stage, web("after", "after.test"))
    expect(await podAt("after.test/")).toBe("web")
  }, 60_000)

  const web = (name: string, host: string) => ({ name, rules: [[`${host}/`, "web"] as const] })
})

/** Waits until the copy on disk has the last change. */
async function stateWritten(edge: Edge): Promise<void> {
  const written = async () => (await Bun.file(statePathOf(edge)).text()).includes('"locked"')
  await eventually(written, {
    what: "the copy on disk",
    timeoutMs: 30_000,
  })
}

function statePathOf({ directory }: Edge): string {
  return join(directory, "state/kubernetes.jsonl")
}
