import { expect, test } from "bun:test"
import { checkPattern, escapePattern, literalStart, looksLikePattern } from "./pattern.ts"

const ANCHORED = { isAnchored: true }

test.each([
  ["/something(/|$)(.*)"],
  ["/api/v1/?(.*)"],
  ["/(en|de|fr)/shop/([^/]+)/item"],
  ["/foo/[0-9]{1,3}$"],
  ["/a(/.*)?"],
  ["/(ab)+"],
  ["/(?:x|y)/(?<name>\\d+)"],
  ["/[)(*+]+"],
  ["/\\(a+\\)+"],
  ["/a.*b"],
  ["/a/(.*)/b/(.*)"],
  ["/(.*)/b/(.*)$"],
  ["/([^/]+)/([^/]+)/(.*)\\.html$"],
  ["/v\\d+\\.\\d+/(.*)"],
  ["/(\\d{2}/)+"],
  ["/[a-f0-9]{8}-[a-f0-9]{4}/?(.*)"],
])("checkPattern() takes %s", (source) => {
  expect(checkPattern(source, ANCHORED)).toEqual({ ok: true })
})

const OPEN_ENDS =
  "repeats something behind a repetition that may end in many places, or begins anywhere"

test.each([
  ["/(a+)+b", "repeats a group that varies in itself"],
  ["/((a|a))*b", "repeats a group that varies in itself"],
  ["/(a?){30}a{30}", "repeats a group that varies in itself"],
  ["/(x(a*)y)*", "repeats a group that varies in itself"],
  [`/${"a?".repeat(13)}`, "has too many choices"],
  [`/${"a{0,1}".repeat(13)}`, "has too many choices"],
  [`/${"(a|b)".repeat(13)}`, "has too many choices"],
  [`/${"(a|b|a|b|a|b|a|b)".repeat(5)}`, "has too many choices"],
  [`/${"(a|b)".repeat(7)}.*x`, "has too many choices"],
  [`/${"a{0,9}".repeat(4)}`, "has too many choices"],
  ["/(.*)x(.*)y", OPEN_ENDS],
  ["/(.*)x[^/]+/", OPEN_ENDS],
  ["/(.*)x.{20}", OPEN_ENDS],
  ["/(ab)*a(ba)*c", OPEN_ENDS],
  ["/[a-z]+[a-z0-9]+/", OPEN_ENDS],
  ["/[a-z]+A.*b", OPEN_ENDS],
  ["/[a-z]+-?.*b", OPEN_ENDS],
  ["/(a)\\1", "has a back reference"],
  ["/(?<n>a)\\k<n>", "has a back reference"],
  ["/(?<=a)b", "has a look-behind"],
  ["/a(?!b)", "has a look-ahead"],
  ["/(?i)a", "changes its own options"],
  ["/(?i:a)", "changes its own options"],
  ["/(?>a)", "is possessive"],
  ["/a*+", "is possessive"],
  ["/[]a]", "has an empty class"],
  ["/a\nb", "has a control character"],
  ["/(a", "is not a regular expression"],
  ["/a)b(", "is not a regular expression"],
  ["/[", "is not a regular expression"],
  ["/**", "is not a regular expression"],
  [`/${"a".repeat(1024)}`, "is longer than 1024 characters"],
])("checkPattern() refuses %j", (source, reason) => {
  expect(checkPattern(source, ANCHORED)).toEqual({ ok: false, reason })
})

test("checkPattern() takes no repetition where a pattern may begin anywhere", () => {
  const check = (source: string) => checkPattern(source, { isAnchored: false })
  expect(check("^v\\d+$")).toEqual({ ok: true })
  expect(check("internal|beta.*")).toEqual({ ok: true })
  expect(check("x.*y")).toEqual({ ok: false, reason: OPEN_ENDS })
  expect(check("^a|x.*y")).toEqual({ ok: false, reason: OPEN_ENDS })
})

/** The longest text that is matched against patterns is 8 KiB. */
test.each([
  ["/a/(.*)/b", "/a/".padEnd(8192, "/")],
  [`/${"(a|b)".repeat(6)}.*x`, "/".padEnd(8192, "a")],
  [`/${"a?".repeat(12)}x`, "/".padEnd(8192, "a")],
  ["/([^/]+)/([^/]+)/(.*)\\.html$", "/".padEnd(8192, "a")],
])("a pattern that is taken costs little on a text that it was made to fail on: %s", (...args) => {
  const [source, text] = args
  expect(checkPattern(source, ANCHORED)).toEqual({ ok: true })
  const pattern = new RegExp(`^(?i:${source})`, "s")
  const startedAt = performance.now()
  expect(pattern.test(text)).toBe(false)
  // 5 ms at most; with one more repetition it would be seconds.
  expect(performance.now() - startedAt).toBeLessThan(500)
})

test.each([
  ["/api/(.*)", "/api/"],
  ["/api/?(.*)", "/api"],
  ["/ab*", "/a"],
  ["/a|/b", ""],
  ["/a(b|c)", "/a"],
  ["/a(b)|/c", ""],
  ["/a{2}", "/"],
  ["/plain", "/plain"],
  ["/a\\.b", "/a"],
])("literalStart() of %s is %j", (source, expected) => {
  expect(literalStart(source)).toBe(expected)
})

test("escapePattern() matches the text alone", () => {
  const text = "/a.b*c+(d)|[e]{2}^$\\-?"
  expect(new RegExp(`^${escapePattern(text)}$`).test(text)).toBe(true)
  expect(new RegExp(`^${escapePattern("/a.b")}$`).test("/axb")).toBe(false)
})

test("looksLikePattern() lets a dot be", () => {
  expect([looksLikePattern("/robots.txt"), looksLikePattern("/a/(.*)")]).toEqual([false, true])
})
