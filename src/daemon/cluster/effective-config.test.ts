import { expect, test } from "bun:test"
import { diskFiles } from "../../config/files.ts"
import { parseConfig } from "../../config/load.ts"
import type { ClusterContribution } from "../../kubernetes/cluster-model.ts"
import type { Prefix } from "../../net/address.ts"
import { EffectiveConfig } from "./effective-config.ts"

const TOML = `
[kubernetes]
api_server = "http://127.0.0.1:1"
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
addresses = ["192.0.2.40"]
unadvertised_addresses = ["192.0.2.41"]
[[pool]]
name = "p"
servers = ["192.0.2.1:80"]
[[pool]]
name = "k"
[pool.kubernetes]
namespace = "n"
service = "s"
port = 80
[[http]]
name = "web"
bind = ["192.0.2.40:80"]
ingress = true
[[http.route]]
pool = "p"
[[http]]
name = "own"
bind = ["192.0.2.40:81"]
[[http.route]]
pool = "k"
`
const loaded = parseConfig([{ path: "t.toml", text: TOML }], {
  files: diskFiles,
  hostName: "edge-a",
})
if (!loaded.ok) throw new Error(loaded.diagnostics.map(({ message }) => message).join("\n"))
const { config } = loaded
const [first] = config.http[0]?.routes ?? []
if (first === undefined) throw new Error("no route")

const contribution: ClusterContribution = {
  pools: [{ ...(config.pools[1] as (typeof config.pools)[number]), maxFails: 7 }],
  streams: [],
  routes: [{ ...first, name: "n/i" }],
  certificates: [],
  addresses: new Map([["edge", [{ address: "192.0.2.240", length: 32 } as Prefix]]]),
}

test("of() puts together what the file says and what the cluster adds", () => {
  const effective = new EffectiveConfig().of(config, contribution)
  expect(effective.pools.map(({ name, maxFails }) => [name, maxFails])).toEqual([
    ["p", 2],
    ["k", 7],
  ])
  expect(effective.http.map(({ routes }) => routes.map(({ name }) => name))).toEqual([
    [first.name, "n/i"],
    [config.http[1]?.routes[0]?.name ?? ""],
  ])
  expect(effective.vrrp[0]?.unadvertisedAddresses.map(({ address }) => `${address}`)).toEqual([
    "192.0.2.41",
    "192.0.2.240",
  ])
})

test("of() returns the same objects for what is the same", () => {
  const effective = new EffectiveConfig()
  const before = effective.of(config, contribution)
  const after = effective.of(config, { ...contribution, addresses: new Map() })
  expect(after.http[0]).toBe(before.http[0] as (typeof before.http)[number])
  expect(after.http[1]).toBe(config.http[1] as (typeof before.http)[number])
  expect(after.pools[1]).toBe(contribution.pools[0] as (typeof before.pools)[number])
  expect(after.vrrp[0]).toBe(config.vrrp[0] as (typeof before.vrrp)[number])
})
