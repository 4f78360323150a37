import { describe, expect, test } from "bun:test"
import { accessWithoutKubeconfig, type KubeconfigResult, readKubeconfig } from "./kubeconfig.ts"

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
const PEM_BASE64 =
  "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="

function read(text: string, context = ""): KubeconfigResult {
  return readKubeconfig(text, {
    directory: "/etc/causeway",
    context,
    parseYaml: (yaml) => Bun.YAML.parse(yaml),
  })
}

function kubeconfig(cluster: string, user: string, context = ""): string {
  return `apiVersion: v1
kind: Config
current-context: edge@lab
contexts:
- name: other
  context: { cluster: lab, user: nobody }
- name: edge@lab
  context: { cluster: lab, user: edge${context} }
clusters:
- name: lab
  cluster: { ${cluster} }
users:
- name: edge
  user: { ${user} }
`
}

const SERVER = "server: 'https://192.0.2.10:6443'"

describe("readKubeconfig()", () => {
  test("readKubeconfig() reads data, token and namespace", () => {
    const text = kubeconfig(
      `${SERVER}, certificate-authority-data: ${PEM_BASE64}, tls-server-name: kubernetes`,
      "token: abc",
      ", namespace: edge",
    )
    expect(read(text)).toEqual({
      ok: true,
      access: {
        server: "https://192.0.2.10:6443",
        authorities: { type: "text", text: PEM },
        verify: true,
        tlsServerName: "kubernetes",
        token: { type: "text", text: "abc" },
        clientCertificate: undefined,
        namespace: "edge",
        context: "edge@lab",
      },
    })
  })

  test("readKubeconfig() resolves relative files against the kubeconfig's folder", () => {
    const text = kubeconfig(
      `${SERVER}, certificate-authority: ca.pem`,
      "client-certificate: pki/edge.crt, client-key: /run/edge.key, tokenFile: token, token: old",
    )
    expect(read(text)).toMatchObject({
      ok: true,
      access: {
        authorities: { type: "file", path: "/etc/causeway/ca.pem" },
        token: { type: "file", path: "/etc/causeway/token" },
        clientCertificate: {
          cert: { type: "file", path: "/etc/causeway/pki/edge.crt" },
          key: { type: "file", path: "/run/edge.key" },
        },
        namespace: "default",
      },
    })
  })

  test("readKubeconfig() takes kubeadm's JSON form and a path in the URL", () => {
    const text = JSON.stringify({
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
      clusters: [
        {
          name: "k",
          cluster: { server: "https://[2001:db8::1]/k8s/", "insecure-skip-tls-verify": true },
        },
      ],
      users: [{ name: "u", user: {} }],
    })
    expect(read(text)).toMatchObject({
      ok: true,
      access: { server: "https://[2001:db8::1]/k8s", verify: false, token: undefined },
    })
  })

  const REFUSED: readonly (readonly [name: string, text: string, reason: string, says: string])[] =
    [
      ["broken YAML", "a: [", "not_yaml", "is not YAML"],
      ["a list", "- a", "not_a_kubeconfig", "not a YAML mapping"],
      ["another kind", "kind: Pod", "not_a_kubeconfig", '"Pod" instead of Config'],
      ["no current context", "kind: Config", "missing_context", "kubernetes.context"],
      [
        "an unknown context",
        "current-context: x\ncontexts: [{name: y, context: {}}]",
        "missing_context",
        'no context "x" in contexts (there: "y")',
      ],
      [
        "an unknown cluster",
        "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]",
        "missing_cluster",
        'no cluster "c" in clusters (there: none)',
      ],
      [
        "an unknown user",
        "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c}]",
        "missing_user",
        'no user "u" in users',
      ],
      ["no server", kubeconfig("", "token: a"), "bad_server", 'clusters "lab" has server ""'],
      ["an odd server", kubeconfig("server: 'ftp://x'", "token: a"), "bad_server", "ftp://x"],
      [
        "an exec plugin",
        kubeconfig(SERVER, "exec: { command: aws }"),
        "exec_plugin",
        'users "edge" gets its credentials from "aws" (exec), which is not run: use a token',
      ],
      [
        "an auth-provider",
        kubeconfig(SERVER, "auth-provider: { name: oidc }"),
        "auth_provider",
        "auth-provider",
      ],
      ["a password", kubeconfig(SERVER, "username: a, password: b"), "password", "1.19"],
      ["impersonation", kubeconfig(SERVER, "token: a, as: admin"), "impersonation", "(as)"],
      ["impersonated groups", kubeconfig(SERVER, "as-groups: [a]"), "impersonation", "(as)"],
      ["a proxy", kubeconfig(`${SERVER}, proxy-url: 'http://p'`, ""), "proxy", "proxy-url"],
      [
        "half a certificate",
        kubeconfig(SERVER, "client-certificate: a.pem"),
        "bad_value",
        "no client-key",
      ],
      [
        "data that is not PEM",
        kubeconfig(`${SERVER}, certificate-authority-data: aGVsbG8=`, ""),
        "bad_value",
        "certificate-authority-data of clusters",
      ],
      [
        "an authority that would not be asked",
        kubeconfig(`${SERVER}, insecure-skip-tls-verify: true, certificate-authority: a`, ""),
        "bad_value",
        "remove one",
      ],
      ["a number for a token", kubeconfig(SERVER, "token: 1"), "bad_value", "token of users"],
      [
        "a token over plain HTTP",
        kubeconfig("server: 'http://192.0.2.10:8080'", "token: a"),
        "plain_credentials",
        "use https",
      ],
    ]

  for (const [name, text, reason, says] of REFUSED) {
    test(`readKubeconfig() refuses ${name}`, () => {
      const result = read(text)
      expect(result).toMatchObject({ ok: false, reason })
      expect(result.ok ? "" : result.message).toContain(says)
    })
  }

  test("readKubeconfig() takes the context that is asked for", () => {
    const result = read(kubeconfig(SERVER, "exec: {command: a}"), "other")
    expect(result).toMatchObject({ ok: false, reason: "missing_user" })
  })
})

describe("accessWithoutKubeconfig()", () => {
  test("accessWithoutKubeconfig() names the files", () => {
    const config = { apiServer: "https://192.0.2.10:6443/", caFile: "/ca", tokenFile: "/token" }
    expect(accessWithoutKubeconfig(config)).toEqual({
      ok: true,
      access: {
        server: "https://192.0.2.10:6443",
        authorities: { type: "file", path: "/ca" },
        verify: true,
        tlsServerName: "",
        token: { type: "file", path: "/token" },
        clientCertificate: undefined,
        namespace: "default",
        context: "",
      },
    })
  })

  test("accessWithoutKubeconfig() refuses what is no URL", () => {
    const config = { apiServer: "192.0.2.10:6443", caFile: "", tokenFile: "" }
    expect(accessWithoutKubeconfig(config)).toMatchObject({ ok: false, reason: "bad_server" })
  })
})
