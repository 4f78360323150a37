import { expect, test } from "bun:test"
import { tunName } from "./process-placement.ts"

for (const [router, device] of [
  ["edge", "cw-edge"],
  ["mysql-replicas-a", "cw-mysql-replic"],
  ["web / api", "cw-web---api"],
  ["Zürich", "cw-Z-rich"],
] as const) {
  test(`tunName() of ${router} is ${device}`, () => {
    expect(tunName(router)).toBe(device)
  })
}
