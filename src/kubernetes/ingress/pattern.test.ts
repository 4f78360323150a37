import { expect, test } from "bun:test"
import { checkPattern, escapePattern, literalStart, looksLikePattern } from "./pattern.ts"

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
  ["/a.*b.*c"],
])("checkPattern() takes %s", (source) => {
  expect(checkPattern(source)).toEqual({ ok: true })
})

test.each([
  ["/(a+)+b", "repeats a group that varies in itself"],
  ["/((a|a))*b", "repeats a group that varies in itself"],
  ["/(a?){30}a{30}", "repeats a group that varies in itself"],
  ["/(x(a*)y)*", "repeats a group that varies in itself"],
  [`/${"a?".repeat(13)}`, "has more than 12 choices"],
  [`/${"(a|b)".repeat(13)}`, "has more than 12 choices"],
  [`/${".*x".repeat(7)}`, "has more than 6 repetitions"],
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
  expect(checkPattern(source)).toEqual({ ok: false, reason })
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
