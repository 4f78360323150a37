/**
 * The scenarios of kubernetes-sigs/ingress-controller-conformance (features/*.feature), each as the
 * request it makes and what has to come of it, through the route table that serves requests.
 */
import { describe, expect, test } from "bun:test"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import {
  cluster,
  Edge,
  edge,
  ingressManifest,
  reasons,
  SETTINGS,
  translator,
} from "./fixtures/cluster.ts"

describe("default_backend", () => {
  const all = edge(
    ingressManifest(
      "default/default-backend",
      "defaultBackend: { service: { name: echo-service, port: { number: 8080 } } }",
    ),
  )

  test.each([
    "GET my-host/",
    "GET my-host/sub-path",
    "POST some-host/",
    "PUT /resource",
    "DELETE some-host/resource",
    "PATCH my-host/resource",
  ])("An Ingress with no rules sends %s to the default backend", (line) => {
    expect(all.ask(line)).toBe("default/echo-service:8080")
  })

  test("an Ingress with rules keeps its default backend for what they do not match", () => {
    const some = edge(
      ingressManifest(
        "default/some",
        `
defaultBackend: { service: { name: rest, port: { number: 80 } } }
rules:
  - host: k8s.com
    http: { paths: [{ path: /a, pathType: Prefix, backend: { service: { name: a, port: { number: 80 } } } }] }`,
      ),
    )
    const asked = ["k8s.com/a/b", "k8s.com/b", "other.com/a"].map((line) => some.ask(line))
    expect(asked).toEqual(["default/a:80", "default/rest:80", "default/rest:80"])
  })
})

const HOST_RULES = `
kind: Secret
metadata: { name: conformance-tls }
type: kubernetes.io/tls
stringData:
  tls.crt: ${JSON.stringify(CERTIFICATES.plain)}
  tls.key: ${JSON.stringify(KEYS.plain)}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: host-rules
spec:
  ingressClassName: causeway
  tls:
    - hosts:
        - plain.example
      secretName: conformance-tls
  rules:
    - host: "*.foo.com"
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: wildcard-foo-com
                port:
                  number: 8080
    - host: plain.example
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: foo-bar-com
                port:
                  name: http
`

describe("host_rules", () => {
  const rules = edge(HOST_RULES)

  test.each([
    ["an exact host matches itself", "plain.example/", "default/foo-bar-com:http"],
    ["and no sibling", "subdomain.example/", "404"],
    ["and nothing below it", "a.plain.example/", "404"],
    ["host *.foo.com matches by shared suffix", "bar.foo.com/", "default/wildcard-foo-com:8080"],
    ["whatever its case", "BAR.Foo.COM/", "default/wildcard-foo-com:8080"],
    ["it covers a single label", "baz.bar.foo.com/", "404"],
    ["and not none", "foo.com/", "404"],
  ])("%s", (_, line, expected) => {
    expect(rules.ask(line)).toBe(expected)
  })

  test("the certificate is shown for the host that names it", () => {
    const [certificate, ...others] = rules.translation.certificates
    expect(certificate?.names).toEqual(["plain.example"])
    expect(certificate?.secret).toBe("default/conformance-tls")
    expect(others).toEqual([])
  })

  test("plain requests of a host with TLS are sent to https, of others are not", () => {
    const plain = { isTls: false, port: 80 }
    expect(rules.ask("plain.example/x?y", [], plain)).toBe("308 https://plain.example/x?y")
    expect(rules.ask("bar.foo.com/", [], plain)).toBe("default/wildcard-foo-com:8080")
  })
})

const PATHS = [
  ["exact-path-rules", "Exact", "/foo", "foo-exact"],
  ["prefix-path-rules", "Prefix", "/foo", "foo-prefix"],
  ["prefix-path-rules", "Prefix", "/aaa/bbb", "aaa-slash-bbb-prefix"],
  ["prefix-path-rules", "Prefix", "/aaa", "aaa-prefix"],
  ["mixed-path-rules", "Prefix", "/foo", "foo-prefix"],
  ["mixed-path-rules", "Exact", "/foo", "foo-exact"],
  ["trailing-slash-path-rules", "Prefix", "/aaa/bbb/", "aaa-slash-bbb-slash-prefix"],
  ["trailing-slash-path-rules", "Exact", "/foo/", "foo-slash-exact"],
] as const

function pathRules(): string {
  const rules = PATHS.map(([host, type, path, service]) => {
    const backend = `{ service: { name: ${service}, port: { number: 8080 } } }`
    const entry = `{ path: ${path}, pathType: ${type}, backend: ${backend} }`
    return `  - { host: ${host}, http: { paths: [${entry}] } }`
  })
  return ingressManifest("default/path-rules", `rules:\n${rules.join("\n")}`)
}

