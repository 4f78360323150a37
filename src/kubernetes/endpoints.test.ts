import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../net/address.ts"
import { endpointServers, isServerName, type ServersQuery } from "./endpoints.ts"
import {
  endpoint,
  meta,
  NOT_READY,
  service,
  servicePort,
  slice,
  slicePorts,
  TERMINATING,
} from "./fixtures/endpoint-objects.ts"
import type { EndpointSlice, Service } from "./objects.ts"

const WEB = service([servicePort(80, { name: "http" }), servicePort(443, { name: "https" })])
const ask = (port: string | number, rest: Partial<ServersQuery> = {}): ServersQuery => ({
  namespace: "training",
  service: "web",
  port,
  ...rest,
})
const find = (
  port: string | number,
  slices: readonly EndpointSlice[],
  known: Service | undefined = WEB,
) => endpointServers(ask(port), known, slices)
/** "name address:port", "(backup)" behind a backup. */
const text = (found: ReturnType<typeof endpointServers>) =>
  found.servers.map(
    ({ name, endpoint: { address, port }, backup }) =>
      `${name} ${address} ${port}${backup ? " (backup)" : ""}`,
  )

describe("endpointServers()", () => {
  test("makes a server of each ready endpoint, sorted", () => {
    const slices = [
      slice("web-b", slicePorts(["http", 8080]), [endpoint("10.244.2.7", "web-2")]),
      slice("web-a", slicePorts(["http", 8080]), [endpoint("10.244.1.5", "web-1")]),
    ]
    expect(find("http", slices)).toEqual({
      servers: [
        {
          name: "web-1",
          endpoint: { address: "10.244.1.5" as Address, port: 8080 },
          weight: 1,
          backup: false,
          maxConnections: 0,
        },
        {
          name: "web-2",
          endpoint: { address: "10.244.2.7" as Address, port: 8080 },
          weight: 1,
          backup: false,
          maxConnections: 0,
        },
      ],
      whyEmpty: undefined,
      omitted: {},
    })
  })

  test("takes the port by the number of the Service's port, also written as text", () => {
    const slices = [
      slice("web", slicePorts(["http", 8080], ["https", 8443]), [endpoint("10.244.1.5", "web-1")]),
    ]
    expect(text(find(443, slices))).toEqual(["web-1 10.244.1.5 8443"])
    expect(text(find("80", slices))).toEqual(["web-1 10.244.1.5 8080"])
  })

  test("takes a named target port from each slice for itself", () => {
    const slices = [
      slice("old", slicePorts(["http", 8080]), [endpoint("10.244.1.5", "old-1")]),
      slice("new", slicePorts(["http", 9090]), [endpoint("10.244.1.6", "new-1")]),
    ]
    expect(text(find(80, slices))).toEqual(["old-1 10.244.1.5 8080", "new-1 10.244.1.6 9090"])
  })

  test("finds the single port without a name by its number", () => {
    const slices = [slice("web", slicePorts(["", 8080]), [endpoint("10.244.1.5", "web-1")])]
    const single = service([servicePort(80)])
    expect(text(find(80, slices, single))).toEqual(["web-1 10.244.1.5 8080"])
    expect(find("http", slices, single).whyEmpty).toBe(
      'port "http" is not in Service training/web; it has: 80',
    )
  })

  test("chooses TCP where a number is open for UDP too", () => {
    const dns = service([
      servicePort(53, { name: "dns", protocol: "UDP" }),
      servicePort(53, { name: "dns-tcp" }),
    ])
    const ports = [
      { name: "dns", protocol: "UDP", port: 53 } as const,
      ...slicePorts(["dns-tcp", 5353]),
    ]
    const slices = [slice("dns", ports, [endpoint("10.244.1.5", "dns-1")])]
    expect(text(find(53, slices, dns))).toEqual(["dns-1 10.244.1.5 5353"])
    expect(find("dns", slices, dns).whyEmpty).toBe('port "dns" of training/web is UDP, not TCP')
  })

  test("makes a terminating endpoint that serves a backup, and leaves out the rest", () => {
    const slices = [
      slice("web", slicePorts(["http", 8080]), [
        endpoint("10.244.1.5", "ready"),
        endpoint("10.244.1.6", "leaving", TERMINATING),
        endpoint("10.244.1.7", "gone", { ...TERMINATING, isServing: false }),
        endpoint("10.244.1.8", "starting", NOT_READY),
        // KEP-1672: serving, but not ready for another reason than terminating.
        endpoint("10.244.1.9", "odd", { isReady: false, isServing: true }),
      ]),
    ]
    const found = find("http", slices)
    expect(text(found)).toEqual(["ready 10.244.1.5 8080", "leaving 10.244.1.6 8080 (backup)"])
    expect(found.omitted).toEqual({ not_ready: 3 })
  })

  test("counts an endpoint of two slices once, by the better word", () => {
    const ports = slicePorts(["http", 8080])
    const ready = slice("a", ports, [endpoint("10.244.1.5", "web-1")])
    const leaving = slice("b", ports, [endpoint("10.244.1.5", "web-1", TERMINATING)])
    const notReady = slice("c", ports, [endpoint("10.244.1.5", "web-1", NOT_READY)])
    for (const slices of [
      [ready, leaving, notReady],
      [notReady, leaving, ready],
    ]) {
      expect(find("http", slices)).toMatchObject({
        servers: [{ name: "web-1", backup: false }],
        omitted: {},
      })
    }
    expect(text(find("http", [notReady, leaving]))).toEqual(["web-1 10.244.1.5 8080 (backup)"])
  })

  test("serves both families, under their addresses where the pod's name is not unique", () => {
    const slices = [
      slice("v4", slicePorts(["http", 8080]), [endpoint("10.244.1.5", "web-1")]),
      slice("v6", slicePorts(["http", 8080]), [endpoint("fd00:10:244::5", "web-1")]),
    ]
    expect(text(find("http", slices))).toEqual([
      "10.244.1.5:8080 10.244.1.5 8080",
      "[fd00:10:244::5]:8080 fd00:10:244::5 8080",
    ])
    const found = endpointServers(ask("http", { families: [4] }), WEB, slices)
    expect(text(found)).toEqual(["web-1 10.244.1.5 8080"])
    expect(found.omitted).toEqual({ other_family: 1 })
    const ipv6 = slices.slice(1)
    expect(endpointServers(ask("http", { families: [4] }), WEB, ipv6).whyEmpty).toBe(
      "no endpoint of training/web has an address of a usable family",
    )
  })

  test("names an endpoint without a pod, or with an odd name, by its address", () => {
    const slices = [
      slice("web", slicePorts(["http", 3306]), [
        endpoint("192.0.2.21"),
        endpoint("192.0.2.22", "a b"),
        endpoint("192.0.2.23", ".."),
      ]),
    ]
    expect(find("http", slices).servers.map(({ name }) => name)).toEqual([
      "192.0.2.21:3306",
      "192.0.2.22:3306",
      "192.0.2.23:3306",
    ])
  })

  test("takes slices of a Service that is not known, when the port is a name", () => {
    const slices = [slice("web", slicePorts(["http", 8080]), [endpoint("10.244.1.5", "web-1")])]
    expect(text(endpointServers(ask("http"), undefined, slices))).toEqual(["web-1 10.244.1.5 8080"])
    expect(endpointServers(ask(80), undefined, slices).whyEmpty).toBe("no Service training/web")
  })

  test("takes the first of an endpoint's addresses", () => {
    const addresses = ["10.244.1.5", "10.244.1.6"] as unknown as Address[]
    const slices = [
      slice("web", slicePorts(["http", 80]), [endpoint("10.244.1.5", "web-1", { addresses })]),
    ]
    expect(text(find("http", slices))).toEqual(["web-1 10.244.1.5 80"])
  })

  test("makes no server of host names, of all ports, or of nothing, and counts them", () => {
    const ports = slicePorts(["http", 80])
    const slices = [
      slice("names", ports, [], { addressType: "FQDN" }),
      slice("any", [{ name: "http", protocol: "TCP", port: undefined }], [endpoint("10.0.0.1")]),
      slice("udp", [{ name: "http", protocol: "UDP", port: 80 }], [endpoint("10.0.0.2")]),
      slice("none", ports, [endpoint("10.0.0.3", "web-1", { addresses: [] })]),
    ]
    expect(find("http", slices)).toEqual({
      servers: [],
      whyEmpty: "0 of 1 endpoints of training/web ready",
      omitted: { fqdn_slice: 1, any_port: 1, other_port: 1, no_address: 1 },
    })
  })

  const unusable = [
    ["0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.18", "255.255.255.255"],
    ["::", "::1", "::ffff:a00:1", "fe80::1", "febf::1", "ff02::12"],
  ].flat()
  test.each(unusable)("makes no server of %s", (address) => {
    const slices = [slice("web", slicePorts(["http", 80]), [endpoint(address, "web-1")])]
    expect(find("http", slices)).toMatchObject({ servers: [], omitted: { unusable_address: 1 } })
  })

  test.each([
    "1.2.3.4",
    "100.64.0.1",
    "12.7.0.1",
    "169.25.4.1",
    "223.1.1.1",
    "2001:db8::1",
    "fec0::1",
    "::2",
  ])("makes a server of %s", (address) => {
    const slices = [slice("web", slicePorts(["http", 80]), [endpoint(address, "web-1")])]
    expect(find("http", slices).servers).toHaveLength(1)
  })

  const ports = slicePorts(["http", 80], ["metrics", 9100])
  const reasons: readonly [string, string | number, Service | undefined, EndpointSlice[]][] = [
    ["no EndpointSlices for training/web", "http", undefined, []],
    ["no EndpointSlices for training/web", "http", WEB, []],
    ["no Service training/web", 80, undefined, []],
    ['port "grpc" is not in Service training/web; it has: http (80), https (443)', "grpc", WEB, []],
    ["port 8080 is not in Service training/web; it has: http (80), https (443)", 8080, WEB, []],
    ["port 80 is not in Service training/web; it has: none", 80, service([]), []],
    [
      "Service training/web is of type ExternalName and has no endpoints",
      80,
      service([], { type: "ExternalName" }),
      [],
    ],
    [
      'port "https" is in no EndpointSlice of training/web; they have: http, metrics',
      "https",
      WEB,
      [slice("web", ports, [endpoint("10.244.1.5")])],
    ],
    [
      'port "http" is in no EndpointSlice of training/web; they have: one without a name',
      "http",
      undefined,
      [slice("web", slicePorts(["", 80]), [endpoint("10.244.1.5")])],
    ],
    [
      "0 of 2 endpoints of training/web ready",
      "http",
      WEB,
      [
        slice("web", ports, [
          endpoint("10.0.0.1", "a", NOT_READY),
          endpoint("10.0.0.2", "b", NOT_READY),
        ]),
      ],
    ],
    ["the EndpointSlices of training/web are empty", "http", WEB, [slice("web", ports, [])]],
    [
      "the EndpointSlices of training/web hold host names, not addresses",
      "http",
      WEB,
      [slice("web", ports, [], { addressType: "FQDN" })],
    ],
    [
      "the EndpointSlices of training/web name no port number",
      "http",
      WEB,
      [slice("web", [{ name: "http", protocol: "TCP", port: undefined }], [])],
    ],
  ]
  test.each(reasons)("says: %s", (reason, port, known, slices) => {
    const found = endpointServers(ask(port), known, slices)
    expect(found.servers).toEqual([])
    expect(found.whyEmpty).toBe(reason)
  })

  test("gives the same list whatever the order of slices and endpoints", () => {
    fc.assert(
      fc.property(arbitrarySlices, fc.infiniteStream(fc.nat()), (slices, choices) => {
        const shuffled = shuffle(
          slices.map((each) => ({ ...each, endpoints: shuffle(each.endpoints, choices) })),
          choices,
        )
        expect(find("http", shuffled)).toEqual(find("http", slices))
      }),
    )
  })

  test("gives unique names that the admin API takes, and each address once", () => {
    fc.assert(
      fc.property(arbitrarySlices, (slices) => {
        const { servers, whyEmpty } = find("http", slices)
        const names = servers.map(({ name }) => name)
        const endpoints = servers.map(({ endpoint: { address, port } }) => `${address} ${port}`)
        expect(new Set(names).size).toBe(servers.length)
        expect(new Set(endpoints).size).toBe(servers.length)
        expect(names.every((name) => /^[A-Za-z0-9_.:[\]-]{1,128}$/.test(name))).toBe(true)
        expect(whyEmpty === undefined).toBe(servers.length > 0)
      }),
    )
  })
})

