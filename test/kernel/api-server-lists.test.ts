/** Lists, pages and watches of the lab's API server, as a reflector meets them; faults included. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import {
  type ApiServer,
  type ApiServerOptions,
  startApiServer,
} from "../lab/api-server/api-server.ts"
import { ApiClient } from "../lab/api-server/client.ts"
import { type ApiObject, at, listAt } from "../lab/api-server/object.ts"

let api: ApiServer
let client: ApiClient

/** A fresh server for each chapter; revisions begin at 41,000. */
function withServer(options: ApiServerOptions = {}): void {
  beforeAll(async () => {
    api = await startApiServer(options)
    client = new ApiClient(api, await api.issueToken("admin"))
  })
  afterAll(() => api.close())
}

describe("lists", () => {
  withServer({ custom: ["metallb"], freshnessTimeoutMs: 200 })
  beforeAll(async () => {
    await api.apply(["a", "b", "c", "d", "e"].map((name) => configMap(name)))
  })

  test("name the kind once, and their items not at all", async () => {
    const { body } = await client.get(`${maps}?limit=1`)
    expect(body).toMatchObject({ kind: "ConfigMapList", apiVersion: "v1" })
    expect(Object.keys(Object(at(body, "items", 0)))).toEqual(["metadata", "data"])
  })

  test("of custom resources name the kind of each item", async () => {
    await api.apply({
      apiVersion: "metallb.io/v1beta1",
      kind: "IPAddressPool",
      metadata: { name: "p", namespace: "m" },
      spec: { addresses: [] },
    })
    const { body } = await client.get("/apis/metallb.io/v1beta1/ipaddresspools")
    expect(at(body, "kind")).toBe("IPAddressPoolList")
    expect(at(body, "items", 0)).toMatchObject({
      kind: "IPAddressPool",
      apiVersion: "metallb.io/v1beta1",
    })
  })

  test("come in pages of one revision, whatever happens meanwhile", async () => {
    const first = await client.get(`${maps}?limit=2`)
    expect(namesIn(first.body)).toEqual(["a", "b"])
    expect(at(first.body, "metadata", "remainingItemCount")).toBe(3)
    await api.remove("configmaps", "default/c")
    await api.apply(configMap("bb"))
    const second = await client.get(`${maps}?limit=2&continue=${tokenIn(first.body)}`)
    expect(namesIn(second.body)).toEqual(["c", "d"])
    expect(versionIn(second.body)).toBe(versionIn(first.body))
    const third = await client.get(`${maps}?limit=2&continue=${tokenIn(second.body)}`)
    expect(namesIn(third.body)).toEqual(["e"])
    expect(at(third.body, "metadata", "continue")).toBeUndefined()
    await api.remove("configmaps", "default/bb")
    await api.apply(configMap("c"))
  })

  test("answer 410 to an old page, with a token that goes on inconsistently", async () => {
    const first = await client.get(`${maps}?limit=2`)
    await api.apply(configMap("ba"))
    await api.faults.compact()
    const late = await client.get(`${maps}?limit=2&continue=${tokenIn(first.body)}`)
    expect(late.status).toBe(410)
    expect(late.body).toMatchObject({ reason: "Expired", code: 410 })
    expect(at(late.body, "message")).toStartWith("The provided continue parameter is too old")
    const rest = await client.get(`${maps}?limit=9&continue=${tokenIn(late.body)}`)
    expect(namesIn(rest.body)).toEqual(["ba", "c", "d", "e"])
    await api.remove("configmaps", "default/ba")
  })

  test("ignore the limit for resourceVersion=0", async () => {
    const { body } = await client.get(`${maps}?limit=2&resourceVersion=0`)
    expect(namesIn(body)).toEqual(["a", "b", "c", "d", "e"])
  })

  test("of an exact revision show the past", async () => {
    const revision = await api.revision()
    await api.remove("configmaps", "default/a")
    const query = `resourceVersion=${revision}&resourceVersionMatch=Exact`
    const then = await client.get(`${maps}?${query}`)
    expect(namesIn(then.body)).toEqual(["a", "b", "c", "d", "e"])
    expect(versionIn(then.body)).toBe(String(revision))
    const now = await client.get(`${maps}?resourceVersion=${revision}`)
    expect(namesIn(now.body)).toEqual(["b", "c", "d", "e"])
    await api.faults.compact()
    const forgotten = await client.get(`${maps}?${query}`)
    expect(forgotten.status).toBe(410)
    expect(at(forgotten.body, "message")).toBe(
      "The resourceVersion for the provided list is too old.",
    )
    await api.apply(configMap("a"))
  })

  test("of a revision that has not come answer 504 with a cause", async () => {
    const { status, body, headers } = await client.get(`${maps}?resourceVersion=999999`)
    expect(status).toBe(504)
    expect(headers.get("retry-after")).toBe("1")
    expect(body).toMatchObject({
      reason: "Timeout",
      details: {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    })
  })

  test("select by labels and fields", async () => {
    await api.apply(configMap("x", { tier: "web", env: "prod" }))
    await api.apply(configMap("y", { tier: "web", env: "test" }))
    const byLabels = async (selector: string) =>
      namesIn((await client.get(`${maps}?labelSelector=${encodeURIComponent(selector)}`)).body)
    expect(await byLabels("tier=web,env!=test")).toEqual(["x"])
    expect(await byLabels("env in (test,dev)")).toEqual(["y"])
    expect(await byLabels("tier,env notin (prod)")).toEqual(["y"])
    expect(await byLabels("!tier")).toEqual(["a", "b", "c", "d", "e"])
    const byName = await client.get(`${maps}?fieldSelector=metadata.name%3Dx`)
    expect(namesIn(byName.body)).toEqual(["x"])
    expect(at(byName.body, "metadata", "remainingItemCount")).toBeUndefined()
    const unknown = await client.get(`${maps}?fieldSelector=data.a%3Dx`)
    expect(unknown.status).toBe(400)
    expect(at(unknown.body, "message")).toBe(
      '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
    )
  })

  test("select Secrets by type and Events by their object", async () => {
    const secret = { apiVersion: "v1", kind: "Secret" }
    await api.apply({ ...secret, metadata: { name: "plain" } })
    const data = { "tls.crt": "YQ==", "tls.key": "YQ==" }
    await api.apply({ ...secret, metadata: { name: "tls" }, type: "kubernetes.io/tls", data })
    const path = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io/tls"
    expect(namesIn((await client.get(path)).body)).toEqual(["tls"])
  })

  test("refuse contradictions in words of ListOptions", async () => {
    const { status, body } = await client.get(`${maps}?resourceVersionMatch=Exact`)
    expect(status).toBe(422)
    expect(at(body, "message")).toBe(
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    )
  })

  test("of 20,000 endpoints take well under a second, and are packed from 128 KiB on", async () => {
    const endpoints = Array.from({ length: 10 }, (_, index) => ({
      addresses: [`10.0.0.${index + 1}`],
      conditions: { ready: true, serving: true, terminating: false },
    }))
    for (let index = 0; index < 2_000; index += 1) {
      await api.apply({
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: `many-${index}`, namespace: "default" },
        addressType: "IPv4",
        endpoints,
        ports: [{ port: 80 }],
      })
    }
    const start = performance.now()
    const { body, headers } = await client.get("/apis/discovery.k8s.io/v1/endpointslices")
    expect(performance.now() - start).toBeLessThan(1_000)
    expect(listAt(body, "items").length).toBe(2_001)
    expect(headers.get("vary")).toBe("Accept-Encoding")
  })
})

