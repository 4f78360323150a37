/**
 * The scenarios of kubernetes-sigs/ingress-controller-conformance (features/*.feature) over real
 * requests to real pods, and what the API leaves to the controller: clashes, missing Services.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type KeyPair, makeAuthority, makeCertificate } from "./certificates.ts"
import {
  addressesOf,
  answerOf,
  applyIngress,
  ask,
  createIngressStage,
  deploy,
  eventsOf,
  eventuallyAnswers,
  type IngressStage,
  problemsOf,
  removeIngress,
  settle,
  startIngressEdge,
  tlsSecret,
  VIP,
} from "./kubernetes-ingress-stage.ts"
import { createService } from "./kubernetes-stage.ts"

let stage: IngressStage
let edge: Edge
let authority: KeyPair

const SERVICES = [
  "wildcard-foo-com",
  "foo-bar-com",
  "foo-exact",
  "foo-prefix",
  "aaa-slash-bbb-prefix",
  "aaa-prefix",
  "aaa-slash-bbb-slash-prefix",
  "foo-slash-exact",
  "specific",
]

beforeAll(async () => {
  stage = await createIngressStage("k8s-conformance")
  const directory = join(stage.lab.directory, "tls")
  mkdirSync(directory)
  authority = await makeAuthority(directory, "authority")
  await deploy(stage, "echo-service", { pods: 4, servicePort: 8080 })
  for (const name of SERVICES) await deploy(stage, name, { servicePort: 8080 })
  edge = await startIngressEdge(stage)
}, 60_000)

afterAll(() => stage?.lab.close())

/** The pod that answers, or the status. */
async function podOf(place: string, asking: Parameters<typeof answerOf>[2] = {}): Promise<string> {
  return (await answerOf(stage, place, asking)).split(" ")[0]?.replace(/-\d+$/, "") ?? ""
}

describe("default_backend", () => {
  beforeAll(() =>
    applyIngress(stage, { name: "default-backend", defaultBackend: "echo-service:8080" }),
  )
  afterAll(() => removeIngress(stage, "default-backend"))

  test.each([
    ["GET", "my-host/"],
    ["GET", "my-host/sub-path"],
    ["POST", "some-host/"],
    ["PUT", "/resource"],
    ["DELETE", "some-host/resource"],
    ["PATCH", "my-host/resource"],
  ])("%s %s goes to the default backend", async (method, place) => {
    expect(await podOf(place, { method })).toBe("echo-service")
  })

  test("its status shows where it is reached", async () => {
    await eventually(async () => (await addressesOf(stage, "default-backend")).join() === VIP)
  })

  test("an Ingress with rules keeps its own for what they do not match", async () => {
    await applyIngress(stage, {
      name: "some",
      defaultBackend: "foo-prefix:8080",
      rules: [["some.test/a", "foo-exact:8080"]],
    })
    const places = ["some.test/a/b", "some.test/b", "other.test/a"]
    const pods = await Promise.all(places.map((place) => podOf(place)))
    expect(pods).toEqual(["foo-exact", "foo-prefix", "echo-service"])
    await removeIngress(stage, "some")
  })
})

