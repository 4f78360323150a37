/**
 * Annotations of ingress-nginx on real requests: each does what its users know it for, or is told
 * of. docs/ingress.md is the list.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type KeyPair, makeAuthority, makeCertificate } from "./certificates.ts"
import {
  answerOf,
  applyIngress,
  ask,
  createIngressStage,
  type Deployment,
  deploy,
  deployOdd,
  eventsOf,
  eventuallyAnswers,
  type IngressSettings,
  type IngressStage,
  problemsOf,
  removeIngress,
  secretObject,
  startIngressEdge,
  VIP,
} from "./kubernetes-ingress-stage.ts"
import { createService } from "./kubernetes-stage.ts"
import { nth } from "./stage.ts"

let stage: IngressStage
let edge: Edge
let authority: KeyPair
let web: Deployment

beforeAll(async () => {
  stage = await createIngressStage("k8s-annotations")
  const directory = join(stage.lab.directory, "tls")
  mkdirSync(directory)
  authority = await makeAuthority(directory, "authority")
  const inner = await makeCertificate(authority, "inner", ["inner.test"])
  web = await deploy(stage, "web", { pods: 3 })
  await deploy(stage, "canary")
  await deploy(stage, "secure", { port: 8443, servicePort: 443, tls: inner })
  await deploy(stage, "auth", { more: AUTH_SERVER })
  await deployOdd(stage)
  edge = await startIngressEdge(stage, { http: 'trusted_proxies = ["192.168.1.100/32"]' })
  await stage.client.ip("address add 192.168.1.101/24 dev eth0")
}, 60_000)

afterAll(() => stage?.lab.close())

/** Lets in whoever brings the right cookie, and says who that is. */
const AUTH_SERVER = `
  location = /check {
    if ($http_cookie ~ "session=good") {
      add_header x-auth-user alice always;
      return 200;
    }
    return 401;
  }`

/** One Ingress for one test, called as the host's first label. */
async function withIngress(
  settings: Partial<IngressSettings> & Pick<IngressSettings, "annotations">,
  body: () => unknown,
): Promise<void> {
  const rules = settings.rules ?? [["a.test/", "web"] as const]
  await applyIngress(stage, { name: "annotated", ...settings, rules })
  try {
    await body()
  } finally {
    await removeIngress(stage, "annotated")
  }
}

const fromOther = { words: ["--interface", "192.168.1.101"] }

describe("bodies and time", () => {
  test("proxy-body-size: 413 above it", () =>
    withIngress({ annotations: { "proxy-body-size": "8k" } }, async () => {
      const statuses = []
      for (const bodyBytes of [8192, 8193, 200_000]) {
        statuses.push((await ask(stage, "a.test/", { method: "POST", bodyBytes })).status)
      }
      expect(statuses).toEqual([200, 413, 413])
      const chunked = { "Transfer-Encoding": "chunked" }
      const options = { method: "POST", bodyBytes: 20_000, headers: chunked }
      expect((await ask(stage, "a.test/", options)).status).toBe(413)
    }))

  test("proxy-body-size 0: any", () =>
    withIngress({ annotations: { "proxy-body-size": "0" } }, async () => {
      const options = { method: "POST", bodyBytes: 3_000_000 }
      expect((await ask(stage, "a.test/", options)).status).toBe(200)
    }))

  test("proxy-read-timeout: 504 when the server says nothing for so long", () =>
    withIngress(
      { annotations: { "proxy-read-timeout": "1" }, rules: [["a.test/", "odd"]] },
      async () => {
        const startedAt = performance.now()
        const { status } = await ask(stage, "a.test/silent")
        report("proxy-read-timeout 1", { status, ms: performance.now() - startedAt })
        expect(status).toBe(504)
        expect(performance.now() - startedAt).toBeGreaterThan(900)
        // A byte every 200 ms for two seconds is fine: it is between two reads.
        const drip = await ask(stage, "a.test/drip")
        expect([drip.status, drip.body]).toEqual([200, ".........."])
      },
    ))

  test("proxy-connect-timeout: 504 where nobody answers", async () => {
    const slices = await createService(stage, { name: "hole" })
    // Dropped, not refused.
    await stage.podHosts
      .get(1)
      ?.exec([
        "nft",
        "add table ip hole; add chain ip hole in { type filter hook input priority 0; }; add rule ip hole in ip daddr 10.244.1.253 drop",
      ])
    await stage.podHosts.get(1)?.ip("address add 10.244.1.253/24 dev eth0")
    await slices.write([{ name: "hole-1", address: "10.244.1.253", state: "ready" }])
    const settings = {
      annotations: { "proxy-connect-timeout": "1" },
      rules: [["a.test/", "hole"]] as const,
    }
    await withIngress(settings, async () => {
      const startedAt = performance.now()
      const { status } = await ask(stage, "a.test/")
      report("proxy-connect-timeout 1", { status, ms: performance.now() - startedAt })
      expect(status).toBe(504)
    })
  })
})