describe("watches", () => {
  withServer()
  beforeEach(async () => {
    for (const { metadata } of await api.list("configmaps")) {
      await api.remove("configmaps", `${metadata.namespace}/${metadata.name}`)
    }
  })

  test("go on from a resourceVersion with every change after it", async () => {
    const since = await api.revision()
    await api.apply(configMap("a"))
    const watch = await client.watch(maps, `resourceVersion=${since}`)
    await api.patch("configmaps", "default/a", { data: { a: "2" } })
    await api.remove("configmaps", "default/a")
    expect(await watch.names(3)).toEqual(["ADDED a", "MODIFIED a", "DELETED a"])
    watch.close()
  })

  test("tell of a deletion with the deletion's own resourceVersion", async () => {
    await api.apply(configMap("a"))
    const watch = await client.watch(maps, `resourceVersion=${await api.revision()}`)
    await api.remove("configmaps", "default/a")
    const event = await watch.next()
    expect(event).toMatchObject({
      type: "DELETED",
      object: { kind: "ConfigMap", data: { a: "1" } },
    })
    expect(at(event, "object", "metadata", "resourceVersion")).toBe(String(await api.revision()))
    watch.close()
  })

  test("with a selector turn leaving it into DELETED and coming back into ADDED", async () => {
    await api.apply(configMap("a", { tier: "web" }))
    const query = `resourceVersion=${await api.revision()}&labelSelector=tier%3Dweb`
    const watch = await client.watch(maps, query)
    await api.patch("configmaps", "default/a", { metadata: { labels: { tier: "db" } } })
    await api.patch("configmaps", "default/a", { data: { a: "2" } })
    await api.patch("configmaps", "default/a", { metadata: { labels: { tier: "web" } } })
    const left = await watch.next()
    expect(left).toMatchObject({
      type: "DELETED",
      object: { metadata: { labels: { tier: "web" } }, data: { a: "1" } },
    })
    expect(await watch.next()).toMatchObject({ type: "ADDED", object: { data: { a: "2" } } })
    watch.close()
  })

  test("from nowhere begin with what there is and a bookmark", async () => {
    await api.apply([configMap("a"), configMap("b")])
    const watch = await client.watch(maps, "allowWatchBookmarks=true")
    expect(await watch.names(2)).toEqual(["ADDED a", "ADDED b"])
    const bookmark: unknown = await watch.next()
    expect(bookmark).toEqual({
      type: "BOOKMARK",
      object: {
        kind: "ConfigMap",
        apiVersion: "v1",
        metadata: {
          resourceVersion: String(await api.revision()),
          creationTimestamp: null,
          annotations: { "k8s.io/initial-events-end": "true" },
        },
      },
    })
    watch.close()
  })

  test("stream a list for sendInitialEvents", async () => {
    await api.apply([configMap("a")])
    const query =
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    const watch = await client.watch(maps, query)
    expect(await watch.names(2)).toEqual(["ADDED a", "BOOKMARK "])
    await api.apply([configMap("b")])
    expect(await watch.names(1)).toEqual(["ADDED b"])
    watch.close()
  })

  test("refuse sendInitialEvents with 422 where the feature is off", async () => {
    await api.setWatchList(false)
    const query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    const { status, body } = await client.get(`${maps}?${query}`)
    expect(status).toBe(422)
    expect(at(body, "message")).toBe(
      'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled',
    )
    await api.setWatchList(true)
  })

  test("send bookmarks with the newest version, only to those who take them", async () => {
    const since = `resourceVersion=${await api.revision()}`
    const taking = await client.watch(maps, `${since}&allowWatchBookmarks=true`)
    const other = await client.watch(maps, since)
    await api.faults.advance(500)
    await api.bookmark()
    const bookmark = await taking.next()
    expect(bookmark).toMatchObject({ type: "BOOKMARK" })
    expect(at(bookmark, "object", "metadata", "resourceVersion")).toBe(String(await api.revision()))
    await api.apply(configMap("a"))
    expect(await other.names(1)).toEqual(["ADDED a"])
    taking.close()
    other.close()
  })

  test("from a forgotten version get 200 and an ERROR with code 410", async () => {
    const since = await api.revision()
    await api.apply(configMap("a"))
    await api.faults.compact()
    const watch = await client.watch(maps, `resourceVersion=${since}`)
    expect(watch.status).toBe(200)
    const event = await watch.next()
    expect(event).toMatchObject({ type: "ERROR", object: { code: 410, reason: "Expired" } })
    expect(at(event, "object", "message")).toBe(
      `too old resource version: ${since} (${await api.revision()})`,
    )
    expect(await watch.next()).toBe("end")
  })

  test("from a version that has not come stay silent until it is passed", async () => {
    const ahead = (await api.revision()) + 2
    const watch = await client.watch(maps, `resourceVersion=${ahead}`)
    await api.apply([configMap("a"), configMap("b"), configMap("c")])
    expect(await watch.names(1)).toEqual(["ADDED c"])
    watch.close()
  })

  test("end cleanly after timeoutSeconds", async () => {
    const query = `resourceVersion=${await api.revision()}&timeoutSeconds=1`
    const watch = await client.watch(maps, query)
    expect(await watch.next()).toBe("end")
  })

  test("of one object by its field are the object's", async () => {
    const query = `resourceVersion=${await api.revision()}&fieldSelector=metadata.name%3Db`
    const watch = await client.watch(maps, query)
    await api.apply([configMap("a"), configMap("b")])
    expect(await watch.names(1)).toEqual(["ADDED b"])
    watch.close()
  })
})