describe("host_rules", () => {
  beforeAll(async () => {
    const pair = await makeCertificate(authority, "foo-bar", ["foo.bar.com"])
    await stage.api.apply(await tlsSecret(pair, "conformance-tls"))
    await applyIngress(stage, {
      name: "host-rules",
      tls: [{ hosts: ["foo.bar.com"], secretName: "conformance-tls" }],
      rules: [
        ["*.foo.com/", "wildcard-foo-com:8080"],
        ["foo.bar.com/", "foo-bar-com:http"],
      ],
    })
    await eventuallyAnswers(stage, "foo.bar.com/", "foo-bar-com-1 /", {
      tls: true,
      words: verified(),
    })
  })
  afterAll(() => removeIngress(stage, "host-rules"))

  /** "-k" counts only until an authority is named. */
  function verified(): string[] {
    return ["--no-insecure", "--cacert", authority.cert]
  }

  test.each([
    ["an exact host does not match its sibling", "subdomain.bar.com/", "404"],
    ["nor what is below it", "a.foo.bar.com/", "404"],
    ["host *.foo.com matches by shared suffix", "bar.foo.com/", "wildcard-foo-com"],
    ["whatever its case", "BAR.Foo.COM/", "wildcard-foo-com"],
    ["and its port", "bar.foo.com:80/", "wildcard-foo-com"],
    ["it covers a single label", "baz.bar.foo.com/", "404"],
    ["and not none", "foo.com/", "404"],
  ])("%s", async (_, place, pod) => {
    expect(await podOf(place)).toBe(pod)
  })

  test("the certificate of the Secret is shown to whoever asks for its host", async () => {
    const answer = await ask(stage, "foo.bar.com/", { tls: true, words: verified() })
    expect([answer.status, answer.pod, answer.error]).toEqual([200, "foo-bar-com-1", ""])
  })

  test("plain requests of a host with TLS are sent to https, of others are not", async () => {
    const { status, fields } = await ask(stage, "foo.bar.com/x?y")
    expect([status, fields.get("location")]).toEqual([308, "https://foo.bar.com/x?y"])
    expect(await podOf("bar.foo.com/")).toBe("wildcard-foo-com")
  })
})

describe("path_rules", () => {
  beforeAll(() =>
    applyIngress(stage, {
      name: "path-rules",
      rules: [
        ["exact-path-rules/foo", "foo-exact:8080", "Exact"],
        ["prefix-path-rules/foo", "foo-prefix:8080"],
        ["prefix-path-rules/aaa/bbb", "aaa-slash-bbb-prefix:8080"],
        ["prefix-path-rules/aaa", "aaa-prefix:8080"],
        ["mixed-path-rules/foo", "foo-prefix:8080"],
        ["mixed-path-rules/foo", "foo-exact:8080", "Exact"],
        ["trailing-slash-path-rules/aaa/bbb/", "aaa-slash-bbb-slash-prefix:8080"],
        ["trailing-slash-path-rules/foo/", "foo-slash-exact:8080", "Exact"],
        ["specific-path-rules/foo", "specific:8080", "ImplementationSpecific"],
      ],
    }),
  )
  afterAll(() => removeIngress(stage, "path-rules"))

  test.each([
    ["exact /foo matches /foo", "exact-path-rules/foo", "foo-exact"],
    ["and with a query", "exact-path-rules/foo?a=/b", "foo-exact"],
    ["exact /foo does not match /foo/", "exact-path-rules/foo/", "404"],
    ["exact /foo does not match /FOO", "exact-path-rules/FOO", "404"],
    ["exact /foo does not match /bar", "exact-path-rules/bar", "404"],
    ["prefix /foo matches /foo", "prefix-path-rules/foo", "foo-prefix"],
    ["prefix /foo matches /foo/", "prefix-path-rules/foo/", "foo-prefix"],
    ["prefix /foo does not match /FOO", "prefix-path-rules/FOO", "404"],
    ["prefix /aaa/bbb matches /aaa/bbb", "prefix-path-rules/aaa/bbb", "aaa-slash-bbb-prefix"],
    ["and /aaa/bbb/ccc", "prefix-path-rules/aaa/bbb/ccc", "aaa-slash-bbb-prefix"],
    ["prefix /aaa matches /aaa/ccc", "prefix-path-rules/aaa/ccc", "aaa-prefix"],
    ["prefix /aaa does not match /aaaccc", "prefix-path-rules/aaaccc", "404"],
    ["nor what leads out of it", "prefix-path-rules/aaa/../bar", "404"],
    ["nor what an encoding hides", "prefix-path-rules/aaa/%2e%2e/bar", "404"],
    ["exact is preferred", "mixed-path-rules/foo", "foo-exact"],
    ["prefix /foo matches what exact does not", "mixed-path-rules/foo/", "foo-prefix"],
    [
      "prefix /a/b/ matches /a/b",
      "trailing-slash-path-rules/aaa/bbb",
      "aaa-slash-bbb-slash-prefix",
    ],
    ["and /a/b/", "trailing-slash-path-rules/aaa/bbb/", "aaa-slash-bbb-slash-prefix"],
    ["exact /foo/ matches /foo/", "trailing-slash-path-rules/foo/", "foo-slash-exact"],
    ["exact /foo/ does not match /foo", "trailing-slash-path-rules/foo", "404"],
    ["a specific path is a prefix", "specific-path-rules/foo/bar", "specific"],
    ["by segment", "specific-path-rules/foobar", "404"],
  ])("%s", async (_, place, pod) => {
    expect(await podOf(place)).toBe(pod)
  })

  test("nothing is wrong with them", async () => {
    expect(await problemsOf(edge, "path-rules")).toEqual([])
  })
})

