/** Whatever people write: translation answers, and what it makes is fit to be served. */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { parsePrefix } from "../../net/address.ts"
import { metaOf, portOf, serviceOf } from "../fixtures/services.ts"
import type { Ingress, IngressClass, IngressPath, Secret } from "../objects.ts"
import { Edge, SETTINGS, translator } from "./fixtures/cluster.ts"
import type { IngressView } from "./translator.ts"

const NAMES = [
  "rewrite-target",
  "use-regex",
  "ssl-redirect",
  "force-ssl-redirect",
  "proxy-body-size",
  "proxy-connect-timeout",
  "proxy-read-timeout",
  "proxy-send-timeout",
  "canary",
  "canary-weight",
  "canary-weight-total",
  "canary-by-header",
  "canary-by-header-value",
  "canary-by-header-pattern",
  "canary-by-cookie",
  "affinity",
  "session-cookie-name",
  "session-cookie-path",
  "session-cookie-samesite",
  "session-cookie-max-age",
  "whitelist-source-range",
  "denylist-source-range",
  "backend-protocol",
  "proxy-ssl-secret",
  "proxy-ssl-verify",
  "upstream-vhost",
  "permanent-redirect",
  "temporal-redirect",
  "permanent-redirect-code",
  "app-root",
  "enable-cors",
  "cors-allow-origin",
  "limit-rps",
  "limit-rpm",
  "auth-type",
  "auth-secret",
  "auth-secret-type",
  "auth-realm",
  "server-alias",
  "from-to-www-redirect",
  "configuration-snippet",
  "x-forwarded-prefix",
]

const VALUES = [
  "true",
  "false",
  "",
  "/",
  "/$1",
  "$2",
  "/x?y=$1",
  "8m",
  "0",
  "5",
  "100",
  "cookie",
  "Lax",
  "10.0.0.0/8",
  "10.0.0.0/8,x",
  "HTTPS",
  "GRPC",
  "web.internal",
  "https://k8s.org$request_uri",
  "//evil",
  "on",
  "basic",
  "cert",
  "b/cert",
  "auth-map",
  "*",
  "always",
  "^a+$",
  "(a+)+",
  "a\r\nB: c",
  '"',
  "__proto__",
  "k8s.org",
]

const HOSTS = ["", "k8s.com", "*.k8s.com", "K8S.com", "a b", "*", "-x", "x".repeat(260), "[::1]"]

const PATHS = [
  "",
  "/",
  "/a",
  "/a/",
  "/a/b",
  "/a/(.*)",
  "/(a|b)+",
  "/a//b",
  "/%2f",
  "/a;b",
  "/é",
  "x",
  "/a?b",
  "/[",
  "/api/v1/?(.*)",
  "/a$",
  "/%zz",
  "/../x",
  "/\u0000",
]

const some = <T>(values: readonly T[]) => fc.constantFrom(...values)
const orAny = (values: readonly string[]) =>
  fc.oneof({ weight: 4, arbitrary: some(values) }, fc.string({ unit: "binary" }))

const annotations = fc.dictionary(
  fc.oneof(
    some(NAMES.map((name) => `nginx.ingress.kubernetes.io/${name}`)),
    some(["ingress.kubernetes.io/rewrite-target", "kubernetes.io/ingress.class"]),
  ),
  orAny(VALUES),
  { maxKeys: 6 },
)

const backend: fc.Arbitrary<IngressPath["backend"]> = fc.oneof(
  fc.record({
    type: fc.constant("service" as const),
    service: some(["web", "missing", "external"]),
    port: some([80, 443, "http", "", "80"]),
  }),
  fc.record({ type: fc.constant("resource" as const), description: fc.string() }),
)

const path: fc.Arbitrary<IngressPath> = fc.record({
  path: orAny(PATHS),
  pathType: some(["Exact", "Prefix", "ImplementationSpecific"] as const),
  backend,
})

const ingress: fc.Arbitrary<Ingress> = fc
  .record({
    key: some(["a/one", "a/two", "b/one"]),
    annotations,
    createdEpochMs: some([0, 1]),
    className: some(["causeway", "causeway", "nginx", undefined]),
    defaultBackend: fc.option(backend, { nil: undefined }),
    rules: fc.array(fc.record({ host: orAny(HOSTS), paths: fc.array(path, { maxLength: 4 }) }), {
      maxLength: 3,
    }),
    tls: fc.array(
      fc.record({
        hosts: fc.array(orAny(HOSTS), { maxLength: 2 }),
        secretName: orAny(["", "cert"]),
      }),
      { maxLength: 2 },
    ),
  })
  .map(({ key, annotations, createdEpochMs, ...spec }) => ({
    meta: metaOf(key, { annotations, createdEpochMs }),
    ...spec,
    ingress: [],
  }))

