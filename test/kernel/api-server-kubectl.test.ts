/**
 * A second opinion on the lab's API server: kubectl, of whatever version is installed (1.20 from
 * Debian, 1.32 tried too), finds its way through discovery, lists in chunks, patches and waits as
 * it does with a real one. It sends some requests as protobuf, which is not served here: `create`
 * by flags and `auth can-i`.
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { type ApiServer, startApiServer } from "../lab/api-server/api-server.ts"
import { type CommandResult, ManagedProcess, runCommand } from "../lab/process.ts"
import { eventually } from "../lab/wait.ts"

let api: ApiServer
let config: string

beforeAll(async () => {
  api = await startApiServer({ custom: ["metallb"] })
  config = await api.kubeconfigFile("admin")
  await api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "metallb-system" } })
})

afterAll(() => api.close())

test("apply creates, and a second time changes nothing", async () => {
  const path = join(api.directory, "objects.yaml")
  writeFileSync(path, OBJECTS)
  const first = await kubectl("apply", "--validate=false", "-f", path)
  expect(first.stdout).toBe("service/web created\nipaddresspool.metallb.io/a created\n")
  const second = await kubectl("apply", "--validate=false", "-f", path)
  expect(second.stdout).toBe("service/web unchanged\nipaddresspool.metallb.io/a unchanged\n")
})

test("get lists in chunks, by label and by short name", async () => {
  await kubectl("label", "service", "web", "tier=front")
  const chunked = await kubectl("get", "svc", "--chunk-size=1", "-o", "name")
  expect(chunked.stdout).toBe("service/kubernetes\nservice/web\n")
  const labelled = await kubectl("get", "svc", "-l", "tier=front", "-o", "name")
  expect(labelled.stdout).toBe("service/web\n")
})

test("patch merges ports by their number", async () => {
  const patch = '{"spec":{"ports":[{"port":80,"targetPort":81}]}}'
  await kubectl("patch", "svc", "web", "-p", patch)
  const path = "jsonpath={.spec.ports[*].targetPort}"
  expect((await kubectl("get", "svc", "web", "-o", path)).stdout).toBe("81 443")
})

test("get --watch shows what happens", async () => {
  const argv = ["kubectl", "--kubeconfig", config, "get", "svc", "--watch", "-o", "name"]
  const logPath = join(api.directory, "watch.log")
  const watch = new ManagedProcess(argv, { name: "kubectl", logPath, env: environment() })
  try {
    await watch.waitFor("service/web")
    await api.apply(
      "{apiVersion: v1, kind: Service, metadata: {name: z}, spec: {ports: [{port: 1}]}}",
    )
    await eventually(() => watch.stdout.includes("service/z"))
  } finally {
    await watch.stop()
  }
})

test("delete waits until it is gone", async () => {
  expect((await kubectl("delete", "svc", "web")).stdout).toBe('service "web" deleted\n')
  const { exitCode, stderr } = await kubectl("get", "svc", "web")
  expect([exitCode, stderr]).toEqual([
    1,
    'Error from server (NotFound): services "web" not found\n',
  ])
})

test("a user without rights reads why", async () => {
  const other = await api.kubeconfigFile("nobody", { form: "certificate" })
  const { stderr } = await kubectl("--kubeconfig", other, "get", "svc")
  expect(stderr).toBe(
    'Error from server (Forbidden): services is forbidden: User "nobody" cannot list resource "services" in API group "" in the namespace "default"\n',
  )
})

function kubectl(...words: readonly string[]): Promise<CommandResult> {
  const own = words.includes("--kubeconfig") ? [] : ["--kubeconfig", config]
  return runCommand(["kubectl", ...own, ...words], { env: environment() })
}

/** Its cache of discovery belongs to this run. */
function environment(): Record<string, string> {
  return { HOME: api.directory }
}

const OBJECTS = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443}]
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: a, namespace: metallb-system}
spec: {addresses: [192.0.2.0/28]}
`