describe("ingress_class", () => {
  const classOf = (name: string, controller: string, isDefault: boolean) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "IngressClass",
    metadata: {
      name,
      annotations: { "ingressclass.kubernetes.io/is-default-class": String(isDefault) },
    },
    spec: { controller },
  })
  const OURS = "causeway.dev/ingress-controller"
  const THEIRS = "k8s.io/ingress-nginx"
  const CLASS = "kubernetes.io/ingress.class"

  test.each([
    ["an unknown class", "some-invalid-class-name", "", "404"],
    ["the configured class", "causeway", "", "foo-exact"],
    ["an IngressClass of our controller", "edge", "", "foo-exact"],
    ["an IngressClass of another's", "nginx", "", "404"],
    ["no class, and no default", "", "", "404"],
    ["the annotation", "", "causeway", "foo-exact"],
    ["another's annotation", "", "nginx", "404"],
  ])("%s", async (_, className, annotation, expected) => {
    await stage.api.apply([classOf("edge", OURS, false), classOf("nginx", THEIRS, false)])
    await applyIngress(stage, {
      name: "classed",
      className,
      annotations: annotation === "" ? {} : { [CLASS]: annotation },
      rules: [["classed.test/", "foo-exact:8080"]],
    })
    if (expected === "404") expect(await podOf("classed.test/")).toBe("404")
    // The IngressClass comes by another watch.
    else await eventuallyAnswers(stage, "classed.test/", "foo-exact-1 /")
    const addresses = expected === "404" ? "" : VIP
    await eventually(async () => (await addressesOf(stage, "classed")).join() === addresses)
    await removeIngress(stage, "classed")
  })

  test.each([
    ["another's annotation before our field", "causeway", "nginx", "404"],
    ["our annotation before another's field", "nginx", "causeway", "foo-exact"],
  ])("%s", async (_, ingressClassName, annotation, expected) => {
    await applyIngress(stage, {
      name: "classed",
      className: "",
      annotations: { [CLASS]: annotation },
      rules: [["classed.test/", "foo-exact:8080"]],
    })
    // The API takes both only one after the other.
    await stage.api.patch("ingresses", "default/classed", { spec: { ingressClassName } })
    await settle(stage)
    expect(await podOf("classed.test/")).toBe(expected)
    await removeIngress(stage, "classed")
  })

  test("no class, and ours becomes the default, and is it no more", async () => {
    await applyIngress(stage, {
      name: "classed",
      className: "",
      rules: [["classed.test/", "foo-exact:8080"]],
    })
    await stage.api.apply([classOf("edge", OURS, true)])
    await eventuallyAnswers(stage, "classed.test/", "foo-exact-1 /")
    await eventually(async () => (await addressesOf(stage, "classed")).join() === VIP)
    await stage.api.apply([classOf("edge", OURS, false)])
    await eventuallyAnswers(stage, "classed.test/", "404")
    // And the status that we wrote is taken back.
    await eventually(async () => (await addressesOf(stage, "classed")).length === 0)
    await removeIngress(stage, "classed")
  })
})

