/**
 * Manifests of common tutorials word for word, old style and new: what a server gets for the path.
 */
import { describe, expect, test } from "bun:test"
import { edge, reasons } from "./fixtures/cluster.ts"

/** One Ingress for k8s.com, class and all as the tutorials have it. */
function k8s(annotations: string, paths: string): string {
  return `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: k8s-ingress
  annotations:
${annotations.trim().replace(/^ */gm, "    ")}
spec:
  ingressClassName: causeway
  rules:
  - host: k8s.com
    http:
      paths:
${paths}`
}

function path(text: string, pathType: string, service: string): string {
  return `      - path: ${text}
        pathType: ${pathType}
        backend:
          service:
            name: ${service}
            port:
              number: 80
`
}

const TWO_VERSIONS = path("/api/v1", "Prefix", "v1") + path("/api/v2", "Prefix", "v2")

describe("k8s.com with /api/v1 and /api/v2", () => {
  test.each([
    [
      "without rewriting: as asked",
      'note: ""',
      [
        ["k8s.com/api/v1/users?id=1", "default/v1:80"],
        ["k8s.com/api/v2", "default/v2:80"],
        ["k8s.com/api/v20", "404"],
        ["other.com/api/v1", "404"],
      ],
    ],
    [
      "old rewrite-target: the matched prefix is replaced",
      "ingress.kubernetes.io/rewrite-target: /",
      [
        ["k8s.com/api/v1", "default/v1:80 /"],
        ["k8s.com/api/v1/", "default/v1:80 /"],
        ["k8s.com/api/v1/users?id=1", "default/v1:80 /users?id=1"],
        ["k8s.com/api/v2/a/b", "default/v2:80 /a/b"],
      ],
    ],
    [
      "old rewrite-target with a path",
      "ingress.kubernetes.io/rewrite-target: /app",
      [
        ["k8s.com/api/v1", "default/v1:80 /app"],
        ["k8s.com/api/v1/users", "default/v1:80 /app/users"],
      ],
    ],
    [
      "rewrite-target: the whole path is replaced",
      "nginx.ingress.kubernetes.io/rewrite-target: /",
      [
        ["k8s.com/api/v1", "default/v1:80 /"],
        ["k8s.com/api/v1/users?id=1", "default/v1:80 /?id=1"],
        ["k8s.com/api/v2/a/b", "default/v2:80 /"],
      ],
    ],
    [
      "both: the new one counts",
      "nginx.ingress.kubernetes.io/rewrite-target: /new\ningress.kubernetes.io/rewrite-target: /old",
      [["k8s.com/api/v1/users", "default/v1:80 /new"]],
    ],
  ] as const)("%s", (_, annotations, asked) => {
    const web = edge(k8s(annotations, TWO_VERSIONS))
    for (const [line, expected] of asked) expect([line, web.ask(line)]).toEqual([line, expected])
  })
})

describe("rewrite-target with captures", () => {
  // https://kubernetes.github.io/ingress-nginx/examples/rewrite/
  const rewrite = edge(
    k8s(
      'nginx.ingress.kubernetes.io/use-regex: "true"\nnginx.ingress.kubernetes.io/rewrite-target: /$2',
      path("/something(/|$)(.*)", "ImplementationSpecific", "http-svc"),
    ),
  )

  test.each([
    ["/something", "default/http-svc:80 /"],
    ["/something/", "default/http-svc:80 /"],
    ["/something/new", "default/http-svc:80 /new"],
    ["/something/new?a=b", "default/http-svc:80 /new?a=b"],
    ["/Something/new", "default/http-svc:80 /new"],
    ["/something/a%20b", "default/http-svc:80 /a%20b"],
    ["/somethingelse", "404"],
    ["/x/something", "404"],
  ])("%s: %s", (target, expected) => {
    expect(rewrite.ask(`k8s.com${target}`)).toBe(expected)
  })

  test.each(["Prefix", "ImplementationSpecific"])("of type %s, without use-regex", (type) => {
    const web = edge(
      k8s(
        "nginx.ingress.kubernetes.io/rewrite-target: /$1",
        path("/api/v1/?(.*)", type, "v1") + path("/api/v2/?(.*)", type, "v2"),
      ),
    )
    expect(web.ask("k8s.com/api/v1/users/7")).toBe("default/v1:80 /users/7")
    expect(web.ask("k8s.com/api/v2")).toBe("default/v2:80 /")
    expect(reasons(web.translation)).toEqual([])
  })

  test("a target that is a capture alone is a path all the same", () => {
    const web = edge(
      k8s(
        "nginx.ingress.kubernetes.io/rewrite-target: $1",
        path("/v1/?(.*)", "ImplementationSpecific", "v1"),
      ),
    )
    expect(web.ask("k8s.com/v1/a")).toBe("default/v1:80 /a")
  })

  test("a target may have a query, and a dollar sign that is no capture", () => {
    const web = edge(
      k8s(
        "nginx.ingress.kubernetes.io/rewrite-target: /get$?id=$1",
        path("/item/(.*)", "ImplementationSpecific", "v1"),
      ),
    )
    expect(web.ask("k8s.com/item/7?x=y")).toBe("default/v1:80 /get$?id=7&x=y")
  })

  test("a default backend gets what no rule matched as it was asked for", () => {
    const manifest = k8s(
      "nginx.ingress.kubernetes.io/rewrite-target: /$1",
      path("/v1/(.*)", "ImplementationSpecific", "v1"),
    ).replace(
      "  rules:",
      "  defaultBackend: { service: { name: rest, port: { number: 80 } } }\n  rules:",
    )
    const web = edge(manifest)
    expect(web.ask("k8s.com/v1/a")).toBe("default/v1:80 /a")
    expect(web.ask("k8s.com/v2/a")).toBe("default/rest:80")
  })

  test("an Exact path stays exact, and has no captures", () => {
    const web = edge(
      k8s("nginx.ingress.kubernetes.io/rewrite-target: /$1", path("/a.b", "Exact", "v1")),
    )
    expect([web.ask("k8s.com/a.b"), web.ask("k8s.com/axb")]).toEqual(["default/v1:80 /", "404"])
  })
})