describe("path_rules", () => {
  const rules = edge(pathRules())

  test.each([
    ["exact /foo matches /foo", "exact-path-rules/foo", "foo-exact"],
    ["exact /foo does not match /foo/", "exact-path-rules/foo/", ""],
    ["exact /foo does not match /FOO", "exact-path-rules/FOO", ""],
    ["exact /foo does not match /bar", "exact-path-rules/bar", ""],
    ["prefix /foo matches /foo", "prefix-path-rules/foo", "foo-prefix"],
    ["prefix /foo matches /foo/", "prefix-path-rules/foo/", "foo-prefix"],
    ["prefix /foo does not match /FOO", "prefix-path-rules/FOO", ""],
    ["prefix /aaa/bbb matches /aaa/bbb", "prefix-path-rules/aaa/bbb", "aaa-slash-bbb-prefix"],
    [
      "prefix /aaa/bbb matches /aaa/bbb/ccc",
      "prefix-path-rules/aaa/bbb/ccc",
      "aaa-slash-bbb-prefix",
    ],
    ["prefix /aaa matches /aaa/ccc", "prefix-path-rules/aaa/ccc", "aaa-prefix"],
    ["prefix /aaa does not match /aaaccc", "prefix-path-rules/aaaccc", ""],
    ["exact is preferred", "mixed-path-rules/foo", "foo-exact"],
    ["prefix /foo matches what exact does not", "mixed-path-rules/foo/", "foo-prefix"],
    [
      "prefix /aaa/bbb/ matches /aaa/bbb",
      "trailing-slash-path-rules/aaa/bbb",
      "aaa-slash-bbb-slash-prefix",
    ],
    [
      "prefix /aaa/bbb/ matches /aaa/bbb/",
      "trailing-slash-path-rules/aaa/bbb/",
      "aaa-slash-bbb-slash-prefix",
    ],
    ["exact /foo/ matches /foo/", "trailing-slash-path-rules/foo/", "foo-slash-exact"],
    ["exact /foo/ does not match /foo", "trailing-slash-path-rules/foo", ""],
  ])("%s", (_, line, service) => {
    expect(rules.ask(line)).toBe(service === "" ? "404" : `default/${service}:8080`)
  })

  test("nothing is wrong with them", () => {
    expect(reasons(rules.translation)).toEqual([])
  })
})

const OURS = "controller: causeway.dev/ingress-controller"
const THEIRS = "controller: k8s.io/ingress-nginx"

describe("ingress_class", () => {
  const ingress = (className: string, annotation = "") => `
kind: Ingress
metadata: { name: web, annotations: { kubernetes.io/ingress.class: "${annotation}" } }
spec: { ${className} defaultBackend: { service: { name: web, port: { number: 80 } } } }
`
  const ingressClass = (name: string, spec: string, isDefault = false) => `---
kind: IngressClass
metadata:
  name: ${name}
  annotations: { ingressclass.kubernetes.io/is-default-class: "${isDefault}" }
spec: { ${spec} }
`

  test.each([
    ["an invalid class", ingress("ingressClassName: some-invalid-class-name,"), false],
    ["the configured class without an IngressClass", ingress("ingressClassName: causeway,"), true],
    [
      "an IngressClass of our controller",
      ingress("ingressClassName: edge,") + ingressClass("edge", OURS),
      true,
    ],
    [
      "an IngressClass of another controller",
      ingress("ingressClassName: edge,") + ingressClass("edge", THEIRS),
      false,
    ],
    ["no class, and no default", ingress("") + ingressClass("causeway", OURS), false],
    ["no class, and ours is the default", ingress("") + ingressClass("edge", OURS, true), true],
    [
      "no class, and another is the default",
      ingress("") + ingressClass("causeway", OURS) + ingressClass("nginx", THEIRS, true),
      false,
    ],
    ["the annotation", ingress("", "causeway"), true],
    ["another's annotation", ingress("", "nginx"), false],
    [
      "another's annotation before our field",
      ingress("ingressClassName: causeway,", "nginx"),
      false,
    ],
    [
      "our annotation before another's field",
      ingress("ingressClassName: nginx,", "causeway"),
      true,
    ],
  ])("%s", (_, manifests, isServed) => {
    expect(edge(manifests).ask("k8s.com/")).toBe(isServed ? "default/web:80" : "404")
  })

  test("an annotation and a field that differ are listed", () => {
    const { translation } = edge(ingress("ingressClassName: nginx,", "causeway"))
    expect(translation.problems).toEqual([
      {
        ingress: "default/web",
        reason: "ClassMismatch",
        severity: "notice",
        message:
          "kubernetes.io/ingress.class says causeway and ingressClassName nginx; " +
          "the annotation counts",
      },
    ])
  })

  test("nothing is written about an Ingress of another class", () => {
    const view = cluster(ingress("ingressClassName: some-invalid-class-name,"))
    const machine = translator()
    const translation = machine.translate(view, SETTINGS)
    const addresses = ["192.0.2.1" as never]
    expect(machine.writes(translation, { view, addresses, isWriter: true })).toEqual([])
    expect(translation.problems).toEqual([])
  })
})

describe("load_balancing", () => {
  test("a backend is the pool of all pods of its Service", () => {
    const translation = new Edge(
      translator().translate(
        cluster(
          ingressManifest(
            "default/load-balancing",
            "defaultBackend: { service: { name: echo-service, port: { number: 8080 } } }",
          ),
        ),
        SETTINGS,
      ),
    ).translation
    expect(translation.pools).toEqual([
      {
        ...SETTINGS.poolTemplate,
        name: "default/echo-service:8080",
        kubernetes: { namespace: "default", service: "echo-service", port: 8080, reach: "pod" },
      },
    ])
  })
})
