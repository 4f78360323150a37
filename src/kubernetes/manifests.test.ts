/** The other files of config/kubernetes: they name what the program means. */
import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { ANNOTATION } from "./addresses/requests.ts"
import { CONTROLLER } from "./ingress/class.ts"

const FOLDER = join(import.meta.dir, "../../config/kubernetes")
const FILES = readdirSync(FOLDER).sort()

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec?: Readonly<Record<string, unknown>>
}

function read(name: string): string {
  return readFileSync(join(FOLDER, name), "utf8")
}

function parsed(text: string): Manifest[] {
  const documents = Bun.YAML.parse(text) as Manifest | Manifest[]
  return [documents].flat().filter((document) => document !== null)
}

test.each(FILES)("%s holds objects with a kind and a name", (name) => {
  const objects = parsed(read(name))
  expect(objects.length).toBeGreaterThan(0)
  for (const { apiVersion, kind, metadata } of objects) {
    expect([apiVersion, kind, metadata.name].every((text) => text.length > 0)).toBe(true)
  }
})

test("rbac.yaml has a RoleBinding for a namespace of [[publish]] in its comments", () => {
  const commented = read("rbac.yaml").split("[[publish]]:\n#\n").at(-1) ?? ""
  const text = commented.replace(/^# ?/gm, "").replace(/^---$/m, "")
  expect(parsed(text)).toMatchObject([
    {
      kind: "RoleBinding",
      metadata: { name: "causeway-publish", namespace: "release" },
      roleRef: { kind: "ClusterRole", name: "causeway-publish" },
      subjects: [{ kind: "ServiceAccount", name: "causeway", namespace: "kube-system" }],
    },
  ] as never)
})

test("ingress-class.yaml names our controller", () => {
  expect(parsed(read("ingress-class.yaml"))[0]).toMatchObject({
    kind: "IngressClass",
    metadata: { name: "causeway" },
    spec: { controller: CONTROLLER },
  })
})

test("service-load-balancer.yaml shows annotations that exist", () => {
  const shown = [...read("service-load-balancer.yaml").matchAll(/causeway\.dev\/[\w-]+(?=:)/g)]
  const known = Object.values(ANNOTATION).map(([name]) => name as string)
  expect(shown.map(([name]) => name).sort()).toEqual(known.sort())
})
