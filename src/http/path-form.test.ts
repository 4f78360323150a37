/** One path, however it is written. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { configuredForm, encodedPath, formOf } from "./path-form.ts"

const MERGE = { mergeSlashes: true }

/** What is sent on, and what is matched. */
function form(path: string, mergeSlashes = true): readonly string[] {
  const result = formOf(path, { mergeSlashes })
  return result.ok ? [result.forward, result.match] : [result.reason]
}

describe("formOf() brings a path to one form", () => {
  test.each([
    // RFC 3986 §6.2.2
    ["/a/b", "/a/b", "/a/b"],
    ["/%61%2D%7e", "/a-~", "/a-~"],
    ["/%c3%a9", "/%C3%A9", "/\xc3\xa9"],
    ["/a%40b", "/a%40b", "/a@b"],
    ["/100%25", "/100%25", "/100%"],
    ["/%252e%252e/a", "/%252e%252e/a", "/%2e%2e/a"],
    ["/a%3Fb%23c", "/a%3Fb%23c", "/a?b#c"],
    ["/a%0Ab", "/a%0Ab", "/a\nb"],
    // §5.2.4
    ["/a/./b", "/a/b", "/a/b"],
    ["/a/../b", "/b", "/b"],
    ["/a/b/..", "/a/", "/a/"],
    ["/a/b/.", "/a/b/", "/a/b/"],
    ["/a/..", "/", "/"],
    ["/a/%2e%2E/b", "/b", "/b"],
    ["/a/.%2e/b", "/b", "/b"],
    ["/a/b/../../c", "/c", "/c"],
    ["/.well-known/x", "/.well-known/x", "/.well-known/x"],
    ["/...", "/...", "/..."],
    ["/a..", "/a..", "/a.."],
    // Empty segments
    ["//a", "/a", "/a"],
    ["/a///b//", "/a/b/", "/a/b/"],
    ["//", "/", "/"],
    // Parameters (§3.3)
    ["/a;v=1/b", "/a;v=1/b", "/a/b"],
    ["/a;/b;x", "/a;/b;x", "/a/b"],
    ["/a%3Bb", "/a%3Bb", "/a;b"],
    ["/;x/a", "/;x/a", "/a"],
    ["/a/;x", "/a/;x", "/a/"],
    // Encoded separators
    ["/a%2fb", "/a%2Fb", "/a/b"],
    ["/a%5cb", "/a%5Cb", "/a/b"],
    ["/api/queues/%2F/name", "/api/queues/%2F/name", "/api/queues/name"],
    ["/a%2F%2Fb", "/a%2F%2Fb", "/a/b"],
    ["/a%2F", "/a%2F", "/a/"],
    ["/%2Fa", "/%2Fa", "/a"],
    ["/a;x%2Fb", "/a;x%2Fb", "/a/b"],
  ])("%s", (path, forward, match) => {
    expect(form(path)).toEqual([forward, match])
  })
})

describe("formOf() refuses what has no safe reading", () => {
  test.each([
    ["/%", "bad-percent-encoding"],
    ["/%2", "bad-percent-encoding"],
    ["/%zz", "bad-percent-encoding"],
    ["/%2%41", "bad-percent-encoding"],
    ["/a%00", "encoded-nul"],
    ["/a\\b", "backslash"],
    ["/..", "above-root"],
    ["/a/../../b", "above-root"],
    ["/%2e%2e/", "above-root"],
    ["//..", "above-root"],
    ["/a/..;/b", "hidden-dot-segment"],
    ["/a/.;x/b", "hidden-dot-segment"],
    ["/a/%2e%2e;/b", "hidden-dot-segment"],
    ["/a%2F..", "hidden-dot-segment"],
    ["/a/..%2Fb", "hidden-dot-segment"],
    ["/a%5C..%5Cb", "hidden-dot-segment"],
    ["/a%2F.;x", "hidden-dot-segment"],
    ["/a%2F%2e%2e%2fb", "hidden-dot-segment"],
  ])("%s: %s", (path, reason) => {
    expect(form(path)).toEqual([reason])
  })
})

test("formOf() keeps empty segments when it is told to", () => {
  expect(form("/a//b/", false)).toEqual(["/a//b/", "/a//b/"])
  expect(form("/a//../b", false)).toEqual(["/a/b", "/a/b"])
  expect(form("//", false)).toEqual(["//", "//"])
})

describe("formOf() says where each segment ends in what is sent on", () => {
  test.each([
    ["/a/b", [2, 4]],
    ["/a/b/", [2, 4]],
    ["//a//b", [2, 4]],
    ["/%c3%a9/b", [7, 9]],
    ["/a;v=1/b;w", [6, 10]],
    ["/a%2Fb/c", [2, 6, 8]],
    ["/a%2F%2Fb", [2, 9]],
    ["/a;x%2Fb", [4, 8]],
    ["/", []],
  ])("%s: %j", (path, ends) => {
    const result = formOf(path, MERGE)
    expect(result.ok && result.segmentEnds).toEqual(ends)
  })
})

const paths = fc
  .array(fc.constantFrom("/", "/", "a", ".", "..", ";", "%2f", "%2e", "%41", "%25", "%5c", "b"))
  .map((parts) => `/${parts.join("")}`)

test("formOf() of what it sends on is the same: a second edge changes nothing", () => {
  fc.assert(
    fc.property(paths, fc.boolean(), (path, mergeSlashes) => {
      const once = formOf(path, { mergeSlashes })
      if (once.ok) expect(formOf(once.forward, { mergeSlashes })).toEqual(once)
    }),
    { numRuns: 2000 },
  )
})

test("formOf() matches no dot segments, and no empty ones but the last", () => {
  fc.assert(
    fc.property(paths, (path) => {
      const result = formOf(path, MERGE)
      if (!result.ok) return
      expect(result.match).not.toMatch(/\/\.{1,2}(\/|$)|\/\//)
      expect(result.forward).not.toMatch(/\/(\.|%2e){1,2}(\/|;|$)|\/\//i)
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ["/a", "/a"],
  ["/é", "/\xc3\xa9"],
  ["/%C3%A9", "/\xc3\xa9"],
  ["/100%25", "/100%"],
])("configuredForm(%p)", (path, match) => {
  expect(configuredForm(path)).toBe(match)
})

test.each([
  ["/a b", "/a%20b"],
  ["/\xc3\xa9", "/%C3%A9"],
  ["/100%", "/100%25"],
  ["/a;b=1/c@d:e", "/a;b=1/c@d:e"],
  ["/a?b#c", "/a%3Fb%23c"],
])("encodedPath(%p)", (bytes, path) => {
  expect(encodedPath(bytes)).toBe(path)
})
