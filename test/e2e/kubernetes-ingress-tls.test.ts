/**
 * TLS of Ingress objects: Secrets by server name, asked by openssl and curl; replaced, lost and
 * broken while clients are there.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type KeyPair, makeAuthority, makeCertificate } from "./certificates.ts"
import { startHttpLoad } from "./http-load.ts"
import {
  answerOf,
  applyIngress,
  ask,
  createIngressStage,
  deploy,
  eventsOf,
  type IngressStage,
  ingressObject,
  ingressToml,
  problemsOf,
  removeIngress,
  secretObject,
  startIngressEdge,
  tlsSecret,
  VIP,
} from "./kubernetes-ingress-stage.ts"
import { startClusterEdge } from "./kubernetes-stage.ts"

let stage: IngressStage
let edge: Edge
let authority: KeyPair
let directory: string

beforeAll(async () => {
  stage = await createIngressStage("k8s-ingress-tls")
  directory = join(stage.lab.directory, "tls")
  mkdirSync(join(directory, "files"), { recursive: true })
  authority = await makeAuthority(directory, "authority")
  await Bun.write(join(directory, "files/large"), new Uint8Array(LARGE))
  await deploy(stage, "web", { pods: 2, more: `location /files/ { root ${directory}; }` })
  edge = await startIngressEdge(stage)
}, 60_000)

afterAll(() => stage?.lab.close())

const LARGE = 48 * 1024 * 1024

function certificate(file: string, ...names: string[]): Promise<KeyPair> {
  return makeCertificate(authority, file, names)
}

interface Shown {
  /** The certificate in PEM; "" when none was shown. */
  readonly pem: string
  /** Its first name. */
  readonly subject: string
  readonly output: string
}

/** What openssl is shown when it asks for a name; "": for none. */
async function shown(name: string, ...words: string[]): Promise<Shown> {
  const asked = name === "" ? ["-noservername"] : ["-servername", name]
  const [to = VIP] = words.filter((word) => /^[\d.]+$/.test(word))
  const options = words.filter((word) => word !== to)
  const argv = ["openssl", "s_client", "-connect", `${to}:443`, ...asked, ...options]
  const { stdout, stderr } = await stage.client.run(argv, { stdin: "", timeoutMs: 10_000 })
  const output = `${stdout}\n${stderr}`
  const [pem = ""] = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(output) ?? []
  return { pem, subject: /^subject=.*CN ?= ?(.*)$/m.exec(output)?.[1] ?? "", output }
}

/** Waits until whoever asks for the name is shown the certificate of that subject. */
function eventuallyShows(name: string, subject: string): Promise<unknown> {
  const what = `${name} to be shown the certificate of ${JSON.stringify(subject)}`
  return eventually(async () => (await shown(name)).subject === subject, { what })
}

describe("a listener without a certificate of its own", () => {
  test("before the first Secret: a clean alert, and nothing suffers", async () => {
    await applyIngress(stage, { name: "plain", rules: [["plain.test/", "web"]] })
    const before = (await edge.status()).threads
    for (const version of ["-tls1_2", "-tls1_3"]) {
      for (const name of ["plain.test", ""]) {
        const { subject, output } = await shown(name, version)
        expect(subject).toBe("")
        expect(output).toContain("unrecognized name")
      }
    }
    expect((await edge.status()).threads).toEqual(before)
    expect(await answerOf(stage, "plain.test/")).toMatch(/^web-. \/$/)
  })

  test("a Secret serves its host alone: other names get the alert", async () => {
    await stage.api.apply(await tlsSecret(await certificate("one", "one.test", "more.test"), "one"))
    await applyIngress(stage, {
      name: "one",
      tls: [{ hosts: ["one.test"], secretName: "one" }],
      rules: [
        ["one.test/", "web"],
        ["more.test/", "web"],
      ],
    })
    await eventuallyShows("one.test", "one.test")
    for (const name of ["plain.test", "more.test", ""]) {
      const { subject, output } = await shown(name)
      expect([name, subject]).toEqual([name, ""])
      expect(output).toContain("unrecognized name")
    }
    const words = ["--no-insecure", "--cacert", authority.cert]
    expect(await answerOf(stage, "one.test/a", { tls: true, words })).toMatch(/^web-. \/a$/)
    await removeIngress(stage, "plain")
    await removeIngress(stage, "one")
    await eventuallyShows("one.test", "")
  })

  test("a challenge of ACME is answered before there is a certificate", async () => {
    const token = "/.well-known/acme-challenge/dG9rZW4"
    const whitelist = { "whitelist-source-range": "0.0.0.0/0,::/0" }
    await applyIngress(
      stage,
      {
        name: "shop",
        tls: [{ hosts: ["shop.test"], secretName: "shop" }],
        rules: [["shop.test/", "web"]],
      },
      // As cert-manager makes it.
      {
        name: "cm-acme-http-solver",
        annotations: whitelist,
        rules: [[`shop.test${token}`, "web", "ImplementationSpecific"]],
      },
    )
    expect(await answerOf(stage, "shop.test/")).toBe("308")
    expect(await answerOf(stage, `shop.test${token}`)).toEndWith(token)
    await stage.api.apply(await tlsSecret(await certificate("shop", "shop.test"), "shop"))
    await eventuallyShows("shop.test", "shop.test")
    await removeIngress(stage, "shop", "cm-acme-http-solver")
  })
})

