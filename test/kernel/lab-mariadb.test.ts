/**
 * The lab's MariaDB: replicas follow across namespaces, survive a kill, and leave nothing behind.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, readFileSync } from "node:fs"
import { createLab, type Lab } from "../lab/lab.ts"
import { ACCOUNTS, type MariaDb, startMariaDb } from "../lab/mariadb.ts"

describe("a primary and a replica in namespaces", () => {
  let lab: Lab
  let primary: MariaDb
  let replica: MariaDb

  beforeAll(async () => {
    lab = await createLab("mariadb")
    const lan = await lab.lan("lan")
    const [first, second] = [await lab.host("m1"), await lab.host("m2")]
    await lan.join(first, { addresses: ["10.79.0.1/24"] })
    await lan.join(second, { addresses: ["10.79.0.2/24"] })
    primary = await startMariaDb({ host: first, address: "10.79.0.1" })
    replica = await startMariaDb({ host: second, address: "10.79.0.2", replicaOf: primary })
  }, 60_000)

  afterAll(async () => {
    await Promise.all([primary?.stop(), replica?.stop()])
    await lab?.close()
  })

  test("follow() replicates by GTID, into a read-only server of its own id", async () => {
    await primary.query("CREATE TABLE lab.words (word TEXT); INSERT INTO lab.words VALUES ('one')")
    await replica.catchUp(primary)
    expect(await replica.query("SELECT word, @@server_id, @@read_only FROM lab.words")).toEqual([
      ["one", "2", "1"],
    ])
    const [status] = await replica.query("SELECT @@gtid_slave_pos = '', @@gtid_strict_mode")
    expect(status).toEqual(["0", "1"])
  })

  test("start() brings a killed server back with its data, and it follows again", async () => {
    await replica.kill()
    expect(replica.running).toBe(false)
    await primary.query("INSERT INTO lab.words VALUES ('two')")
    await replica.start()
    await replica.catchUp(primary)
    expect(await replica.value("SELECT COUNT(*) FROM lab.words")).toBe("2")
  })

  test("the accounts log in over TCP", async () => {
    const { user, password } = ACCOUNTS.app
    const host = primary.options.host
    const login = [`--user=${user}`, `--password=${password}`, "--host=10.79.0.1"]
    const output = await host?.exec(["mariadb", "--no-defaults", ...login, "-Ne", "SELECT USER()"])
    expect(output).toStartWith("app@")
  })

  test("the server does not run as root and is small", () => {
    const status = readFileSync(`/proc/${primary.pid}/status`, "utf8")
    expect(/^Uid:\s+(\d+)/m.exec(status)?.[1]).not.toBe("0")
    expect(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1])).toBeLessThan(120_000)
  })
})

describe("on loopback", () => {
  test("stop() removes every file", async () => {
    const server = await startMariaDb()
    expect(await server.value("SELECT @@port")).toBe(String(server.port))
    await server.stop()
    expect(existsSync(server.directory)).toBe(false)
  }, 30_000)
})