describe("canaries", () => {
  /** How many of so many requests each Service's pods answered. */
  async function shares(count: number, asking: Parameters<typeof ask>[2] = {}) {
    const words = ["-H", "Host: a.test", `http://${VIP}/[1-${count}]`]
    for (const [name, value] of Object.entries(asking.headers ?? {})) {
      words.unshift("-H", `${name}: ${value}`)
    }
    const text = await stage.client.exec(["curl", "-sS", "-m", "20", ...words])
    const lines = text.trim().split("\n")
    const canary = lines.filter((line) => line.startsWith("canary-")).length
    return { web: lines.length - canary, canary }
  }

  async function withCanary(annotations: Record<string, string>, body: () => unknown) {
    const rules = [["a.test/", "canary"]] as const
    const canary = { name: "canary", annotations: { canary: "true", ...annotations }, rules }
    await applyIngress(stage, { name: "main", rules: [["a.test/", "web"]] }, canary)
    try {
      await body()
    } finally {
      await removeIngress(stage, "canary", "main")
    }
  }

  test("by weight", () =>
    withCanary({ "canary-weight": "20" }, async () => {
      const found = await shares(1_000)
      report("canary-weight 20, of 1,000", found)
      // Five standard deviations of 1,000 draws at 0.2 are 63.
      expect(found.canary).toBeWithin(137, 264)
    }))

  test("by weight of another total, and none and all", async () => {
    await withCanary({ "canary-weight": "500", "canary-weight-total": "1000" }, async () => {
      expect((await shares(400)).canary).toBeWithin(150, 251)
    })
    await withCanary({ "canary-weight": "0" }, async () => {
      expect(await shares(50)).toEqual({ web: 50, canary: 0 })
    })
    await withCanary({ "canary-weight": "100" }, async () => {
      expect(await shares(50)).toEqual({ web: 0, canary: 50 })
    })
  })

  test("by header: always, never, and else the weight", () =>
    withCanary({ "canary-by-header": "X-Canary", "canary-weight": "100" }, async () => {
      const found = []
      for (const value of ["always", "never", "perhaps"]) {
        found.push((await shares(20, { headers: { "X-Canary": value } })).canary)
      }
      expect(found).toEqual([20, 0, 20])
    }))

  test("by a header's value, and by a pattern", async () => {
    const by = async (annotations: Record<string, string>, value: string) => {
      let canary = 0
      await withCanary({ "canary-by-header": "X-Team", ...annotations }, async () => {
        canary = (await shares(10, { headers: { "X-Team": value } })).canary
      })
      return canary
    }
    expect(await by({ "canary-by-header-value": "red" }, "red")).toBe(10)
    expect(await by({ "canary-by-header-value": "red" }, "always")).toBe(0)
    expect(await by({ "canary-by-header-pattern": "^(red|blue)$" }, "blue")).toBe(10)
    expect(await by({ "canary-by-header-pattern": "^(red|blue)$" }, "green")).toBe(0)
  })

  test("by cookie, after the header", () =>
    withCanary({ "canary-by-header": "X-Canary", "canary-by-cookie": "beta" }, async () => {
      const found = []
      for (const headers of [
        { Cookie: "a=b; beta=always" },
        { Cookie: "beta=never" },
        { Cookie: "beta=always", "X-Canary": "never" },
        { Cookie: "beta=never", "X-Canary": "always" },
      ]) {
        found.push((await shares(10, { headers })).canary)
      }
      expect(found).toEqual([10, 0, 0, 10])
    }))

  test("without a main Ingress gets nothing, and is told", async () => {
    await applyIngress(stage, {
      name: "alone",
      annotations: { canary: "true", "canary-weight": "50" },
      rules: [["alone.test/", "canary"]],
    })
    expect(await answerOf(stage, "alone.test/")).toBe("404")
    expect((await problemsOf(edge, "alone")).join()).toStartWith("CanaryWithoutMain")
    await removeIngress(stage, "alone")
  })
})

