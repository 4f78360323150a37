/** Redirects of routes, and of plain binds to TLS. */
import { describe, expect, test } from "bun:test"
import { instant } from "../../net/time.ts"
import {
  decide,
  httpConfig,
  ORIGIN,
  parsed,
  requestHead,
  responded,
  routeTable,
} from "../fixtures/routing.ts"
import { RouteTable } from "../route-table.ts"

function redirect(value: string, more = ""): string {
  return `[[http.route]]\nredirect = ${value}\n${more}`
}

describe("a redirect changes what it names and keeps the rest", () => {
  test.each([
    ['{ scheme = "https" }', "k8s.com/a?b=1", "302 https://k8s.com/a?b=1"],
    ['{ scheme = "https", port = 8443 }', "k8s.com:80/a", "302 https://k8s.com:8443/a"],
    ['{ host = "www.k8s.com" }', "k8s.com/a/../b", "302 http://www.k8s.com/b"],
    ['{ host = "www.k8s.com", status = 308 }', "k8s.com//x//y", "308 http://www.k8s.com/x/y"],
    ["{ port = 8080 }", "k8s.com/", "302 http://k8s.com:8080/"],
    ['{ path = "/new" }', "k8s.com/a?b", "302 http://k8s.com/new?b"],
    ['{ path = "/new?c" }', "k8s.com/a?b", "302 http://k8s.com/new?c"],
    ['"https://k8s.com/new"', "x.org/a?b", "302 https://k8s.com/new?b"],
    ['"https://k8s.com"', "x.org/a?b", "302 https://k8s.com/a?b"],
    ['"http://[2001:db8::1]:81/"', "x.org/a", "302 http://[2001:db8::1]:81/"],
    ['{ scheme = "https" }', "[2001:db8::1]/a", "302 https://[2001:db8::1]/a"],
    // Not a way out to another host: the Location is a whole URL.
    ['{ scheme = "https" }', "k8s.com/%2F%2Fevil.org", "302 https://k8s.com/%2F%2Fevil.org"],
  ])("%s of %s: %s", (value, line, expected) => {
    const { status, fields } = responded(decide(routeTable(redirect(value)), line))
    expect(`${status} ${fields}`).toBe(`${expected.replace(" ", " Location: ")}\r\n`)
  })

  test.each([
    ['{ path = "/new", drop_query = true }', "http://k8s.com/new"],
    ['{ path = "/new?c", drop_query = true }', "http://k8s.com/new?c"],
    ['{ host = "x.org", drop_query = true }', "http://x.org"],
  ])("%s leaves nothing of what was asked for", (value, location) => {
    const { fields } = responded(decide(routeTable(redirect(value)), "k8s.com/a?b"))
    expect(fields).toBe(`Location: ${location}\r\n`)
  })

  test("rewrite replaces the matched prefix", () => {
    const table = routeTable(redirect('{ host = "x.org" }', 'path = "/old"\nrewrite = "/new"\n'))
    expect(responded(decide(table, "k8s.com/old/a?b")).fields).toBe(
      "Location: http://x.org/new/a?b\r\n",
    )
  })

  test("the port of the listener is kept, unless it is the scheme's own", () => {
    const table = routeTable(redirect('{ path = "/x" }'))
    const at = (port: number, isTls: boolean) => {
      const decision = table.decide(
        requestHead("k8s.com/a"),
        { ...ORIGIN, port, isTls },
        instant(0),
      )
      return responded(decision).fields
    }
    expect(at(8080, false)).toBe("Location: http://k8s.com:8080/x\r\n")
    expect(at(443, true)).toBe("Location: https://k8s.com/x\r\n")
  })

  test("a client without a host gets a path", () => {
    const head = parsed("GET /a HTTP/1.0\r\n\r\n")
    const table = routeTable(redirect('{ path = "/x" }'))
    expect(responded(table.decide(head, ORIGIN, instant(0))).fields).toBe("Location: /x\r\n")
  })

  test("response headers of the route go with it, and replace its own", () => {
    const more = 'set_response_headers = { location = "/mine", X-A = "1" }\n'
    const table = routeTable(redirect('{ path = "/x" }', more))
    expect(responded(decide(table, "/a")).fields).toBe("location: /mine\r\nX-A: 1\r\n")
  })
})

describe("tls.redirect sends plain requests to the TLS bind", () => {
  const table = (port: number) => {
    const tls = { certificates: [], minVersion: "1.2", redirect: true } as const
    const none = { clientCertificates: "off", clientCaFile: "", sessionTicketKeyFile: "" } as const
    const http = httpConfig('[[http.route]]\nhost = "k8s.com"\npool = "a"\n')
    const [plain] = http.bind
    if (plain === undefined) throw new Error("There is no bind")
    const secure = { endpoint: { ...plain.endpoint, port }, tls: true }
    const config = { ...http, tls: { ...tls, ...none }, bind: [plain, secure] }
    return RouteTable.compile({ http: config, rows: [] })
  }

  test.each([
    [443, "k8s.com/a?b", "Location: https://k8s.com/a?b\r\n"],
    [8443, "k8s.com:80/a", "Location: https://k8s.com:8443/a\r\n"],
    [443, "no.route/x/../y", "Location: https://no.route/y\r\n"],
  ])("port %d, %s", (port, line, fields) => {
    expect(responded(decide(table(port), line))).toMatchObject({ status: 308, fields })
  })

  test("but not those that came over TLS", () => {
    const origin = { ...ORIGIN, isTls: true, port: 443 }
    expect(table(443).decide(requestHead("k8s.com/a"), origin, instant(0)).type).toBe("forward")
  })

  test("and refuses those without a host", () => {
    const head = parsed("GET / HTTP/1.0\r\n\r\n")
    expect(responded(table(443).decide(head, ORIGIN, instant(0))).status).toBe(400)
  })
})