describe("with a certificate of the listener", () => {
  beforeAll(async () => {
    const { cert, key } = await certificate("default", "default.test")
    const http = `tls = { certificates = [{ cert = "${cert}", key = "${key}" }] }`
    expect(await edge.reload(`${await tomlOf(http)}`)).toMatchObject({ exitCode: 0 })
  })

  async function tomlOf(http: string): Promise<string> {
    const text = await Bun.file(edge.configPath).text()
    const table = /\n\[kubernetes\]\n[^[]*/.exec(text)?.[0] ?? ""
    return ingressToml({ http, tables: table })
  }

  test("each host gets its own, exact before wildcard, all others the default", async () => {
    for (const [file, ...names] of [
      ["a", "a.test"],
      ["b", "b.test", "www.b.test"],
      ["wild", "*.wild.test"],
      ["special", "special.wild.test"],
    ] as const) {
      await stage.api.apply(await tlsSecret(await certificate(file, ...names), file))
    }
    await applyIngress(stage, {
      name: "many",
      tls: [
        { hosts: ["a.test"], secretName: "a" },
        { hosts: ["b.test", "www.b.test"], secretName: "b" },
        { hosts: ["*.wild.test"], secretName: "wild" },
        { hosts: ["special.wild.test"], secretName: "special" },
      ],
      rules: [
        ["a.test/", "web"],
        ["b.test/", "web"],
        ["www.b.test/", "web"],
        ["*.wild.test/", "web"],
        ["special.wild.test/", "web"],
      ],
    })
    await eventuallyShows("special.wild.test", "special.wild.test")
    for (const [name, subject] of [
      ["a.test", "a.test"],
      ["A.TEST", "a.test"],
      ["b.test", "b.test"],
      ["www.b.test", "b.test"],
      ["any.wild.test", "*.wild.test"],
      ["two.labels.wild.test", "default.test"],
      ["elsewhere.test", "default.test"],
      ["", "default.test"],
    ] as const) {
      expect([name, (await shown(name)).subject]).toEqual([name, subject])
    }
    expect(await answerOf(stage, "any.wild.test/x", { tls: true })).toMatch(/^web-. \/x$/)
    expect(await problemsOf(edge, "many")).toEqual([])
  })

  test("Secrets that are missing, broken or for another host: the default, and told", async () => {
    const good = await tlsSecret(await certificate("wrong", "wrong.test"), "wrong")
    const [first, other] = [await certificate("first", "f.test"), await certificate("other", "o")]
    await stage.api.apply([
      good,
      secretObject("garbage", { "tls.crt": "no", "tls.key": "no" }, { tls: true }),
      await tlsSecret({ cert: first.cert, key: other.key }, "mismatch"),
    ])
    const hosts = ["missing", "garbage", "mismatch", "wrong"] as const
    await applyIngress(stage, {
      name: "broken",
      tls: hosts.map((name) => ({ hosts: [`${name}-host.test`], secretName: name })),
      rules: hosts.map((name) => [`${name}-host.test/`, "web"] as const),
    })
    const problems = await eventually(async () => {
      const found = await problemsOf(edge, "broken")
      return found.some((each) => each.includes("mismatch")) ? found : undefined
    })
    expect(problems.map((each) => each.split(":")[0]).sort()).toEqual([
      "CertificateNotForHost",
      "InvalidCertificate",
      "InvalidCertificate",
      "SecretNotFound",
    ])
    expect(problems.join("\n")).not.toContain("PRIVATE")
    await eventually(async () => new Set(await eventsOf(stage, "broken")).size === 3)
    for (const name of hosts) {
      expect([name, (await shown(`${name}-host.test`)).subject]).toEqual([name, "default.test"])
    }
    // And what is mended is served.
    await stage.api.apply(await tlsSecret(await certificate("m", "missing-host.test"), "missing"))
    await eventuallyShows("missing-host.test", "missing-host.test")
    await removeIngress(stage, "broken")
  })

  test("a Secret that breaks, goes, and comes back", async () => {
    await applyIngress(stage, {
      name: "fragile",
      tls: [{ hosts: ["fragile.test"], secretName: "fragile" }],
      rules: [["fragile.test/", "web"]],
    })
    const secret = await tlsSecret(await certificate("fragile", "fragile.test"), "fragile")
    await stage.api.apply(secret)
    await eventuallyShows("fragile.test", "fragile.test")
    await stage.api.remove("secrets", "default/fragile")
    await eventuallyShows("fragile.test", "default.test")
    await stage.api.apply(secret)
    await eventuallyShows("fragile.test", "fragile.test")
    await removeIngress(stage, "fragile")
  })

  test("an Opaque Secret with a certificate will do", async () => {
    const pair = await certificate("opaque", "opaque.test")
    const secret = await tlsSecret(pair, "opaque")
    await stage.api.apply({ ...secret, type: "Opaque" })
    await applyIngress(stage, {
      name: "opaque",
      tls: [{ hosts: ["opaque.test"], secretName: "opaque" }],
      rules: [["opaque.test/", "web"]],
    })
    await eventuallyShows("opaque.test", "opaque.test")
    await removeIngress(stage, "opaque")
  })

  test("is replaced while a download goes on over the old one, and clients lose nothing", async () => {
    const replace = async (file: string) => {
      await stage.api.apply(await tlsSecret(await certificate(file, "live.test"), "live"))
    }
    await replace("live-1")
    await applyIngress(stage, {
      name: "live",
      tls: [{ hosts: ["live.test"], secretName: "live" }],
      rules: [["live.test/", "web"]],
    })
    await eventuallyShows("live.test", "live.test")
    const first = (await shown("live.test")).pem
    const argv = ["curl", "-sS", "-k", "-m", "40", "--limit-rate", "8M", "-o", "/dev/null"]
    const words = ["-w", "%{http_code} %{size_download}", "--connect-to", `::${VIP}:443`]
    const download = stage.client.spawn([...argv, ...words, "https://live.test/files/large"])
    const options = { tls: true, paths: ["/x"], authority: "live.test", connections: 4 }
    const kept = await startHttpLoad(stage.client, `${VIP}:443`, options)
    const fresh = await startHttpLoad(stage.client, `${VIP}:443`, { ...options, closes: true })
    const seen = new Set([first])
    const startedAt = performance.now()
    for (const round of [2, 3, 4]) {
      await replace(`live-${round}`)
      await eventually(async () => {
        const { pem } = await shown("live.test")
        return pem !== "" && !seen.has(pem) && seen.add(pem)
      })
    }
    const tookMs = performance.now() - startedAt
    const wasRunning = download.running
    const exitCode = await download.ended()
    if (exitCode !== 0) throw new Error(`${download.output}\n${edge.process.tail()}`)
    expect(download.stdout).toBe(`200 ${LARGE}`)
    const books = [await kept.stop(), await fresh.stop()]
    report("three certificates in turn under load", {
      "ms each": tookMs / 3,
      "download went on": wasRunning,
      requests: books.reduce((sum, { requests }) => sum + requests, 0),
      failed: JSON.stringify(books.map(({ failed }) => failed)),
      reopened: books[0]?.reopened ?? -1,
    })
    expect(books.map(({ failed }) => failed)).toEqual([{}, {}])
    expect(books[0]?.reopened).toBe(0)
    await removeIngress(stage, "live")
  }, 60_000)

  test("30 Secrets for 30 hosts", async () => {
    const names = Array.from({ length: 30 }, (_, at) => `h${at}.many.test`)
    for (let at = 0; at < names.length; at += 10) {
      const some = names.slice(at, at + 10)
      const secrets = some.map(async (name) => tlsSecret(await certificate(name, name), name))
      await stage.api.apply(await Promise.all(secrets))
    }
    await applyIngress(stage, {
      name: "thirty",
      tls: names.map((name) => ({ hosts: [name], secretName: name })),
      rules: names.map((name) => [`${name}/`, "web"] as const),
    })
    await eventuallyShows("h29.many.test", "h29.many.test")
    const subjects = []
    for (const name of names) subjects.push((await shown(name)).subject)
    expect(subjects).toEqual(names)
    await removeIngress(stage, "thirty")
    await eventuallyShows("h29.many.test", "default.test")
  }, 30_000)

  describe("plain requests", () => {
    const redirected = async (place: string) => {
      const { status, fields } = await ask(stage, place)
      return `${status} ${fields.get("location") ?? ""}`.trim()
    }

    test.each([
      ["a host with TLS: 308", {}, true, "308 https://r.test/a?b=c"],
      ["unless ssl-redirect is off", { "ssl-redirect": "false" }, true, "200"],
      ["a host without: no", {}, false, "200"],
      [
        "but by force-ssl-redirect",
        { "force-ssl-redirect": "true" },
        false,
        "308 https://r.test/a?b=c",
      ],
    ])("%s", async (_, annotations, hasTls, expected) => {
      await applyIngress(stage, {
        name: "redirecting",
        annotations,
        ...(hasTls ? { tls: [{ hosts: ["r.test"] }] } : {}),
        rules: [["r.test/", "web"]],
      })
      expect(await redirected("r.test/a?b=c")).toBe(expected)
      expect(await answerOf(stage, "r.test/a", { tls: true })).toMatch(/^web-. \/a$/)
      await removeIngress(stage, "redirecting")
    })
  })
})

describe("an edge that may not read all Secrets", () => {
  const OTHER = "192.168.1.41"
  let narrow: Edge

  /** What rbac.yaml grants but Secrets, and two of those by name. */
  beforeAll(async () => {
    const { rules = [] } = { ...(await stage.api.get("clusterroles", "causeway")) }
    const granted = rules as { resources: string[] }[]
    const subjects = [{ kind: "User", name: "narrow", apiGroup: RBAC }]
    const roleRef = (kind: string) => ({ apiGroup: RBAC, kind, name: "narrow" })
    await stage.api.apply([
      {
        ...named("ClusterRole"),
        rules: granted.filter(({ resources }) => !resources.includes("secrets")),
      },
      { ...named("ClusterRoleBinding"), subjects, roleRef: roleRef("ClusterRole") },
      {
        ...named("Role", "default"),
        rules: [
          {
            apiGroups: [""],
            resources: ["secrets"],
            resourceNames: ["granted", "passwords"],
            verbs: ["list", "watch"],
          },
        ],
      },
      { ...named("RoleBinding", "default"), subjects, roleRef: roleRef("Role") },
    ])
    const kubeconfig = await stage.api.kubeconfigFile("narrow")
    const toml = ingressToml({ address: OTHER }).replace("router_id = 51", "router_id = 52")
    narrow = await startClusterEdge(stage, stage.b, toml, { kubeconfig })
    await narrow.waitState("active")
  }, 30_000)

  const RBAC = "rbac.authorization.k8s.io"

  function named(kind: string, namespace?: string) {
    const metadata = { name: "narrow", ...(namespace === undefined ? {} : { namespace }) }
    return { apiVersion: `${RBAC}/v1`, kind, metadata }
  }

  test("follows those it is granted by name, as they change", async () => {
    await stage.api.apply([
      await tlsSecret(await certificate("granted", "granted.test"), "granted"),
      await tlsSecret(await certificate("withheld", "withheld.test"), "withheld"),
    ])
    await stage.api.apply(
      ["granted", "withheld"].map((name) =>
        ingressObject({
          name,
          tls: [{ hosts: [`${name}.test`], secretName: name }],
          rules: [[`${name}.test/`, "web"]],
        }),
      ),
    )
    const showsNow = async (name: string) => (await shown(name, OTHER)).pem
    const first = await eventually(() => showsNow("granted.test"))
    expect(await showsNow("withheld.test")).toBe("")
    expect((await problemsOf(narrow, "withheld")).join()).toContain("SecretNotFound")
    await stage.api.apply(await tlsSecret(await certificate("again", "granted.test"), "granted"))
    await eventually(async () => ![first, ""].includes(await showsNow("granted.test")))
    await stage.api.remove("secrets", "default/granted")
    await eventually(async () => (await showsNow("granted.test")) === "")
  })
})