describe("patterns and plain paths of one host", () => {
  const mixed = edge(`${k8s(
    "nginx.ingress.kubernetes.io/rewrite-target: /$1",
    path("/api/v1/(.*)", "ImplementationSpecific", "pattern") +
      path("/(en|de)/shop", "ImplementationSpecific", "shop"),
  )}---
${k8s(
  'note: ""',
  path("/", "Prefix", "root") +
    path("/api", "Prefix", "api") +
    path("/api/v1/static/files", "Prefix", "files") +
    path("/api/v1/exact", "Exact", "exact") +
    path("/de", "Prefix", "german") +
    path("/static", "Prefix", "static"),
).replace("k8s-ingress", "plain")}`)

  test.each([
    ["the longer pattern goes before a shorter prefix", "/api/v1/x", "default/pattern:80 /x"],
    ["and before the root", "/de/shop", "default/shop:80 /de"],
    ["a longer prefix before the pattern", "/api/v1/static/files/x", "default/files:80"],
    ["an exact path before all", "/api/v1/exact", "default/exact:80"],
    ["what the pattern does not match is the prefix's", "/api/v2", "default/api:80"],
    ["by whole segments", "/apix", "default/root:80"],
    ["in its own case", "/API/v2", "default/root:80"],
    ["a prefix that hides nothing is served too", "/static/x", "default/static:80"],
    ["the shorter of two", "/de/x", "default/german:80"],
    ["the root gets the rest", "/fr/shop", "default/root:80"],
  ])("%s: %s", (_, target, expected) => {
    expect(mixed.ask(`k8s.com${target}`)).toBe(expected)
  })

  test("a prefix that has become a pattern is rewritten as before", () => {
    const rewritten = (annotation: string) =>
      edge(`${k8s(
        "nginx.ingress.kubernetes.io/rewrite-target: /$1",
        path("/a/b/(.*)", "ImplementationSpecific", "pattern"),
      )}---
${k8s(annotation, path("/a", "Prefix", "plain")).replace("k8s-ingress", "plain")}`)
    const plain = rewritten("ingress.kubernetes.io/rewrite-target: /x")
    expect(plain.ask("k8s.com/a")).toBe("default/plain:80 /x")
    expect(plain.ask("k8s.com/a/c/d?e")).toBe("default/plain:80 /x/c/d?e")
    const whole = rewritten("nginx.ingress.kubernetes.io/rewrite-target: /x")
    expect(whole.ask("k8s.com/a/c/d?e")).toBe("default/plain:80 /x?e")
  })
})

describe("use-regex", () => {
  test.each([
    ["/foo/[0-9]+", "ImplementationSpecific", "/foo/12", "default/a:80"],
    ["/foo/[0-9]+", "ImplementationSpecific", "/foo/x", "404"],
    ["/foo/[0-9]+", "Prefix", "/foo/12", "default/a:80"],
    // As "~*" without an end
    ["/foo", "ImplementationSpecific", "/FOOBAR", "default/a:80"],
    // The API's word on Prefix goes before
    ["/foo", "Prefix", "/foobar", "404"],
  ])("%s as %s: %s is %s", (text, type, target, expected) => {
    const web = edge(k8s('nginx.ingress.kubernetes.io/use-regex: "true"', path(text, type, "a")))
    expect(web.ask(`k8s.com${target}`)).toBe(expected)
  })

  test("a path that could hold up the edge is refused, the others are served", () => {
    const web = edge(
      k8s(
        'nginx.ingress.kubernetes.io/use-regex: "true"',
        path("/(a+)+b", "ImplementationSpecific", "bad") + path("/good", "Prefix", "good"),
      ),
    )
    expect([web.ask("k8s.com/aab"), web.ask("k8s.com/good")]).toEqual(["404", "default/good:80"])
    expect(web.translation.problems).toEqual([
      {
        ingress: "default/k8s-ingress",
        reason: "InvalidPath",
        severity: "warning",
        message:
          'the path "k8s.com/(a+)+b" repeats a group that varies in itself; it is not served',
      },
    ])
  })
})
