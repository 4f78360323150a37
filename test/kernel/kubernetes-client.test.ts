/**
 * The Kubernetes client against the stand-in API server over TLS: reflectors, mirror, credentials
 * and what all of them do while the server is broken in the ways API servers break.
 */
import { afterEach, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Feature } from "../../src/kubernetes/access-rules.ts"
import { type ClusterAccess, readKubeconfig } from "../../src/kubernetes/kubeconfig.ts"
import { Mirror, type MirrorChange } from "../../src/kubernetes/mirror.ts"
import { wantedResources } from "../../src/kubernetes/resources.ts"
import { ApiClient } from "../../src/kubernetes/shell/api-client.ts"
import { Credentials } from "../../src/kubernetes/shell/credentials.ts"
import { Reflectors } from "../../src/kubernetes/shell/reflector-driver.ts"
import { readStateFile, StateFile } from "../../src/kubernetes/shell/state-file.ts"
import { Logger } from "../../src/log/logger.ts"
import { instant } from "../../src/net/time.ts"
import {
  type ApiServer,
  type ApiServerOptions,
  type KubeconfigForm,
  startApiServer,
} from "../lab/api-server/api-server.ts"
import { eventually } from "../lab/wait.ts"

const closing: (() => Promise<unknown> | unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function server(options: ApiServerOptions = {}): Promise<ApiServer> {
  const api = await startApiServer({ bookmarkIntervalMs: 200, ...options })
  closing.push(() => api.close())
  return api
}

interface ClientOptions {
  readonly features?: readonly Feature[]
  readonly namespaces?: readonly string[]
  readonly silenceMs?: number
  readonly user?: string
  readonly form?: KubeconfigForm
}

async function accessTo(
  api: ApiServer,
  user: string,
  form: KubeconfigForm,
): Promise<ClusterAccess> {
  const path = await api.kubeconfigFile(user, { form })
  const result = readKubeconfig(await Bun.file(path).text(), {
    directory: dirname(path),
    context: "",
    parseYaml: (text) => Bun.YAML.parse(text),
  })
  if (!result.ok) throw new Error(result.message)
  return result.access
}

/** Everything that an edge has of the client, started. */
async function client(api: ApiServer, options: ClientOptions = {}) {
  const { features = ["pools"], namespaces = [], silenceMs = 5000 } = options
  const access = await accessTo(api, options.user ?? "admin", options.form ?? "token")
  const mirror = new Mirror()
  const changes: MirrorChange[] = []
  const lines: string[] = []
  const log = new Logger({
    settings: { level: "debug", format: "text" },
    write: (line) => lines.push(line),
    now: () => new Date(),
    isJournal: false,
  })
  const reflectors = new Reflectors({
    ...{ mirror, log, silenceMs, random: () => 0 },
    client: new ApiClient(access),
    sources: wantedResources(features, namespaces),
    onChange: (batch) => changes.push(...batch),
  })
  closing.push(() => reflectors.stop())
  reflectors.start()
  const its = { access, mirror, reflectors, changes, lines, log }
  return {
    ...its,
    status: (id: string) => reflectors.status().find((each) => each.id === id),
    synced: () => eventually(() => reflectors.isSynced(), { what: `sync: ${lines.join("\n")}` }),
    /** Waits until the mirror has a Service of this name with this port. */
    sees: (name: string, port = 80) =>
      eventually(() => mirror.view.services.get(`shop/${name}`)?.ports[0]?.port === port, {
        what: `Service ${name}: ${lines.join("\n")}`,
      }),
  }
}

function service(name: string, port = 80) {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "shop" },
    spec: { ports: [{ port }], selector: { app: name } },
  }
}

function slice(name: string, address: string) {
  const labels = { "kubernetes.io/service-name": "web" }
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, namespace: "shop", labels },
    addressType: "IPv4",
    ports: [{ name: "", port: 8080, protocol: "TCP" }],
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
  }
}

/** Requests of the client by verb, for one resource. */
async function asked(api: ApiServer, verb: string, resource = "services"): Promise<number> {
  const requests = await api.requests()
  return requests.filter((each) => each.verb === verb && each.resource === resource).length
}

