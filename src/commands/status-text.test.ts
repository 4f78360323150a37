import { describe, expect, test } from "bun:test"
import type { Status } from "../admin/backend.ts"
import { sampleKubernetes } from "../admin/fixtures/sample-kubernetes.ts"
import { SAMPLE_TIME, sampleStatus } from "../admin/fixtures/sample-status.ts"
import { formatStatus } from "./status-text.ts"
import { paintAnsi, paintPlain } from "./tone.ts"

const NOW = Date.parse(SAMPLE_TIME)

function lines(width: number, status: Status = sampleStatus): string[] {
  return formatStatus(status, { width, paint: paintPlain, nowEpochMs: NOW })
}

describe("formatStatus()", () => {
  test("shows everything where there is room", () => {
    expect(lines(120)).toEqual([
      "edge-a  ready  causeway 0.1.0, up 3d 3h, configuration 4, 1h 24m old",
      "",
      "VIRTUAL ROUTER  STATE    PRIORITY  INTERFACE    FOR  ADDRESSES",
      "edge            active        100  eth0       3d 3h  192.0.2.40, 2001:db8::40",
      "  peer 192.0.2.12 priority 90, heard 3d 3h ago",
      "apiserver       backup  98 of 100  eth0       3d 3h  192.0.2.41",
      "  192.0.2.12 is active with priority 101",
      "  peer 192.0.2.12 priority 101, heard 1s ago",
      "  warning: check apiserver: weight -2 can never change who is active",
      "",
      "POOL            SERVER            STATE            WEIGHT  OPEN      TOTAL    FOR  REASON",
      "mysql-replicas  192.0.2.101:3306  up                    1   118  1,204,311  3d 3h  login accepted",
      "                m2                draining              2     7  2,400,907  3d 3h  login accepted",
      "                192.0.2.103:3306  down                  1     0  1,199,420    42s  connect: ECONNREFUSED",
      "kube-masters    192.0.2.21:6443   up                    1    41     31,077  3d 3h  HTTP status 200",
      "                192.0.2.22:6443   ejected               1     0     31,077  3d 3h  failed connects, tried again in 21 s",
      "                192.0.2.23:6443   unknown, backup       1     0          0  3d 3h  no result yet",
      "",
      "STREAM      POOL            OPEN      TOTAL       IN       OUT  LISTENS ON",
      "mysql-read  mysql-replicas   125  4,804,638  2.1 GiB  27.0 GiB  192.0.2.40:3306, [2001:db8::40]:3306",
      "kube-api    kube-masters      41     93,231  2.1 GiB  27.0 GiB  192.0.2.41:6443",
      "",
      "CHECK      STATE    TOOK     FOR  REASON",
      "apiserver  down   4.5 ms  2m 52s  HTTP status 500, expected 200-399",
      "",
      "166 of 261,984 sessions, 2 data threads, vrrp scheduling fifo",
    ])
  })

  test("leaves out columns and cuts texts where there is less", () => {
    const shown = lines(64)
    expect(shown.filter((line) => /^(mysql|kube|edge|apiserver) /.test(line))).toEqual([
      "edge            active        100  3d 3h  192.0.2.40, 2001:db8:…",
      "apiserver       backup  98 of 100  3d 3h  192.0.2.41",
      "apiserver  down   4.5 ms  2m 52s  HTTP status 500, expected 200…",
    ])
    expect(shown).toContain("POOL            SERVER            STATE            OPEN    FOR")
    expect(shown).toContain("mysql-replicas  192.0.2.101:3306  up                118  3d 3h")
  })

  test.each([56, 64, 72, 80, 100, 120])("is never wider than %d columns in its tables", (width) => {
    const [, ...rest] = lines(width)
    const tables = rest.slice(0, -1)
    expect(tables.filter((line) => Bun.stringWidth(line) > width)).toEqual([])
  })

  test("says why it is not ready, and why a reload was refused", () => {
    const status: Status = {
      ...sampleStatus,
      ready: false,
      not_ready: ["listener web: EADDRINUSE"],
      config: {
        ...sampleStatus.config,
        warnings: ["pool db: check of type tcp"],
        last_error: "causeway.toml:3:1: error: …\n    x = 1",
      },
    }
    expect(lines(100, status).slice(0, 6)).toEqual([
      "edge-a  not ready  causeway 0.1.0, up 3d 3h, configuration 4, 1h 24m old",
      "not ready: listener web: EADDRINUSE",
      "warning: pool db: check of type tcp",
      "The last reload was refused, the configuration from before goes on:",
      "  causeway.toml:3:1: error: …",
      "      x = 1",
    ])
  })

  test("shows an edge without anything", () => {
    const status: Status = { ...sampleStatus, vrrp: [], pools: [], streams: [], checks: [] }
    expect(lines(100, status)).toEqual([
      "edge-a  ready  causeway 0.1.0, up 3d 3h, configuration 4, 1h 24m old",
      "",
      "166 of 261,984 sessions, 2 data threads, vrrp scheduling fifo",
    ])
  })

  test("shows a pool without a check as unchecked, and one without servers", () => {
    const pool = (name: string, servers: Status["pools"][number]["servers"]) => {
      return { name, balance: "first", servers }
    }
    const server = sampleStatus.pools[0]?.servers[0]
    if (server === undefined) throw new Error("the sample has servers")
    const unchecked = { ...server, health: "unknown" as const, reason: "no check" }
    const pools = [pool("a", [unchecked]), pool("b", [])]
    const status: Status = { ...sampleStatus, pools, vrrp: [], streams: [], checks: [] }
    expect(lines(100, status).slice(2, 5)).toEqual([
      "POOL  SERVER            STATE      WEIGHT  OPEN      TOTAL    FOR  REASON",
      "a     192.0.2.101:3306  unchecked       1   118  1,204,311  3d 3h  no check",
      "b     no servers",
    ])
  })

  test("shows the cluster, and why a pool of it is empty", () => {
    const pools = [{ name: "shop", balance: "first", servers: [] }]
    const status: Status = { ...sampleStatus, pools, kubernetes: sampleKubernetes }
    const shown = lines(160, status)
    const at = shown.findIndex((line) => line.startsWith("shop "))
    expect(shown.slice(at, at + 2)).toEqual([
      "shop  no servers",
      "  there is no Service shop/front",
    ])
    expect(shown.join("\n")).toContain("\n\nKubernetes  followed  https://192.0.2.10:6443, ")
  })

  test("passes no escape sequence of a server on to the terminal", () => {
    const [pool] = sampleStatus.pools
    const [server] = pool?.servers ?? []
    if (pool === undefined || server === undefined) throw new Error("the sample has servers")
    const hostile = { ...server, reason: "\u{1b}[2Jgone\r\n\u{9b}1m" }
    const status: Status = { ...sampleStatus, pools: [{ ...pool, servers: [hostile] }] }
    const text = lines(200, status).join("\n")
    expect(text).toContain("\u{FFFD}[2Jgone\u{FFFD} \u{FFFD}1m")
    for (const control of ["\u{1b}", "\u{9b}", "\r"]) expect(text).not.toContain(control)
  })

  test("colours states, and nothing of the width", () => {
    const painted = formatStatus(sampleStatus, { width: 120, paint: paintAnsi, nowEpochMs: NOW })
    const colored = painted.find((line) => line.includes("192.0.2.103:3306")) ?? ""
    expect(colored).toContain("\u{1b}[31;1mdown\u{1b}[0m           ")
    expect(painted.map(Bun.stripANSI).map((line) => line.trimEnd())).toEqual(lines(120))
  })
})