describe("load_balancing", () => {
  test("requests go to all pods of the Service, evenly", async () => {
    await applyIngress(stage, {
      name: "balanced",
      rules: [["balanced.test/", "echo-service:8080"]],
    })
    const counts: Record<string, number> = {}
    const target = `http://${VIP}/[1-400]`
    const argv = ["curl", "-sS", "-m", "20", "-H", "Host: balanced.test", target]
    for (const line of (await stage.client.exec(argv)).trim().split("\n")) {
      const [pod = ""] = line.split(" ")
      counts[pod] = (counts[pod] ?? 0) + 1
    }
    report("400 requests over 4 pods", counts)
    expect(Object.keys(counts).sort()).toEqual([1, 2, 3, 4].map((each) => `echo-service-${each}`))
    for (const count of Object.values(counts)) expect(count).toBeWithin(90, 111)
    await removeIngress(stage, "balanced")
  })
})

describe("clashes", () => {
  test("the oldest wins, the younger is told, and takes over when it is gone", async () => {
    const rules = (service: string) => [["clash.test/same", service]] as const
    await applyIngress(stage, { name: "z-older", rules: rules("foo-exact:8080") })
    // Ages are told in whole seconds; among equals the name would decide.
    await Bun.sleep(1_100)
    await applyIngress(stage, {
      name: "a-younger",
      rules: [...rules("foo-prefix:8080"), ["clash.test/own", "foo-prefix:8080"]],
    })
    expect(await podOf("clash.test/same")).toBe("foo-exact")
    expect(await podOf("clash.test/own")).toBe("foo-prefix")
    expect(await problemsOf(edge, "a-younger")).toEqual([
      "Conflict: clash.test/same is served by Ingress default/z-older, which is older",
    ])
    await eventually(async () => (await eventsOf(stage, "a-younger")).includes("Conflict"))
    await removeIngress(stage, "z-older")
    expect(await podOf("clash.test/same")).toBe("foo-prefix")
    expect(await problemsOf(edge, "a-younger")).toEqual([])
    await removeIngress(stage, "a-younger")
  })
})

describe("backends that are not there", () => {
  test("no Service: 503 and an Event, and served once it is made", async () => {
    await applyIngress(stage, {
      name: "early",
      rules: [
        ["early.test/", "late-service"],
        ["early.test/port", "foo-exact:81"],
      ],
    })
    expect([await podOf("early.test/"), await podOf("early.test/port")]).toEqual(["503", "503"])
    await eventually(async () => (await eventsOf(stage, "early")).includes("BackendNotFound"))
    const problems = await problemsOf(edge, "early")
    expect(problems.join("\n")).toContain("there is no Service default/late-service")
    expect(problems.length).toBe(2)
    await deploy(stage, "late-service")
    await eventuallyAnswers(stage, "early.test/", "late-service-1 /")
    await removeIngress(stage, "early")
  })

  test("a Service without pods: 503", async () => {
    const slices = await createService(stage, { name: "empty" })
    await slices.write([])
    await applyIngress(stage, { name: "empty", rules: [["empty.test/", "empty"]] })
    await eventuallyAnswers(stage, "empty.test/", "503")
    await removeIngress(stage, "empty")
  })

  test("a Service that is deleted", async () => {
    await deploy(stage, "short-lived")
    await applyIngress(stage, { name: "short", rules: [["short.test/", "short-lived"]] })
    await eventuallyAnswers(stage, "short.test/", "short-lived-1 /")
    await stage.api.remove("services", "default/short-lived")
    await eventuallyAnswers(stage, "short.test/", "503")
    await removeIngress(stage, "short")
  })
})
