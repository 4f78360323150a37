/**
 * Prefixes and patterns of one host against the rule in its plain words: an exact path, else the
 * longest of all that match.
 */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { edge, ingressManifest, rule } from "./fixtures/cluster.ts"

const plain = fc
  .array(fc.constantFrom("a", "b", "ab", "A"), { maxLength: 3 })
  .map((segments) => `/${segments.join("/")}`)

const path = fc.oneof(
  plain.map((text) => `Prefix ${text}`),
  plain.map((text) => `Exact ${text}`),
  fc
    .tuple(plain, fc.constantFrom("(/|$)(.*)", "/?(.*)", ".*", "/[ab]+", "b?", "(a|b)"))
    .map(([start, end]) => `ImplementationSpecific ${start}${end}`),
)

const paths = fc.uniqueArray(path, { maxLength: 8, selector: withoutType })

test("the longest path that matches gets the request", () => {
  fc.assert(
    fc.property(paths, fc.array(plain, { minLength: 1, maxLength: 5 }), (texts, requests) => {
      const entries = texts.map((text, index) => [text, `s${index}`] as const)
      const web = edge(
        ingressManifest("default/web", `rules:\n${rule("k8s.com", ...entries)}`, {
          "nginx.ingress.kubernetes.io/use-regex": "true",
        }),
      )
      for (const request of requests) {
        const answer = web.ask(`k8s.com${request}`)
        expect([request, texts, bestOf(texts, request)]).toEqual([
          request,
          texts,
          expect.arrayContaining([answer]),
        ])
      }
    }),
    { numRuns: 300 },
  )
})

/** All that are as good; "404" when there is none. */
function bestOf(texts: readonly string[], request: string): string[] {
  const matching = texts.filter((text) => matches(text, request))
  const exact = matching.filter((text) => text.startsWith("Exact"))
  const among = exact.length > 0 ? exact : matching
  const longest = Math.max(...among.map((text) => withoutType(text).length))
  const best = among.filter((text) => withoutType(text).length === longest)
  return best.length === 0 ? ["404"] : best.map((text) => `default/s${texts.indexOf(text)}:80`)
}

function matches(text: string, request: string): boolean {
  const written = withoutType(text)
  if (text.startsWith("Exact")) return request === written
  if (text.startsWith("Impl")) return new RegExp(`^${written}`, "i").test(request)
  return written === "/" || request === written || request.startsWith(`${written}/`)
}

function withoutType(text: string): string {
  return text.slice(text.indexOf(" ") + 1)
}