test("isServerName() takes the names of pods, and no path", () => {
  expect(isServerName("web-7d4b9c-x2x4z")).toBe(true)
  expect(isServerName(`${"a".repeat(128)}`)).toBe(true)
  expect(isServerName(`${"a".repeat(129)}`)).toBe(false)
  for (const name of ["", ".", "..", "a/b", "a b", "ä", "a:80"])
    expect(isServerName(name)).toBe(false)
})

const arbitraryEndpoint = fc
  .record({
    address: fc.constantFrom("10.244.1.5", "10.244.1.6", "10.244.2.5", "fd00::5", "127.0.0.1"),
    pod: fc.constantFrom("", "web-1", "web-2", "web-3", "a/b"),
    isReady: fc.boolean(),
    isServing: fc.boolean(),
    isTerminating: fc.boolean(),
  })
  .map(({ address, pod, ...conditions }) => endpoint(address, pod, conditions))

const arbitrarySlices = fc.array(
  fc
    .record({
      port: fc.constantFrom(8080, 9090, undefined),
      addressType: fc.constantFrom("IPv4" as const, "IPv6" as const, "FQDN" as const),
      endpoints: fc.array(arbitraryEndpoint, { maxLength: 5 }),
    })
    .map(({ port, addressType, endpoints }): EndpointSlice => {
      const ports = [{ name: "http", protocol: "TCP" as const, port }]
      return { meta: meta("web"), service: "web", addressType, ports, endpoints }
    }),
  { maxLength: 4 },
)

function shuffle<Value>(values: readonly Value[], choices: Iterator<number>): Value[] {
  const rest = [...values]
  const shuffled: Value[] = []
  while (rest.length > 0) {
    shuffled.push(...rest.splice((choices.next().value ?? 0) % rest.length, 1))
  }
  return shuffled
}
