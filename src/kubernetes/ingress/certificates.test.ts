import { describe, expect, test } from "bun:test"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import { readCertificate } from "../../tls/certificate.ts"
import { Certificates, covers } from "./certificates.ts"
import {
  type Cluster,
  cluster,
  ingressManifest,
  reasons,
  SETTINGS,
  translator,
} from "./fixtures/cluster.ts"

function withTls(key: string, tls: string, hosts: readonly string[] = []): string {
  const rules = hosts.map((host) => `\n  - host: "${host}"`).join("")
  return ingressManifest(key, `tls: [${tls}]\nrules: ${rules === "" ? "[]" : rules}`)
}

/** shop: shop.example, *.shop.example, shop.test; plain: plain.example. */
function secret(key: string, chain: string, privateKey: string): string {
  const [namespace, name] = key.split("/")
  return `kind: Secret
metadata: { namespace: ${namespace}, name: ${name} }
type: kubernetes.io/tls
stringData: { tls.crt: ${JSON.stringify(chain)}, tls.key: ${JSON.stringify(privateKey)} }
---
`
}

const SHOP = secret("a/shop", CERTIFICATES.shop, KEYS.shop)
const PLAIN = secret("a/plain", CERTIFICATES.plain, KEYS.plain)

function found(view: Cluster) {
  return translator().translate(view, SETTINGS)
}

function shown(manifests: string) {
  const translation = found(cluster(manifests))
  const certificates = translation.certificates.map(({ secret, names }) => [secret, ...names])
  return { certificates, reasons: reasons(translation) }
}

describe("certificates of Ingresses", () => {
  test.each([
    [
      "for the hosts that are listed, and no other of its names",
      withTls("a/a", "{ hosts: [shop.example], secretName: shop }") + SHOP,
      { certificates: [["a/shop", "shop.example"]], reasons: [] },
    ],
    [
      "for hosts of the rules when none are listed",
      withTls("a/a", "{ secretName: shop }", ["SHOP.test", "other.example"]) + SHOP,
      { certificates: [["a/shop", "shop.test"]], reasons: [] },
    ],
    [
      "for a host that a wildcard of it covers, and for the wildcard",
      withTls("a/a", '{ hosts: [x.shop.example, "*.shop.example"], secretName: shop }') + SHOP,
      { certificates: [["a/shop", "*.shop.example", "x.shop.example"]], reasons: [] },
    ],
    [
      "for a host that is in it alone",
      withTls(
        "a/a",
        "{ hosts: [shop.example, plain.example, a.b.shop.example], secretName: shop }",
      ) + SHOP,
      {
        certificates: [["a/shop", "shop.example"]],
        reasons: ["a/a: CertificateNotForHost", "a/a: CertificateNotForHost"],
      },
    ],
    [
      "of several Secrets",
      withTls(
        "a/a",
        "{ hosts: [shop.example], secretName: shop }, { hosts: [plain.example], secretName: plain }",
      ) +
        SHOP +
        PLAIN,
      {
        certificates: [
          ["a/shop", "shop.example"],
          ["a/plain", "plain.example"],
        ],
        reasons: [],
      },
    ],
    [
      "without a Secret: the listener's own",
      withTls("a/a", "{ hosts: [shop.example] }"),
      { certificates: [], reasons: [] },
    ],
    [
      "a Secret that is not there, beside one that is",
      withTls(
        "a/a",
        "{ hosts: [shop.example], secretName: no }, { hosts: [plain.example], secretName: plain }",
      ) + PLAIN,
      { certificates: [["a/plain", "plain.example"]], reasons: ["a/a: SecretNotFound"] },
    ],
    [
      "a key of another certificate, beside a right one",
      withTls(
        "a/a",
        "{ hosts: [shop.example], secretName: bad }, { hosts: [plain.example], secretName: plain }",
      ) +
        secret("a/bad", CERTIFICATES.shop, KEYS.plain) +
        PLAIN,
      { certificates: [["a/plain", "plain.example"]], reasons: ["a/a: InvalidCertificate"] },
    ],
    [
      "not for a host of another namespace's rules, however old",
      withTls("a/a", "{ hosts: [shop.example], secretName: shop }") +
        withTls("b/b", "", ["shop.example"]) +
        SHOP,
      { certificates: [], reasons: ["a/a: Conflict"] },
    ],
    [
      "a host that an older Ingress has",
      withTls("a/a", "{ hosts: [shop.example], secretName: shop }") +
        withTls("b/b", "{ hosts: [shop.example, shop.test], secretName: theirs }") +
        SHOP +
        secret("b/theirs", CERTIFICATES.shop, KEYS.shop),
      {
        certificates: [
          ["a/shop", "shop.example"],
          ["b/theirs", "shop.test"],
        ],
        reasons: ["b/b: Conflict"],
      },
    ],
    [
      "a host whose older Ingress has no good Secret",
      withTls("a/a", "{ hosts: [shop.example], secretName: no }") +
        withTls("b/b", "{ hosts: [shop.example], secretName: theirs }") +
        secret("b/theirs", CERTIFICATES.shop, KEYS.shop),
      { certificates: [["b/theirs", "shop.example"]], reasons: ["a/a: SecretNotFound"] },
    ],
  ])("%s", (_, manifests, expected) => {
    expect(shown(manifests)).toEqual(expected)
  })

  test("what is wrong is said without the key", () => {
    const view = cluster(
      withTls("a/a", "{ hosts: [shop.example], secretName: bad }") +
        secret("a/bad", CERTIFICATES.shop, KEYS.plain),
    )
    expect(found(view).problems).toEqual([
      {
        ingress: "a/a",
        reason: "InvalidCertificate",
        severity: "warning",
        message:
          "tls.key of the Secret a/bad is not the key of the certificate; the default one is shown",
      },
    ])
  })

  test("are read once, and again when the Secret is another", () => {
    let reads = 0
    const certificates = new Certificates((chain, key) => {
      reads++
      return readCertificate(chain, key, { isServer: true })
    })
    const view = cluster(withTls("a/a", "{ hosts: [shop.example], secretName: shop }") + SHOP)
    const find = () => certificates.find(view.ingresses.values(), view.secrets).certificates
    expect(find()[0]?.keyType).toBe("ec")
    find()
    expect(reads).toBe(1)
    const renewed = cluster(secret("a/shop", CERTIFICATES.shopRsa, KEYS.shopRsa)).secrets.get(
      "a/shop",
    )
    if (renewed !== undefined) view.secrets.set("a/shop", renewed)
    expect(find()[0]?.keyType).toBe("rsa")
    expect(reads).toBe(2)
  })
})

test("covers() takes a wildcard for one label", () => {
  const names = ["k8s.com", "*.k8s.com"]
  const hosts = ["k8s.com", "a.k8s.com", "a.b.k8s.com", "*.k8s.com", "*.b.k8s.com", "com"]
  expect(hosts.map((host) => covers({ names }, host))).toEqual([
    true,
    true,
    false,
    true,
    false,
    false,
  ])
})
