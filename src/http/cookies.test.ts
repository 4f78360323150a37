/** Reading one cookie. */
import { expect, test } from "bun:test"
import { cookieIn } from "./cookies.ts"
import { requestHead } from "./fixtures/routing.ts"

test.each([
  [["Cookie: a=1"], "1"],
  [["Cookie: b=2; a=1; c=3"], "1"],
  [["Cookie: b=2;a=1"], "1"],
  [["Cookie: b=2", "Cookie: a=1"], "1"],
  [["Cookie: a=1; a=2"], "1"],
  [['Cookie: a="1"'], "1"],
  [["Cookie: a=b=c"], "b=c"],
  [["Cookie: a="], ""],
  [["Cookie: aa=1; ba=2"], undefined],
  [["Cookie: a"], undefined],
  [["Cookie: b=a=1"], undefined],
  [["Cookie:"], undefined],
  [["Cookie: ;; a=1"], "1"],
  [["X-Cookie: a=1"], undefined],
  [[], undefined],
])("cookieIn() of %j is %p", (fields, value) => {
  expect(cookieIn(requestHead("/", fields), "a")).toBe(value)
})
