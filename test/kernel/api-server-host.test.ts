/** The lab's API server as a process in a namespace, and the pods that are simulated on it. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { ApiServer } from "../lab/api-server/api-server.ts"
import { at, recordsAt } from "../lab/api-server/object.ts"
import { SliceWriter } from "../lab/api-server/slice-writer.ts"
import { startApiServerIn } from "../lab/api-server-host.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import { eventually } from "../lab/wait.ts"

let lab: Lab
let client: Host
let api: ApiServer

beforeAll(async () => {
  lab = await createLab("api-server")
  const lan = await lab.lan("lan")
  const master = await lab.host("master")
  client = await lab.host("client")
  await lan.join(master, { addresses: ["10.0.0.6/24"] })
  await lan.join(client, { addresses: ["10.0.0.9/24"] })
  const hosted = await startApiServerIn(master, "10.0.0.6", { custom: ["calico"] })
  api = hosted.api
})

afterAll(() => lab.close())

test("startApiServerIn() serves the host's network and is controlled from here", async () => {
  expect(api.url).toBe("https://10.0.0.6:6443")
  const token = await api.issueToken("admin")
  const caPath = join(lab.directory, "ca.crt")
  writeFileSync(caPath, api.caPem)
  const curl = ["curl", "-sS", "--cacert", caPath, "-H", `Authorization: Bearer ${token}`]
  expect(await api.get("services", "default/none")).toBeUndefined()
  await api.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {b: c}}")
  const path = "/api/v1/namespaces/default/configmaps/a"
  const text = await client.exec([...curl, `${api.url}${path}`])
  expect(at(JSON.parse(text), "data")).toEqual({ b: "c" })
  await api.faults.stop()
  expect((await client.run([...curl, `${api.url}${path}`])).exitCode).toBe(7)
  await api.faults.start()
  expect((await client.run([...curl, `${api.url}${path}`])).exitCode).toBe(0)
})

test("a method that fails says why", async () => {
  await expect(api.faults.restore("nothing")).rejects.toThrow('faults.restore: no backup "nothing"')
})

test("SliceWriter splits, keeps endpoints where they are, and writes what changed", async () => {
  await api.apply(`
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
`)
  const ports = [{ name: "http", port: 8080 }]
  const writer = new SliceWriter(api, {
    namespace: "default",
    service: "web",
    ports,
    endpointsMax: 2,
  })
  const pods = [1, 2, 3].map((n) => ({
    name: `web-${n}`,
    address: `10.1.0.${n}`,
    node: "n1",
    state: "ready" as const,
  }))
  expect(await writer.write(pods)).toBe(2)
  expect(await addresses()).toEqual([["10.1.0.1", "10.1.0.2"], ["10.1.0.3"]])
  const terminating = pods.map((pod) =>
    pod.name === "web-3" ? { ...pod, state: "terminating" as const } : pod,
  )
  expect(await writer.write(terminating)).toBe(1)
  const [, second] = await slices()
  expect(at(second, "endpoints", 0, "conditions")).toEqual({
    ready: false,
    serving: true,
    terminating: true,
  })
  expect(at(second, "metadata", "ownerReferences", 0, "name")).toBe("web")
  expect(await writer.write(pods.slice(0, 1))).toBe(2)
  expect(await addresses()).toEqual([["10.1.0.1"]])
  await writer.write([])
  expect(await addresses()).toEqual([[]])
})

test("SliceWriter keeps pods with other ports in other slices", async () => {
  const options = { namespace: "default", service: "mixed", ports: [{ name: "m", port: 1 }] }
  const writer = new SliceWriter(api, options)
  const pod = { name: "a", address: "10.1.1.1", state: "ready" as const }
  await writer.write([pod, { ...pod, name: "b", address: "10.1.1.2", ports: { m: 2 } }])
  const all = await api.list("endpointslices", "default")
  const mixed = all.filter(({ metadata }) => metadata.name.startsWith("mixed-"))
  expect(mixed.map((slice) => at(slice, "ports", 0, "port"))).toEqual([1, 2])
})

test("close() ends the process", async () => {
  const other = await lab.host("other")
  const { api: second, process } = await startApiServerIn(other, "127.0.0.1")
  await second.close()
  await eventually(() => !process.running)
})

async function slices() {
  const all = await api.list("endpointslices", "default")
  return all.filter(({ metadata }) => metadata.name.startsWith("web-"))
}

async function addresses() {
  const all = await slices()
  return all.map((slice) =>
    recordsAt(slice, "endpoints").map((endpoint) => at(endpoint, "addresses", 0)),
  )
}