describe("a bounded history", () => {
  withServer({ historyMax: 40 })

  test("answers 410 to what it has lost and serves what it still has", async () => {
    const first = await api.revision()
    for (let index = 0; index < 100; index += 1) await api.apply(configMap(`n${index}`))
    const early = await client.watch(maps, `resourceVersion=${first + 5}`)
    expect(await early.next()).toMatchObject({ type: "ERROR", object: { code: 410 } })
    const late = await client.watch(maps, `resourceVersion=${first + 90}`)
    expect(await late.names(1)).toEqual(["ADDED n90"])
    late.close()
  })
})

describe("faults", () => {
  withServer()

  test("stop() refuses connections, start() serves the same state", async () => {
    await api.apply(configMap("kept"))
    const since = await api.revision()
    const watch = await client.watch(maps, `resourceVersion=${since}`)
    await api.faults.stop()
    await expect(watch.next()).rejects.toThrow()
    await expect(client.get(maps)).rejects.toThrow()
    await api.apply(configMap("meanwhile"))
    await api.faults.start()
    expect(namesIn((await client.get(maps)).body)).toEqual(["kept", "meanwhile"])
    // As after a real restart the watch cache begins anew.
    const again = await client.watch(maps, `resourceVersion=${since}`)
    expect(await again.next()).toMatchObject({ type: "ERROR", object: { code: 410 } })
  })

  test('stop("end") ends watches cleanly', async () => {
    const watch = await client.watch(maps, `resourceVersion=${await api.revision()}`)
    await api.faults.stop("end")
    expect(await watch.next()).toBe("end")
    await api.faults.start({ keepHistory: true })
    expect((await client.get("/livez")).text).toBe("ok")
  })

  test("cutWatches() resets them or ends them", async () => {
    const query = `resourceVersion=${await api.revision()}`
    const ended = await client.watch(maps, query)
    await api.faults.cutWatches("end")
    expect(await ended.next()).toBe("end")
    const reset = await client.watch(maps, query)
    await api.faults.cutWatches()
    await expect(reset.next()).rejects.toThrow()
    expect(await api.watchCount()).toBe(0)
  })

  test("stallWatches() leaves them open and silent, until it is over", async () => {
    const watch = await client.watch(maps, `resourceVersion=${await api.revision()}`)
    await api.faults.stallWatches()
    const next = watch.next()
    await api.apply(configMap("late"))
    expect(await Promise.race([next, Bun.sleep(100)])).toBeUndefined()
    await api.faults.stallWatches(false)
    expect(await next).toMatchObject({ type: "ADDED" })
    watch.close()
  })

  test("stallRequests() takes requests and answers after clear()", async () => {
    await api.faults.stallRequests()
    const reply = client.get(maps)
    expect(await Promise.race([reply, Bun.sleep(100)])).toBeUndefined()
    await api.faults.clear()
    expect((await reply).status).toBe(200)
  })

  test("tooManyRequests() answers 429 as priority and fairness does", async () => {
    await api.faults.tooManyRequests({ count: 1, retryAfterSeconds: 2 })
    const { status, headers, text } = await client.get(maps)
    expect([status, headers.get("retry-after")]).toEqual([429, "2"])
    expect(text).toBe("Too many requests, please try again later.\n")
    expect((await client.get(maps)).status).toBe(200)
  })

  test("serverErrors() hits only the verb it names", async () => {
    await api.faults.serverErrors({ verb: "list" })
    expect((await client.get(maps)).status).toBe(500)
    expect((await client.get(`${maps}/kept`)).status).toBe(200)
    await api.faults.clear()
  })

  test("unready() shows in /readyz only", async () => {
    await api.faults.unready()
    expect((await client.get("/readyz")).status).toBe(500)
    expect((await client.get("/livez")).text).toBe("ok")
    await api.faults.clear()
    expect((await client.get("/readyz")).text).toBe("ok")
  })

  test("restore() goes back to lower revisions", async () => {
    await api.faults.backup()
    const before = await api.revision()
    await api.apply(configMap("lost"))
    await api.faults.restore()
    expect(await api.revision()).toBe(before)
    expect((await client.get(`${maps}/lost`)).status).toBe(404)
    expect((await client.get(`${maps}/kept`)).status).toBe(200)
  })

  test("a watch that is not read is cut", async () => {
    const data = { a: "x".repeat(200_000) }
    const watch = await client.watch(maps, `resourceVersion=${await api.revision()}`)
    for (let index = 0; (await api.watchCount()) > 0 && index < 500; index += 1) {
      await api.apply({ ...configMap("bulk"), data: { ...data, index: String(index) } })
      await Bun.sleep(0)
    }
    expect(await api.watchCount()).toBe(0)
    watch.close()
  })
})

const maps = "/api/v1/namespaces/default/configmaps"

function configMap(name: string, labels?: Record<string, string>): ApiObject {
  const metadata = { name, namespace: "default", ...(labels === undefined ? {} : { labels }) }
  return { apiVersion: "v1", kind: "ConfigMap", metadata, data: { a: "1" } }
}

function namesIn(body: unknown): unknown[] {
  return listAt(body, "items").map((item) => at(item, "metadata", "name"))
}

function tokenIn(body: unknown): string {
  return encodeURIComponent(String(at(body, "metadata", "continue")))
}

function versionIn(body: unknown): unknown {
  return at(body, "metadata", "resourceVersion")
}
