import { expect, test } from "bun:test"
import { pageResponse } from "./page.ts"

const response = pageResponse()
const html = await response.text()
const policy = response.headers.get("content-security-policy") ?? ""

function hashOf(tag: "style" | "script"): string {
  const content = new RegExp(`<${tag}>(.*?)</${tag}>`, "s").exec(html)?.[1] ?? ""
  expect(content.length).toBeGreaterThan(1000)
  return new Bun.CryptoHasher("sha256").update(content).digest("base64")
}

test.each(["style", "script"] as const)("the policy allows the %s of the page by hash", (tag) => {
  expect(policy).toContain(`${tag}-src 'sha256-${hashOf(tag)}'`)
})

test("the page loads nothing from elsewhere", () => {
  expect(policy).toStartWith("default-src 'none'; ")
  expect(html).not.toMatch(/(?:src|href)="(?!data:|\/)/)
  expect(html).not.toMatch(/@import|url\(/)
})

test("the page never makes markup of text", () => {
  expect(html).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write/)
  expect(html).not.toMatch(/ on[a-z]+=| style="/)
})