describe("Reflectors against an API server", () => {
  test("Reflectors mirror what is there and follow it, with one stream per resource", async () => {
    const api = await server()
    await api.apply([service("web"), slice("web-1", "10.0.0.1")])
    const edge = await client(api)
    await edge.synced()
    await edge.sees("web")
    expect(edge.mirror.slicesOf("shop/web")).toHaveLength(1)
    const at = performance.now()
    await api.apply(slice("web-1", "10.0.0.2"))
    await eventually(
      () => edge.mirror.slicesOf("shop/web")[0]?.endpoints[0]?.addresses[0] === "10.0.0.2",
      { intervalMs: 1 },
    )
    expect(performance.now() - at).toBeLessThan(1000)
    await api.remove("services", "shop/web")
    await eventually(() => !edge.mirror.view.services.has("shop/web"))
    expect(await asked(api, "list")).toBe(0)
    expect(await asked(api, "watch")).toBe(1)
  })

  test("Reflectors list in pages where the server has no streaming lists", async () => {
    const api = await server({ watchList: false })
    await api.apply(Array.from({ length: 1203 }, (_, index) => service(`s${index}`)))
    const edge = await client(api)
    await edge.synced()
    expect(edge.mirror.view.services.size).toBe(1204) // and the API's own
    expect(await asked(api, "list")).toBe(3)
    await api.apply(service("late"))
    await edge.sees("late")
  })

  test("Reflectors start anew when a page expired while they listed", async () => {
    const api = await server({ watchList: false })
    await api.apply(Array.from({ length: 700 }, (_, index) => service(`s${index}`)))
    await api.faults.delay(200)
    const edge = await client(api)
    await eventually(async () => (await asked(api, "list")) >= 1, { intervalMs: 1 })
    for (let index = 0; index < 20; index++) {
      await Bun.sleep(20)
      await api.apply(service("moving", index + 1))
      await api.faults.compact()
    }
    await api.faults.clear()
    await edge.synced()
    await edge.sees("moving", 20)
    expect(edge.mirror.view.services.size).toBe(702)
  })

  test("Reflectors resume from bookmarks after ends and resets, without asking for all", async () => {
    const api = await server()
    const edge = await client(api)
    await edge.synced()
    await api.faults.advance(50)
    const revision = await api.revision()
    await eventually(() => Number(edge.status("services")?.resourceVersion) >= revision)
    await Bun.sleep(1100) // a shorter watch would be followed by a pause
    await api.faults.compact()
    await api.faults.cutWatches("end")
    await api.apply(service("after-end"))
    await edge.sees("after-end")
    await Bun.sleep(1100)
    await api.faults.cutWatches("reset")
    await api.apply(service("after-reset"))
    await edge.sees("after-reset")
    expect(edge.status("services")?.relists).toBe(1)
    expect(await asked(api, "list")).toBe(0)
  })

  for (const goneAs of ["event", "http"] as const) {
    test(`Reflectors ask for all when their version has expired (410 as ${goneAs})`, async () => {
      const api = await server({ goneAs, bookmarkIntervalMs: 60_000 })
      await api.apply([service("web"), service("gone")])
      const edge = await client(api)
      await edge.synced()
      await Bun.sleep(1100)
      await api.faults.stop()
      await api.remove("services", "shop/gone")
      await api.apply([service("web", 81), service("new")])
      edge.changes.length = 0
      await api.faults.start()
      await edge.sees("new")
      expect(edge.status("services")?.relists).toBe(2)
      // Only the difference, and nothing in between.
      const services = edge.changes.filter(({ kind }) => kind === "services")
      expect(services.map(({ key, after }) => [key, after === undefined])).toEqual([
        ["shop/new", false],
        ["shop/web", false],
        ["shop/gone", true],
      ])
    })
  }

  test("Reflectors keep the state while the server is away and resume without a list", async () => {
    const api = await server()
    await api.apply(service("web"))
    const edge = await client(api)
    await edge.synced()
    await api.faults.stop()
    await eventually(() => edge.status("services")?.lastError.includes("ECONNREFUSED"))
    expect(edge.status("services")).toMatchObject({ state: "retrying", isSynced: true })
    expect(edge.mirror.view.services.has("shop/web")).toBe(true)
    await api.faults.start({ keepHistory: true })
    await api.apply(service("web", 81))
    await edge.sees("web", 81)
    expect(edge.status("services")).toMatchObject({ state: "watching", lastError: "", relists: 1 })
    expect(edge.lines.join("\n")).toContain("Following a resource again")
  })

  test("Reflectors notice a half-open watch by its silence", async () => {
    const api = await server({ bookmarkIntervalMs: 100 })
    const edge = await client(api, { silenceMs: 600 })
    await edge.synced()
    await Bun.sleep(1000)
    expect(await asked(api, "watch")).toBe(1) // bookmarks keep a quiet watch alive
    await api.faults.stallWatches()
    await eventually(async () => (await asked(api, "watch")) >= 2)
    await api.apply(service("meanwhile"))
    await api.faults.clear()
    await edge.sees("meanwhile")
    expect(await asked(api, "list")).toBe(0)
  })

  test("Reflectors honour Retry-After, and do not ask for all because of 429 and 500", async () => {
    const api = await server()
    const edge = await client(api)
    await edge.synced()
    await Bun.sleep(1100)
    await api.faults.tooManyRequests({ verb: "watch", retryAfterSeconds: 2, count: 2 })
    const at = performance.now()
    await api.faults.cutWatches("end")
    await api.apply(service("after-429"))
    await edge.sees("after-429")
    expect(performance.now() - at).toBeGreaterThan(1900)
    await Bun.sleep(1100)
    await api.faults.serverErrors({ verb: "watch", count: 2 })
    await api.faults.cutWatches("end")
    await api.apply(service("after-500"))
    await edge.sees("after-500")
    expect(edge.status("services")?.relists).toBe(1)
  })

  test("Reflectors survive a restored backup, whose versions are older", async () => {
    const api = await server()
    await api.apply(service("kept"))
    await api.faults.backup()
    const edge = await client(api, { silenceMs: 700 })
    await edge.synced()
    await api.apply(service("lost"))
    await edge.sees("lost")
    await Bun.sleep(1100)
    await api.faults.restore()
    await eventually(() => !edge.mirror.view.services.has("shop/lost"))
    await api.apply(service("new"))
    await edge.sees("new")
    expect([...edge.mirror.view.services.keys()]).toContain("shop/kept")
  })

  test("Reflectors take add-ons for empty until they are installed", async () => {
    const api = await server()
    const edge = await client(api, { features: ["services"] })
    await edge.synced()
    expect(edge.status("metalLbPools")).toMatchObject({
      state: "absent",
      objects: 0,
      lastError: "",
    })
  })

  test("Reflectors name what RBAC denies and mirror the rest", async () => {
    const api = await server()
    await api.addUser("edge")
    await api.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: some }
rules: [{ apiGroups: [""], resources: [services], verbs: [list, watch] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: some }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: some }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: edge }]
`)
    const edge = await client(api, { user: "edge", form: "certificate" })
    await eventually(() => edge.status("services")?.isSynced)
    await eventually(() => edge.status("endpointSlices")?.state === "forbidden")
    const error = edge.status("endpointSlices")?.lastError ?? ""
    expect(error).toContain(
      '403 Forbidden: endpointslices.discovery.k8s.io is forbidden: User "edge"',
    )
    expect(edge.reflectors.isSynced()).toBe(false)
  })

  test("Reflectors watch single namespaces and single Secrets", async () => {
    const api = await server()
    const secret = (name: string, type: string, data: object, namespace = "shop") => ({
      ...{ apiVersion: "v1", kind: "Secret", metadata: { name, namespace }, type, data },
    })
    const pair = { "tls.crt": "QQ==", "tls.key": "Qg==" }
    await api.apply([
      secret("cert", "kubernetes.io/tls", pair),
      secret("cert", "kubernetes.io/tls", pair, "other"),
      secret("users", "Opaque", { auth: "YTpi" }),
      secret("password", "Opaque", { password: "eA==" }),
    ])
    const edge = await client(api, { features: ["ingress"], namespaces: ["shop"] })
    await edge.synced()
    expect([...edge.mirror.view.secrets.keys()]).toEqual(["shop/cert"])
    expect(edge.reflectors.wantSecrets(["shop/users", "shop/missing", "nonsense"])).toEqual([])
    await eventually(() => edge.mirror.view.secrets.get("shop/users")?.data["auth"] === "a:b")
    await api.patch("secrets", "shop/users", { data: { auth: "YTpj" } })
    await eventually(() => edge.mirror.view.secrets.get("shop/users")?.data["auth"] === "a:c")
    edge.reflectors.wantSecrets([])
    expect([...edge.mirror.view.secrets.keys()]).toEqual(["shop/cert"])
  })
})

describe("credentials against an API server", () => {
  const FORMS: readonly KubeconfigForm[] = [
    ...(["token", "token-file", "certificate", "certificate-files"] as const),
  ]
  for (const form of FORMS) {
    test(`ApiClient is who the kubeconfig says (${form})`, async () => {
      const api = await server()
      const apiClient = new ApiClient(await accessTo(api, "edge", form))
      expect(await apiClient.get("/api/v1/services")).toMatchObject({
        failure: { code: 403, message: expect.stringContaining('User "edge" cannot list') },
      })
    })
  }

  test("ApiClient does not believe a server of another authority", async () => {
    const [api, other] = [await server(), await server()]
    const access = { ...(await accessTo(api, "edge", "token")), server: other.url }
    expect(await new ApiClient(access).get("/api")).toMatchObject({
      ok: false,
      failure: { kind: "connection", message: expect.stringContaining("authority") },
    })
  })

  test("ApiClient reads a rotated token at once when the old one is refused", async () => {
    const api = await server()
    const access = await accessTo(api, "admin", "token-file")
    const apiClient = new ApiClient(access)
    expect(await apiClient.get("/api/v1/services")).toMatchObject({ ok: true })
    await api.revokeTokens("admin")
    expect(await apiClient.get("/api/v1/services")).toMatchObject({ failure: { code: 401 } })
    const path = access.token?.type === "file" ? access.token.path : ""
    writeFileSync(path, await api.issueToken("admin"))
    expect(await apiClient.get("/api/v1/services")).toMatchObject({ ok: true })
  })

  test("Credentials look at their files every ten seconds and keep what they had", async () => {
    const api = await server()
    const access = await accessTo(api, "admin", "token-file")
    const path = access.token?.type === "file" ? access.token.path : ""
    let now = 0
    const credentials = new Credentials(access, { now: () => instant(now) })
    const token = async () => {
      const result = await credentials.current()
      return result.ok ? result.credentials.token : result.message
    }
    const first = await token()
    writeFileSync(path, "second\n")
    now = 9_999
    expect(await token()).toBe(first)
    now = 10_000
    expect(await token()).toBe("second")
    writeFileSync(path, "two\nlines")
    now = 20_000
    expect(await token()).toBe("second")
    expect(credentials.problem()).toContain("not one line of text")
  })
})

describe("state on disk", () => {
  test("an edge that starts while the API is away knows what it last knew", async () => {
    const api = await server()
    await api.apply([service("web"), service("gone"), slice("web-1", "10.0.0.1")])
    const first = await client(api)
    await first.synced()
    const path = join(api.directory, "state")
    const file = new StateFile({
      ...{
        path,
        cluster: () => api.url,
        log: first.log,
        isCurrent: () => first.reflectors.isSynced(),
      },
      snapshot: () => first.mirror.snapshot(),
    })
    file.touch()
    await file.stop()
    first.reflectors.stop()
    await api.faults.stop()

    const saved = await readStateFile(path, api.url)
    if (!saved.ok) throw new Error(saved.message)
    const second = await client(api)
    second.reflectors.restore(saved.snapshot)
    expect(second.mirror.view.services.has("shop/web")).toBe(true)
    expect(second.mirror.slicesOf("shop/web")).toHaveLength(1)
    expect(second.reflectors.isSynced()).toBe(false)
    await api.remove("services", "shop/gone")
    await api.faults.start()
    await second.synced()
    const changed = second.changes.map(({ key, after }) => [key, after === undefined])
    expect(changed).toEqual([["shop/gone", true]])
  })
})
