/** What a reload has to touch. */
import { expect, test } from "bun:test"
import type { Config } from "./config.ts"
import { diffConfig, formatDiff, isEmptyDiff } from "./diff.ts"
import { loadText } from "./fixtures/load-text.ts"

function config(text: string): Config {
  const result = loadText(text)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.config
}

const pool = (name: string, more = "") =>
  `[[pool]]\nname="${name}"\nservers=["192.0.2.1:80"]\n${more}\n`
const stream = (name: string, port: number) =>
  `[[stream]]\nname="${name}"\nbind=[":${port}"]\npool="a"\n`
const vrrp = '[[vrrp]]\nname="v"\ninterface="e"\nvirtual_router_id=1\naddresses=["192.0.2.9"]\n'
const check = '[[check]]\nname="c"\ntype="tcp"\naddress="192.0.2.1:80"\n'

test("diffConfig() finds nothing between two readings of one file", () => {
  const text = vrrp + check + pool("a") + stream("s", 80)
  const diff = diffConfig(config(text), config(text))
  expect(isEmptyDiff(diff)).toBe(true)
  expect(diff.pools.unchanged.map(({ name }) => name)).toEqual(["a"])
  expect(diff.streams.unchanged.map(({ name }) => name)).toEqual(["s"])
})

test("diffConfig() ignores the order of tables and of keys", () => {
  const next = `[[pool]]\nservers=["192.0.2.1:80"]\nname="a"\n`
  expect(isEmptyDiff(diffConfig(config(pool("a") + pool("b")), config(pool("b") + next)))).toBe(
    true,
  )
})

test("diffConfig() sorts tables into added, removed, changed and unchanged", () => {
  const old = config(pool("a") + pool("b") + pool("c") + stream("s", 80))
  const next = config(pool("a") + pool("b", "max_fails=7") + pool("d") + stream("s", 81))
  const { pools, streams } = diffConfig(old, next)
  expect(pools.unchanged.map(({ name }) => name)).toEqual(["a"])
  expect(pools.changed.map(({ from, to, keys }) => [from.maxFails, to.maxFails, keys])).toEqual([
    [2, 7, ["maxFails"]],
  ])
  expect(pools.added.map(({ name }) => name)).toEqual(["d"])
  expect(pools.removed.map(({ name }) => name)).toEqual(["c"])
  expect(streams.changed.map(({ keys }) => keys)).toEqual([["bind"]])
})

test("diffConfig() sees a change deep inside, and one from absent to present", () => {
  const tcp = '[pool.check]\ntype="tcp"\n'
  const plain = config(pool("a"))
  const checked = config(pool("a", tcp))
  const slower = config(pool("a", `${tcp}rise=9`))
  expect(diffConfig(plain, checked).pools.changed.map(({ keys }) => keys)).toEqual([["check"]])
  expect(diffConfig(checked, slower).pools.changed.map(({ keys }) => keys)).toEqual([["check"]])
})

test("diffConfig() sees a route that changed, and a users file", () => {
  const http = (route: string, users = "") => {
    const text = `[[http]]\nname="h"\nbind=[":80"]\n[[http.route]]\nrespond=404\n${route}`
    const result = loadText(text, { "/users": `a:$2b$05$${"x".repeat(52)}${users}` })
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
    return result.config
  }
  const auth = 'basic_auth = { users_file = "/users" }\n'
  const diff = diffConfig(http('path = "/a"'), http('path = "/b"'))
  expect(formatDiff(diff)).toEqual(['http "h": changed routes'])
  expect(isEmptyDiff(diffConfig(http(auth, "a"), http(auth, "a")))).toBe(true)
  expect(formatDiff(diffConfig(http(auth, "a"), http(auth, "b")))).toEqual([
    'http "h": changed routes',
  ])
})

test("formatDiff() names tables and keys as they are in TOML", () => {
  const old = config(`[log]\nlevel="warn"\n${vrrp}${check}${pool("a")}`)
  const next = config(
    `[node]\nthreads=2\n[admin]\nlisten=[]\n${vrrp}preempt_delay="1s"\npriority=9\n${pool("b")}`,
  )
  expect(formatDiff(diffConfig(old, next))).toEqual([
    "[node]: changed",
    "[admin]: changed",
    "[log]: changed",
    'vrrp "v": changed priority, preempt_delay',
    'check "c": removed',
    'pool "a": removed',
    'pool "b": added',
  ])
})