describe("affinity: cookie", () => {
  test("a client stays with its pod, and moves when that is gone", () =>
    withIngress(
      {
        annotations: {
          affinity: "cookie",
          "session-cookie-name": "route",
          "session-cookie-max-age": "600",
          "session-cookie-samesite": "Lax",
        },
      },
      async () => {
        const first = await ask(stage, "a.test/")
        const cookie = first.fields.get("set-cookie") ?? ""
        expect(cookie).toMatch(/^route=[^;]+; .*Max-Age=600.*/)
        expect(cookie).toContain("SameSite=Lax")
        expect(cookie).not.toContain("10.244.")
        const Cookie = cookie.split(";")[0] ?? ""
        const pods = new Set<string>()
        for (let count = 0; count < 12; count += 1) {
          const { pod, fields } = await ask(stage, "a.test/", { headers: { Cookie } })
          pods.add(pod)
          expect(fields.has("set-cookie")).toBe(false)
        }
        expect([...pods]).toEqual([first.pod])
        const without = new Set<string>()
        for (let count = 0; count < 12; count += 1) without.add((await ask(stage, "a.test/")).pod)
        expect(without.size).toBe(3)
        await web.slices.write(web.pods.filter(({ name }) => name !== first.pod))
        const next = await eventually(async () => {
          const answer = await ask(stage, "a.test/", { headers: { Cookie } })
          return answer.pod !== first.pod && answer
        })
        expect([next.status, next.fields.get("set-cookie")]).toEqual([
          200,
          expect.stringMatching(/^route=/),
        ])
        await web.slices.write(web.pods)
      },
    ))
})

