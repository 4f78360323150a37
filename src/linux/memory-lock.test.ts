import { expect, test } from "bun:test"
import { fileMappings } from "./memory-lock.ts"

test("fileMappings() are those of files that can be read", () => {
  const maps = `00200000-01a38000 r--p 00000000 fe:00 131 /usr/bin/causeway
01a40000-06848000 r-xp 01840000 fe:00 131                                /usr/bin/causeway
22911e00000-22951e00000 rw-p 00000000 00:00 0
7fdc00000000-7fdd00000000 ---p 00000000 00:00 0
7fdd4448f000-7fdd445e5000 ---p 00000000 fe:00 99                         /usr/lib/libc.so.6
7fffa75a8000-7fffa75c9000 rw-p 00000000 00:00 0                          [stack]
`
  expect(fileMappings(maps)).toEqual([
    { start: 0x200000, length: 0x1838000 },
    { start: 0x1a40000, length: 0x4e08000 },
  ])
})
