/** Each annotation with a value that is right, and one that is not. */
import { describe, expect, test } from "bun:test"
import { cluster, ingressManifest } from "./fixtures/cluster.ts"
import { type IngressOptions, readOptions } from "./options.ts"

const PREFIX = "nginx.ingress.kubernetes.io/"

function options(annotations: Readonly<Record<string, string>>): IngressOptions {
  const entries = Object.entries(annotations).map(([name, value]) => [
    name.includes("/") ? name : PREFIX + name,
    value,
  ])
  const manifest = ingressManifest("default/web", "rules: []", Object.fromEntries(entries))
  const [ingress] = cluster(manifest).ingresses.values()
  if (ingress === undefined) throw new Error("There is no Ingress")
  return readOptions(ingress)
}

function messages(annotations: Readonly<Record<string, string>>): string[] {
  const { findings } = options(annotations)
  return findings.map(({ reason, message }) => `${reason}: ${message.replaceAll(PREFIX, "")}`)
}

const GOOD: readonly (readonly [Readonly<Record<string, string>>, unknown])[] = [
  [{ "rewrite-target": "/$2" }, { rewrite: { target: "/$2", scope: "path" } }],
  [{ "ingress.kubernetes.io/rewrite-target": "/x" }, { rewrite: { target: "/x", scope: "match" } }],
  [{ "use-regex": "true" }, { useRegex: true }],
  [{ "ssl-redirect": "false" }, { sslRedirect: false }],
  [{ "ssl-redirect": "" }, { sslRedirect: true }],
  [{ "force-ssl-redirect": "True" }, { forceSslRedirect: true }],
  [{ "proxy-body-size": "8m" }, { bodyBytesMax: 8_388_608 }],
  [{ "proxy-body-size": "0" }, { bodyBytesMax: 0 }],
  [{ "proxy-body-size": "512K" }, { bodyBytesMax: 524_288 }],
  [
    { "proxy-connect-timeout": "5" },
    { backend: { protocol: "http", tls: undefined, connectTimeoutMs: 5000 } },
  ],
  [{ "proxy-read-timeout": "3600" }, { readTimeoutMs: 3_600_000 }],
  [{ "proxy-send-timeout": "30" }, { sendTimeoutMs: 30_000 }],
  [
    { canary: "true", "canary-weight": "20" },
    { canary: { weight: 20, weightTotal: 100, header: undefined, cookie: "" } },
  ],
  [
    { canary: "true", "canary-weight": "150", "canary-weight-total": "1000" },
    { canary: { weight: 150, weightTotal: 1000 } },
  ],
  [
    { canary: "true", "canary-by-header": "X-Canary", "canary-by-cookie": "canary" },
    { canary: { header: { name: "X-Canary", wanted: { type: "always" } }, cookie: "canary" } },
  ],
  [
    { canary: "true", "canary-by-header": "X-C", "canary-by-header-value": "yes please" },
    { canary: { header: { name: "X-C", wanted: { type: "value", value: "yes please" } } } },
  ],
  [
    { canary: "true", "canary-by-header": "X-C", "canary-by-header-pattern": "^v[12]$" },
    { canary: { header: { name: "X-C", wanted: { type: "pattern", pattern: "^v[12]$" } } } },
  ],
  [
    {
      affinity: "cookie",
      "affinity-mode": "persistent",
      "session-cookie-name": "route",
      "session-cookie-path": "/app",
      "session-cookie-domain": "k8s.com",
      "session-cookie-samesite": "None",
      "session-cookie-secure": "true",
      "session-cookie-expires": "100",
      "session-cookie-max-age": "172800",
      "session-cookie-change-on-failure": "true",
    },
    {
      sticky: {
        cookie: "route",
        path: "/app",
        domain: "k8s.com",
        sameSite: "none",
        isSecure: true,
        maxAgeMs: 172_800_000,
      },
    },
  ],
  [{ affinity: "cookie" }, { sticky: { cookie: "INGRESSCOOKIE", path: "", sameSite: undefined } }],
  [
    { "whitelist-source-range": "10.0.0.0/8, 192.0.2.1" },
    {
      access: {
        allow: [
          { address: "10.0.0.0", length: 8 },
          { address: "192.0.2.1", length: 32 },
        ],
        refusal: "",
      },
    },
  ],
  [
    { "allowlist-source-range": "2001:db8::/32", "denylist-source-range": "2001:db8::1" },
    {
      access: {
        allow: [{ address: "2001:db8::", length: 32 }],
        deny: [{ address: "2001:db8::1", length: 128 }],
      },
    },
  ],
  [{ "whitelist-source-range": "" }, { access: { allow: [], refusal: "" } }],
  [{ "backend-protocol": "https" }, { backend: { protocol: "https" } }],
  [
    {
      "backend-protocol": "HTTPS",
      "proxy-ssl-verify": "on",
      "proxy-ssl-name": "web.internal",
      "proxy-ssl-server-name": "on",
      "proxy-ssl-secret": "default/ca",
      "proxy-ssl-protocols": "TLSv1.3",
    },
    {
      backend: {
        protocol: "https",
        tls: {
          verify: true,
          serverName: "web.internal",
          secret: "default/ca",
          minVersion: "1.3",
        },
      },
    },
  ],
  [{ "upstream-vhost": "web.internal:8080" }, { upstreamHost: "web.internal:8080" }],
  [{ "x-forwarded-prefix": "/api" }, { forwardedPrefix: "/api" }],
  [
    { "permanent-redirect": "https://www.google.com" },
    {
      redirects: {
        whole: {
          scheme: "https",
          host: "www.google.com",
          port: undefined,
          path: "",
          keepsRequest: false,
          status: 301,
        },
      },
    },
  ],
  [
    { "permanent-redirect": "https://k8s.org$request_uri", "permanent-redirect-code": "308" },
    { redirects: { whole: { host: "k8s.org", keepsRequest: true, status: 308 } } },
  ],
  [
    { "temporal-redirect": "http://k8s.org:8080/new?x=1" },
    { redirects: { whole: { scheme: "http", port: 8080, path: "/new?x=1", status: 302 } } },
  ],
  [
    { "temporal-redirect": "/login" },
    { redirects: { whole: { scheme: undefined, host: undefined, path: "/login" } } },
  ],
  [{ "app-root": "/app" }, { redirects: { appRoot: "/app" } }],
  [{ "from-to-www-redirect": "true" }, { redirects: { fromToWww: true } }],
  [{ "server-alias": "a.k8s.com, b.k8s.com" }, { aliases: ["a.k8s.com", "b.k8s.com"] }],
  [
    { "enable-cors": "true" },
    {
      cors: {
        allowOrigins: ["*"],
        allowMethods: ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"],
        allowCredentials: false,
        maxAgeMs: 1_728_000_000,
      },
    },
  ],
  [
    {
      "enable-cors": "true",
      "cors-allow-origin": "https://a.com, https://*.b.com:8443",
      "cors-allow-methods": "GET, PUT",
      "cors-allow-headers": "X-A,X-B",
      "cors-expose-headers": "X-C",
      "cors-allow-credentials": "true",
      "cors-max-age": "600",
    },
    {
      cors: {
        allowOrigins: ["https://a.com", "https://*.b.com:8443"],
        allowMethods: ["GET", "PUT"],
        allowHeaders: ["X-A", "X-B"],
        exposeHeaders: ["X-C"],
        allowCredentials: true,
        maxAgeMs: 600_000,
      },
    },
  ],
  [{ "enable-cors": "false", "cors-allow-origin": "https://a.com" }, { cors: undefined }],
  [{ "limit-rps": "10" }, { limit: { requests: 10, perMs: 1000, burst: 50, exempt: [] } }],
  [
    { "limit-rpm": "6", "limit-burst-multiplier": "1", "limit-whitelist": "10.0.0.0/8" },
    {
      limit: {
        requests: 6,
        perMs: 60_000,
        burst: 6,
        exempt: [{ address: "10.0.0.0", length: 8 }],
      },
    },
  ],
  [
    { "auth-type": "basic", "auth-secret": "users", "auth-realm": "Staff only" },
    { access: { auth: { secret: "default/users", type: "auth-file", realm: "Staff only" } } },
  ],
  [
    { "auth-type": "basic", "auth-secret": "other/users", "auth-secret-type": "auth-map" },
    { access: { auth: { secret: "other/users", type: "auth-map" } } },
  ],
  [
    {
      "auth-url": "https://$host/oauth2/auth",
      "auth-signin": "https://$host/oauth2/start?rd=$escaped_request_uri",
      "auth-response-headers": "X-User, X-Email",
    },
    {
      access: {
        external: {
          server: { type: "host" },
          path: "/oauth2/auth",
          copyHeaders: ["X-User", "X-Email"],
          signin: "https://$host/oauth2/start",
        },
        refusal: "",
      },
    },
  ],
  [
    {
      "auth-url": "http://oauth2-proxy.auth.svc.cluster.local:4180/oauth2/auth?x=1",
      "auth-signin": "https://login.k8s.com/start?a=b&rd=$escaped_request_uri&c=d",
    },
    {
      access: {
        external: {
          server: {
            type: "service",
            namespace: "auth",
            service: "oauth2-proxy",
            port: 4180,
            isTls: false,
          },
          path: "/oauth2/auth?x=1",
          signin: "https://login.k8s.com/start?a=b&c=d",
        },
      },
    },
  ],
  [{ "load-balance": "ewma" }, { balance: "least_conn" }],
  [{ "upstream-hash-by": "$binary_remote_addr" }, { balance: "source" }],
]