describe("who may pass", () => {
  test("whitelist-source-range, by the address behind a trusted proxy", () =>
    withIngress(
      { annotations: { "whitelist-source-range": "192.168.1.100/32, 203.0.113.0/24" } },
      async () => {
        const from = (address: string) => ({ headers: { "X-Forwarded-For": address } })
        const statuses = []
        for (const asking of [
          {},
          fromOther,
          // 192.168.1.100 is a proxy that is believed, .101 is not.
          from("203.0.113.7"),
          from("198.51.100.1"),
          { ...from("203.0.113.7"), ...fromOther },
        ]) {
          statuses.push((await ask(stage, "a.test/", asking)).status)
        }
        expect(statuses).toEqual([200, 403, 200, 403, 403])
      },
    ))

  test("denylist-source-range", () =>
    withIngress({ annotations: { "denylist-source-range": "192.168.1.101" } }, async () => {
      expect((await ask(stage, "a.test/")).status).toBe(200)
      expect((await ask(stage, "a.test/", fromOther)).status).toBe(403)
    }))

  test("a range that cannot be read lets nobody pass", () =>
    withIngress({ annotations: { "whitelist-source-range": "10.0.0.0/33" } }, async () => {
      expect((await ask(stage, "a.test/")).status).toBe(503)
      expect((await problemsOf(edge, "annotated")).join("\n")).toContain("AccessDenied")
    }))

  test("auth-type basic with apr1, bcrypt and plain SHA; a changed Secret counts at once", async () => {
    const apr1 = (await stage.client.exec(["openssl", "passwd", "-apr1", "one"])).trim()
    const bcrypt = (await Bun.password.hash("two", { algorithm: "bcrypt", cost: 5 })).replace(
      "$2b$",
      "$2y$",
    )
    const sha = `{SHA}${new Bun.CryptoHasher("sha1").update("three").digest("base64")}`
    const users = `alice:${apr1}\nbob:${bcrypt}\n# nobody\n\ncarol:${sha}\n`
    await stage.api.apply(secretObject("basic", { auth: users }))
    const annotations = { "auth-type": "basic", "auth-secret": "basic", "auth-realm": "Staff only" }
    const login = (words: string) => ({ words: ["-u", words] })
    await withIngress({ annotations }, async () => {
      await eventually(async () => (await ask(stage, "a.test/")).status === 401)
      const { fields } = await ask(stage, "a.test/")
      expect(fields.get("www-authenticate")).toMatch(/^Basic realm="Staff only"/)
      const statuses = []
      for (const words of ["alice:one", "bob:two", "carol:three", "alice:two", "dave:one"]) {
        statuses.push((await ask(stage, "a.test/", login(words))).status)
      }
      expect(statuses).toEqual([200, 200, 200, 401, 401])
      await stage.api.apply(secretObject("basic", { auth: `dave:${apr1}\n` }))
      await eventually(async () => (await ask(stage, "a.test/", login("dave:one"))).status === 200)
      expect((await ask(stage, "a.test/", login("alice:one"))).status).toBe(401)
      await stage.api.remove("secrets", "default/basic")
      await eventually(async () => (await ask(stage, "a.test/", login("dave:one"))).status === 503)
      await eventually(async () => (await eventsOf(stage, "annotated")).includes("SecretNotFound"))
    })
  })

  test("auth-map: keys of the Secret are names", async () => {
    const hash = (await stage.client.exec(["openssl", "passwd", "-apr1", "one"])).trim()
    await stage.api.apply(secretObject("map", { erin: hash }))
    const annotations = {
      "auth-type": "basic",
      "auth-secret": "map",
      "auth-secret-type": "auth-map",
    }
    await withIngress({ annotations }, async () => {
      const login = { words: ["-u", "erin:one"] }
      await eventually(async () => (await ask(stage, "a.test/", login)).status === 200)
      expect((await ask(stage, "a.test/")).status).toBe(401)
    })
  })

  test("the Secret of another namespace lets nobody pass", async () => {
    await stage.api.apply(secretObject("theirs", { auth: "a:b" }, { namespace: "other" }))
    const annotations = { "auth-type": "basic", "auth-secret": "other/theirs" }
    await withIngress({ annotations }, async () => {
      expect((await ask(stage, "a.test/")).status).toBe(503)
    })
  })

  test("auth-url asks a Service, and hands on what it says", () =>
    withIngress(
      {
        annotations: {
          "auth-url": "http://auth.default.svc.cluster.local/check",
          "auth-response-headers": "X-Auth-User",
          "auth-signin": "https://login.test/start?rd=$escaped_request_uri",
        },
        rules: [["a.test/", "odd"]],
      },
      async () => {
        const refused = await ask(stage, "a.test/headers?x=1")
        expect(refused.status).toBe(302)
        expect(refused.fields.get("location")).toStartWith("https://login.test/start?rd=")
        const Cookie = "session=good"
        // Whatever a client says of itself is not believed.
        const headers = { Cookie, "X-Auth-User": "mallory" }
        const passed = await ask(stage, "a.test/headers", { headers })
        expect(passed.status).toBe(200)
        expect(passed.body.toLowerCase()).toContain("x-auth-user: alice\r\n")
        expect(passed.body).not.toContain("mallory")
      },
    ))
})

