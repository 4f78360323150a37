/** Listeners and routes that are right alone and wrong together: `fixtures/http-documents.txt`. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { parseCases, problems } from "./fixtures/load-text.ts"

const CASES = parseCases(readFileSync(`${import.meta.dir}/fixtures/http-documents.txt`, "utf8"))

test.each(CASES.map((one, index) => [index + 1, one.expected[0] ?? "accepted", one] as const))(
  "http-documents.txt, case %d: %s",
  (_number, _title, { text, files, expected }) => {
    expect(problems(text, files)).toEqual([...expected])
  },
)

test("http-documents.txt is read to its end", () => {
  expect(CASES.length).toBe(20)
  expect(CASES.at(-1)?.expected.at(-1)).toBe("hint: Make them anew with htpasswd -B /c NAME")
})