const secret: fc.Arbitrary<Secret> = fc.record({
  meta: fc.constant(metaOf("a/cert")),
  type: fc.string(),
  data: fc.dictionary(some(["tls.crt", "tls.key", "ca.crt", "auth", "__proto__"]), fc.string()),
})

const ingressClass: fc.Arbitrary<IngressClass> = fc.record({
  meta: some([metaOf("causeway"), metaOf("nginx")]),
  controller: some(["causeway.dev/ingress-controller", "other"]),
  isDefault: fc.boolean(),
})

const view: fc.Arbitrary<IngressView> = fc
  .record({
    ingresses: fc.array(ingress, { maxLength: 4 }),
    secrets: fc.array(secret, { maxLength: 1 }),
    classes: fc.array(ingressClass, { maxLength: 2 }),
  })
  .map(({ ingresses, secrets, classes }) => ({
    ingresses: new Map(ingresses.map((each) => [`${each.meta.namespace}/${each.meta.name}`, each])),
    ingressClasses: new Map(classes.map((each) => [each.meta.name, each])),
    secrets: new Map(secrets.map((each) => ["a/cert", each])),
    services: new Map([
      ["a/web", serviceOf("a/web", { ports: [portOf(80, { name: "http" })] })],
      ["b/external", serviceOf("b/external", { type: "ExternalName" })],
    ]),
  }))

test("translate() makes routes that the route table takes, of any objects", () => {
  fc.assert(
    fc.property(view, (objects) => {
      const machine = translator()
      const translation = machine.translate(objects, SETTINGS)
      const edge = new Edge(translation)
      for (const line of ["k8s.com/a/b", "GET other.com/", "x.k8s.com/api/v1/x"]) edge.ask(line)
      const pools = new Set(translation.pools.map(({ name }) => name))
      for (const { action, name, requestHeaders } of translation.routes) {
        if (action.type === "pool") expect(pools.has(action.pool)).toBe(true)
        if (action.type === "split") {
          expect(action.targets.every((target) => pools.has(target.pool))).toBe(true)
          expect(action.targets.some(({ weight }) => weight > 0)).toBe(true)
        }
        expect(/[\r\n]/.test(name)).toBe(false)
        expect(requestHeaders.set.some(({ value }) => /[\r\n]/.test(value))).toBe(false)
      }
      expect(new Set(translation.routes.map(({ name }) => name)).size).toBe(
        translation.routes.length,
      )
      const context = { view: objects, addresses: [], isWriter: true }
      machine.writes(translation, context)
      expect(machine.writes(translation, context)).toEqual([])
    }),
    { numRuns: 500 },
  )
})

test("translate() says the same whatever the order of the objects", () => {
  fc.assert(
    fc.property(view, (objects) => {
      const { routes, problems } = translator().translate(objects, SETTINGS)
      const reversed = { ...objects, ingresses: new Map([...objects.ingresses].reverse()) }
      const again = translator().translate(reversed, SETTINGS)
      expect(again.routes).toEqual(routes as (typeof again.routes)[number][])
      expect(again.problems).toEqual(problems as (typeof again.problems)[number][])
    }),
    { numRuns: 100 },
  )
})

test("translate() lets nobody in by an allow list it cannot read", () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const name = "nginx.ingress.kubernetes.io/whitelist-source-range"
      const parts = value.split(",").map((part) => part.trim())
      const networks = parts.filter((part) => part !== "")
      const isReadable = networks.every((part) => parsePrefix(part) !== undefined)
      const isGiven = value.trim() !== ""
      const object: Ingress = {
        meta: metaOf("a/web", { annotations: { [name]: value } }),
        className: "causeway",
        defaultBackend: { type: "service", service: "web", port: 80 },
        rules: [],
        tls: [],
        ingress: [],
      }
      const objects: IngressView = {
        ingresses: new Map([["a/web", object]]),
        ingressClasses: new Map(),
        services: new Map([["a/web", serviceOf("a/web", { ports: [portOf(80)] })]]),
        secrets: new Map(),
      }
      const edge = new Edge(translator().translate(objects, SETTINGS))
      if (isGiven && (!isReadable || networks.length === 0)) {
        expect(edge.ask("k8s.com/")).toBe("503")
      }
    }),
  )
})