describe("towards servers", () => {
  test("backend-protocol HTTPS, unverified, as in ingress-nginx", () =>
    withIngress(
      { annotations: { "backend-protocol": "HTTPS" }, rules: [["a.test/", "secure:443"]] },
      async () => {
        expect(await answerOf(stage, "a.test/x")).toBe("secure-1 /x")
      },
    ))

  test("HTTP towards a server of TLS does not work, and HTTPS towards one of HTTP neither", async () => {
    await withIngress({ annotations: {}, rules: [["a.test/", "secure:443"]] }, async () => {
      expect((await ask(stage, "a.test/")).status).toBe(400)
    })
    await withIngress({ annotations: { "backend-protocol": "HTTPS" } }, async () => {
      expect((await ask(stage, "a.test/")).status).toBe(502)
    })
  })

  test("proxy-ssl-verify with the authority of a Secret and a name", async () => {
    const ca = await Bun.file(authority.cert).text()
    await stage.api.apply(secretObject("inner-ca", { "ca.crt": ca }))
    const annotations = {
      "backend-protocol": "HTTPS",
      "proxy-ssl-verify": "on",
      "proxy-ssl-secret": "default/inner-ca",
      "proxy-ssl-name": "inner.test",
      "proxy-ssl-server-name": "on",
    }
    const rules = [["a.test/", "secure:443"]] as const
    await withIngress({ annotations, rules }, () =>
      eventuallyAnswers(stage, "a.test/x", "secure-1 /x"),
    )
    const another = { ...annotations, "proxy-ssl-name": "another.test" }
    await withIngress({ annotations: another, rules }, () =>
      eventuallyAnswers(stage, "a.test/x", "502"),
    )
  })

  test("upstream-vhost is the Host that the server sees", async () => {
    await withIngress({ annotations: {} }, async () => {
      expect((await ask(stage, "a.test/")).fields.get("x-host")).toBe("a.test")
    })
    await withIngress({ annotations: { "upstream-vhost": "inner.example" } }, async () => {
      expect((await ask(stage, "a.test/")).fields.get("x-host")).toBe("inner.example")
    })
  })

  test("service ports by name and number; use-regex; app-root; server-alias", () =>
    withIngress(
      {
        annotations: { "use-regex": "true", "app-root": "/home", "server-alias": "b.test,c.test" },
        rules: [
          ["a.test/v[0-9]+/", "web:http", "ImplementationSpecific"],
          ["a.test/", "canary:80"],
        ],
      },
      async () => {
        expect(await answerOf(stage, "a.test/V12/x")).toMatch(/^web-. \/V12\/x$/)
        expect(await answerOf(stage, "c.test/v1/x")).toMatch(/^web-. /)
        expect(await answerOf(stage, "a.test/vx/x")).toBe("canary-1 /vx/x")
        const root = await ask(stage, "a.test/")
        expect([root.status, root.fields.get("location")]).toEqual([302, "http://a.test/home"])
      },
    ))
})

describe("redirects", () => {
  test.each([
    [{ "permanent-redirect": "https://new.test/there" }, 301, "https://new.test/there"],
    [
      { "permanent-redirect": "https://new.test$request_uri", "permanent-redirect-code": "308" },
      308,
      "https://new.test/a/b?c=d",
    ],
    [{ "temporal-redirect": "https://new.test/" }, 302, "https://new.test/"],
  ])("%j", (annotations, status, location) =>
    withIngress({ annotations: annotations as Record<string, string> }, async () => {
      const answer = await ask(stage, "a.test/a/b?c=d")
      expect([answer.status, answer.fields.get("location")]).toEqual([status, location])
    }),
  )

  test("force-ssl-redirect, but not of what a trusted proxy got by https", () =>
    withIngress({ annotations: { "force-ssl-redirect": "true" } }, async () => {
      const headers = { "X-Forwarded-Proto": "https" }
      const statuses = []
      for (const asking of [{}, { headers }, { headers, ...fromOther }]) {
        statuses.push((await ask(stage, "a.test/", asking)).status)
      }
      expect(statuses).toEqual([308, 200, 308])
    }))

  test("from-to-www-redirect", () =>
    withIngress({ annotations: { "from-to-www-redirect": "true" } }, async () => {
      const { status, fields } = await ask(stage, "www.a.test/x?y=z")
      expect([status, fields.get("location")]).toEqual([308, "http://a.test/x?y=z"])
    }))
})

