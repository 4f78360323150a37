import { expect, test } from "bun:test"
import { serviceOf } from "../../kubernetes/fixtures/services.ts"
import type { ApiClient } from "../../kubernetes/shell/api-client.ts"
import { isFresh, listServiceVersions } from "./fresh-view.ts"

function view(versions: Readonly<Record<string, string>>) {
  return new Map(
    Object.entries(versions).map(([key, resourceVersion]) => [
      key,
      serviceOf(key, { meta: { resourceVersion } }),
    ]),
  )
}

const LISTED = new Map([
  ["a/x", "90"],
  ["a/y", "100"],
])

test("isFresh() when the view has all that is listed, as it is or newer", () => {
  expect(isFresh(view({ "a/x": "90", "a/y": "101" }), LISTED)).toBe(true)
  expect(isFresh(new Map(), new Map())).toBe(true)
})

test("isFresh() is false while one is missing or older", () => {
  expect(isFresh(view({ "a/x": "90" }), LISTED)).toBe(false)
  expect(isFresh(view({ "a/x": "90", "a/y": "99" }), LISTED)).toBe(false)
})

test("isFresh() is false while the view has one that was gone before the list", () => {
  expect(isFresh(view({ "a/x": "90", "a/y": "100", "a/z": "95" }), LISTED)).toBe(false)
})

test("isFresh() when one has come after the list", () => {
  expect(isFresh(view({ "a/x": "90", "a/y": "100", "a/z": "105" }), LISTED)).toBe(true)
})

test("isFresh() compares versions as numbers", () => {
  expect(isFresh(view({ "a/x": "1000" }), new Map([["a/x", "999"]]))).toBe(true)
})

test("listServiceVersions() asks for shorter pages where one is too large", async () => {
  const asked: string[] = []
  const get: ApiClient["get"] = async (_path, { query } = {}) => {
    asked.push(`${query?.["limit"]} ${query?.["continue"] ?? ""}`)
    if (Number(query?.["limit"]) > 63) {
      return { ok: false, failure: { kind: "answer", reason: "too_large", message: "" } }
    }
    const name = query?.["continue"] ?? "a"
    const metadata = { namespace: "shop", name, resourceVersion: "7" }
    return {
      ok: true,
      value: { metadata: name === "a" ? { continue: "b" } : {}, items: [{ metadata }] },
    }
  }
  expect(await listServiceVersions({ get }, [])).toEqual({
    ok: true,
    versions: new Map([
      ["shop/a", "7"],
      ["shop/b", "7"],
    ]),
  })
  expect(asked).toEqual(["500 ", "63 ", "63 b"])
})