describe("readOptions()", () => {
  test.each(
    GOOD.map(
      ([annotations, expected]) => [JSON.stringify(annotations), annotations, expected] as const,
    ),
  )("reads %s", (_, annotations, expected) => {
    const result = options(annotations)
    expect(result).toMatchObject(expected as object)
    expect(result.findings).toEqual([])
  })

  test.each([
    [
      { "rewrite-target": "x" },
      'InvalidAnnotation: rewrite-target: "x" is not a path such as "/" or "/$2"; it is not used',
    ],
    [
      { "ingress.kubernetes.io/rewrite-target": "/$1" },
      'InvalidAnnotation: ingress.kubernetes.io/rewrite-target: "/$1" is not a plain path',
    ],
    [
      { "use-regex": "yes" },
      'InvalidAnnotation: use-regex: "yes" is not "true" or "false"; it is not used',
    ],
    [
      { "proxy-body-size": "8 MB" },
      'InvalidAnnotation: proxy-body-size: "8 MB" is not a size such as "8m", or "0" for any; ' +
        "it is not used",
    ],
    [
      { "proxy-read-timeout": "60s" },
      'InvalidAnnotation: proxy-read-timeout: "60s" is not a whole number from 1 to 31536000; ' +
        "it is not used",
    ],
    [
      { canary: "true", "canary-weight": "101" },
      'InvalidAnnotation: canary-weight: "101" is not a whole number from 0 to 100; it is not used',
    ],
    [{ "canary-weight": "10" }, 'InvalidAnnotation: canary-… has no effect without canary: "true"'],
    [
      { canary: "true", "canary-by-header": "X-C", "canary-by-header-pattern": "^(a*)*" },
      "InvalidAnnotation: canary-by-header-pattern repeats a group that varies in itself; " +
        "the header is not looked at",
    ],
    [{ affinity: "ip" }, 'InvalidAnnotation: affinity: only "cookie" is served; it is not used'],
    [
      { affinity: "cookie", "session-cookie-path": "/; Domain=evil.org" },
      'InvalidAnnotation: session-cookie-path: "/; Domain=evil.org" is not a path without ' +
        "blanks and semicolons; it is not used",
    ],
    [
      { "backend-protocol": "GRPC" },
      "UnsupportedAnnotation: backend-protocol: GRPC is not spoken here; answered with 503",
    ],
    [
      { "backend-protocol": "SPDY" },
      'InvalidAnnotation: backend-protocol must be "HTTP" or "HTTPS"; HTTP is used',
    ],
    [
      { "upstream-vhost": "$service_name.svc" },
      'InvalidAnnotation: upstream-vhost: "$service_name.svc" is not a host name; ' +
        "variables of nginx are not served; it is not used",
    ],
    [
      { "permanent-redirect": "//evil.org" },
      "InvalidAnnotation: permanent-redirect is not a URL, with $request_uri at its end at most",
    ],
    [
      { "temporal-redirect": "https://a.com/x$request_uri" },
      "InvalidAnnotation: temporal-redirect is not a URL, with $request_uri at its end at most",
    ],
    [
      { "permanent-redirect": "https://a.com", "permanent-redirect-code": "305" },
      "InvalidAnnotation: permanent-redirect-code: 305 is not a redirect; 301 is used",
    ],
    [
      { "app-root": "//evil.org" },
      'InvalidAnnotation: app-root: "//evil.org" is not a path on the same host; it is not used',
    ],
    [
      { "enable-cors": "true", "cors-allow-origin": "a.com" },
      'InvalidAnnotation: cors-allow-origin: "a.com" is not origins such as ' +
        '"https://app.k8s.com", separated by commas; it is not used',
    ],
    [
      {
        "auth-url": "http://a.b.svc/",
        "auth-response-headers": "X-User,Transfer-Encoding,content-length",
      },
      "InvalidAnnotation: auth-response-headers: Transfer-Encoding, content-length is not copied",
    ],
    [
      { "auth-url": "http://a.b.svc/", "auth-signin": "javascript:alert(1)" },
      "InvalidAnnotation: auth-signin is not a URL, with $host or rd=$escaped_request_uri at most",
    ],
    [
      { "limit-rps": "1", "limit-rpm": "1" },
      "UnsupportedAnnotation: limit-rpm is not used beside limit-rps",
    ],
    [
      { "upstream-hash-by": "$request_uri" },
      'UnsupportedAnnotation: upstream-hash-by: only "$remote_addr" is served; it is not used',
    ],
    [
      { "server-alias": "~^www\\d+" },
      'InvalidAnnotation: server-alias: "~^www\\\\d+" is not host names separated by commas; ' +
        "regular expressions are not served; it is not used",
    ],
    [
      { "configuration-snippet": "deny all;" },
      "RefusedSnippet: configuration-snippet is refused: snippets of nginx are never applied",
    ],
    [
      { "custom-http-errors": "404" },
      "UnsupportedAnnotation: custom-http-errors is not served here; it is not used",
    ],
    [
      { "proxy-buffering": "off" },
      "UnsupportedAnnotation: proxy-buffering has no effect here and needs none",
    ],
    [{ "rewrite-traget": "/" }, "UnknownAnnotation: rewrite-traget is not known"],
  ])("reports %j", (annotations, expected) => {
    expect(messages(annotations as Record<string, string>)).toEqual([expected])
  })

  test.each([
    [{ "whitelist-source-range": "10.0.0.0/33" }, "whitelist-source-range cannot be read"],
    [{ "whitelist-source-range": "," }, "whitelist-source-range cannot be read"],
    [{ "denylist-source-range": "10.0.0.1; allow all" }, "denylist-source-range cannot be read"],
    [{ "auth-type": "digest", "auth-secret": "a" }, 'auth-type: only "basic" is served here'],
    [{ "auth-type": "basic" }, "auth-type needs auth-secret"],
    [{ "auth-type": "basic", "auth-secret": "a b" }, "auth-type needs auth-secret"],
    [
      { "auth-type": "basic", "auth-secret": "a", "auth-secret-type": "x" },
      'auth-secret-type must be "auth-file" or "auth-map"',
    ],
    [{ "auth-secret": "a" }, 'auth-secret needs auth-type: "basic"'],
    [
      { "auth-url": "https://auth.k8s.com" },
      "auth-url must name a Service (http://NAME.NAMESPACE.svc/PATH) or $host",
    ],
    [
      { "auth-url": "http://$host$request_uri" },
      "auth-url must name a Service (http://NAME.NAMESPACE.svc/PATH) or $host",
    ],
    [
      { "auth-url": "http://a.b.svc/", "auth-method": "POST" },
      'auth-method: only "GET" is served here',
    ],
    [{ "auth-tls-secret": "default/ca" }, "auth-tls-secret is not served here"],
  ])("lets nobody in when %j", (annotations, refusal) => {
    const { access } = options(annotations as Record<string, string>)
    expect(access.refusal.replaceAll(PREFIX, "")).toBe(refusal)
  })

  test("asks for no origin when the list of origins cannot be read", () => {
    const { cors } = options({ "enable-cors": "true", "cors-allow-origin": "a.com" })
    expect(cors?.allowOrigins).toEqual([])
  })

  test("leaves an Ingress without annotations of ours alone", () => {
    expect(options({ "example.com/rewrite-target": "/" }).findings).toEqual([])
  })
})