describe("cross-origin requests", () => {
  const annotations = {
    "enable-cors": "true",
    "cors-allow-origin": "https://app.test, https://*.apps.test",
    "cors-allow-methods": "GET, PUT",
    "cors-max-age": "600",
  }

  test("are answered for origins that are allowed", () =>
    withIngress({ annotations }, async () => {
      const preflight = await ask(stage, "a.test/", {
        method: "OPTIONS",
        headers: { Origin: "https://app.test", "Access-Control-Request-Method": "PUT" },
      })
      expect(preflight.status).toBe(204)
      expect(preflight.fields.get("access-control-allow-origin")).toBe("https://app.test")
      expect(preflight.fields.get("access-control-allow-methods")).toBe("GET, PUT")
      expect(preflight.fields.get("access-control-max-age")).toBe("600")
      const origins = []
      for (const Origin of ["https://app.test", "https://x.apps.test", "https://evil.test"]) {
        const { status, fields } = await ask(stage, "a.test/", { headers: { Origin } })
        origins.push([status, fields.get("access-control-allow-origin")])
      }
      expect(origins).toEqual([
        [200, "https://app.test"],
        [200, "https://x.apps.test"],
        [200, undefined],
      ])
    }))
})

test("limit-rps: 429 beyond the burst, for each client", () =>
  withIngress({ annotations: { "limit-rps": "2", "limit-burst-multiplier": "2" } }, async () => {
    const codes = ["-o", "/dev/null", "-w", "%{http_code} ", "-H", "Host: a.test"]
    const argv = ["curl", "-sS", "-m", "10", ...codes, `http://${VIP}/[1-12]`]
    const statuses = (await stage.client.exec(argv)).trim().split(" ")
    expect(statuses.filter((status) => status === "200").length).toBeWithin(4, 8)
    expect(new Set(statuses)).toEqual(new Set(["200", "429"]))
    expect((await ask(stage, "a.test/", fromOther)).status).toBe(200)
  }))

describe("what is not served", () => {
  test("unknown annotations are listed, snippets refused, the rest is served", () =>
    withIngress(
      {
        annotations: {
          "made-up": "x",
          "configuration-snippet": "return 200 owned;",
          "server-snippet": "location /x { return 200 owned; }",
          "auth-snippet": "x",
          "modsecurity-snippet": "x",
          "stream-snippet": "x",
          "enable-modsecurity": "true",
          "proxy-buffering": "on",
          "proxy-read-timeout": "soon",
        },
      },
      async () => {
        expect(await answerOf(stage, "a.test/x")).toMatch(/^web-. \/x$/)
        const reasons = new Map<string, string[]>()
        for (const problem of await problemsOf(edge, "annotated")) {
          const [reason = "", name = ""] = problem.split(/: nginx\.ingress\.kubernetes\.io\/| /)
          reasons.set(reason, [...(reasons.get(reason) ?? []), name.replace(/:$/, "")].sort())
        }
        expect(Object.fromEntries(reasons)).toEqual({
          UnknownAnnotation: ["made-up"],
          RefusedSnippet: [
            "auth-snippet",
            "configuration-snippet",
            "modsecurity-snippet",
            "server-snippet",
            "stream-snippet",
          ],
          UnsupportedAnnotation: ["enable-modsecurity", "proxy-buffering"],
          InvalidAnnotation: ["proxy-read-timeout"],
        })
        await eventually(async () => {
          const events = await eventsOf(stage, "annotated")
          return ["RefusedSnippet", "InvalidAnnotation"].every((each) => events.includes(each))
        })
      },
    ))

  test("a protocol that is not spoken: 503", () =>
    withIngress({ annotations: { "backend-protocol": "GRPC" } }, async () => {
      expect((await ask(stage, "a.test/")).status).toBe(503)
      const text = nth(await problemsOf(edge, "annotated"), 0)
      expect(text).toContain("GRPC is not spoken here")
    }))

  test("values with line ends and quotes do no harm", () =>
    withIngress(
      {
        annotations: {
          "upstream-vhost": "a\r\nX-Injected: 1",
          "permanent-redirect": "https://x.test/\r\nSet-Cookie: a=b",
          "auth-realm": 'a" b="c',
          "rewrite-target": "/x\r\ny",
          "session-cookie-name": "a; Domain=b",
          affinity: "cookie",
        },
      },
      async () => {
        const answer = await ask(stage, "a.test/x")
        expect(answer.status).toBe(200)
        expect(answer.fields.get("x-host")).toBe("a.test")
        expect(answer.fields.get("set-cookie")).toStartWith("INGRESSCOOKIE=")
      },
    ))
})
