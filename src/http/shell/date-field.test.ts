import { expect, test } from "bun:test"
import { instant } from "../../net/time.ts"
import { DateField } from "./date-field.ts"

test("lineAt() is written anew when the second is over, and not before", () => {
  let epochMs = 784_111_777_600
  let readings = 0
  const field = new DateField(() => {
    readings++
    return epochMs
  })
  expect(field.lineAt(instant(5000))).toBe("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
  epochMs += 399
  expect(field.lineAt(instant(5399))).toBe("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
  expect(readings).toBe(1)
  epochMs += 1
  expect(field.lineAt(instant(5400))).toBe("Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n")
})
