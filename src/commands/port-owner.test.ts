import { expect, test } from "bun:test"
import { listeningInodes, portOwner } from "./port-owner.ts"

/** From /proc/net/tcp of Linux 6.18: a listener on port 9180, another, a connection from 9180. */
const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:23DC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 40312 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20117 1 0 100 0 0 10 0
   2: 0100007F:23DC 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 40313 1 0 20 4 1 10 -1
`

test("listeningInodes() finds the listeners of a port", () => {
  expect(listeningInodes(TABLE, 9180)).toEqual(["40312"])
  expect(listeningInodes(TABLE, 22)).toEqual(["20117"])
  expect(listeningInodes(TABLE, 50000)).toEqual([])
  expect(listeningInodes("", 22)).toEqual([])
})

test("portOwner() names this process", () => {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  expect(portOwner(listener.port)).toEndWith(`(pid ${process.pid})`)
  listener.stop()
  expect(portOwner(listener.port)).toBeUndefined()
})
