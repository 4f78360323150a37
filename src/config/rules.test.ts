/** Values that are right alone and wrong together: `fixtures/documents.txt`. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { parseCases, problems } from "./fixtures/load-text.ts"

const CASES = parseCases(readFileSync(`${import.meta.dir}/fixtures/documents.txt`, "utf8"))

test.each(CASES.map((one, index) => [index + 1, one.expected[0] ?? "accepted", one] as const))(
  "documents.txt, case %d: %s",
  (_number, _title, { text, files, expected }) => {
    expect(problems(text, files)).toEqual([...expected])
  },
)

test("documents.txt is read to its end", () => {
  expect(CASES.length).toBe(90)
  expect(CASES.at(-1)?.expected).toEqual([
    "4:11 error: source must be one address of this host, not 0.0.0.0",
    "hint: Leave it out: the kernel chooses",
  ])
})

test("a virtual router advertises at most 255 addresses", () => {
  const judge = (count: number) => {
    const addresses = Array.from({ length: count }, (_, i) => `"10.0.${i >> 7}.${i & 127}"`)
    return problems(`[[vrrp]]
name = "v"
interface = "eth0"
virtual_router_id = 1
addresses = [${addresses.join(", ")}]
`)
  }
  expect(judge(255)).toEqual([])
  expect(judge(256)).toEqual([
    "5:13 error: An advertisement carries at most 255 addresses",
    "hint: Move the others to unadvertised_addresses",
  ])
})
