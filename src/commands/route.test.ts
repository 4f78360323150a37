/** What `causeway route` says of one request. */
import { expect, test } from "bun:test"
import { loadText } from "../config/fixtures/load-text.ts"
import { CommandFailure } from "./command.ts"
import { explain, formatAnswer } from "./route.ts"

const TEXT = `
[[pool]]
name = "v1"
servers = ["192.0.2.1:80"]
[[http]]
name = "web"
bind = [":8080"]
[[http.route]]
host = "k8s.com"
path = "/api/v1"
pool = "v1"
rewrite = "/"
rate_limit = { requests = 5 }
[[http.route]]
host = "k8s.com"
path = "/api/v1"
methods = ["PUT"]
headers = { X-Canary = "1" }
pool = "v1"
[[http.route]]
host = "*.k8s.com"
redirect = { host = "k8s.com" }
[[http.route]]
path = "^/x+$"
match = "regex"
respond = 404
`

function say(words: readonly string[], more: { method?: string; headers?: string[] } = {}) {
  const result = loadText(TEXT)
  const [http] = result.ok ? result.config.http : []
  if (http === undefined) throw new Error("The configuration was refused")
  const { method = "GET", headers = [] } = more
  return formatAnswer(explain(http, { words, method, headers, tls: false }))
}

test("names the route, why it is that one, what was passed over, and what the server gets", () => {
  expect(say(["k8s.com", "/api/v1/x/../y?z=1"])).toEqual([
    "http web: route k8s.com/api/v1",
    "    because the host is k8s.com and the path begins with /api/v1",
    "    passed over k8s.com/api/v1#2: the method is not PUT",
    "    to pool v1 as /y?z=1",
    "    5 requests per 1s",
  ])
})

test("takes method and headers", () => {
  const put = { method: "PUT", headers: ["x-canary: 1"] }
  expect(say(["k8s.com", "/api/v1/x"], put)).toEqual([
    "http web: route k8s.com/api/v1#2",
    "    because the host is k8s.com and the path begins with /api/v1",
    "    to pool v1 as /api/v1/x",
  ])
})

test("says where a redirect leads, with the port of the listener", () => {
  expect(say(["www.k8s.com", "/a"]).slice(2)).toEqual(["    302 to http://k8s.com:8080/a"])
})

test("says what is answered", () => {
  expect(say(["any.example", "/xx"])).toEqual([
    "http web: route *~^/x+$",
    "    because it is for any host and the path matches ^/x+$",
    "    answered with 404",
  ])
  expect(say(["any.example", "/y"])).toEqual([
    "http web: no route",
    "    answered with 404: 404 Not Found",
  ])
  expect(say(["k8s.com", "/../y"])[1]).toBe("    answered with 400: 400 Bad Request: above-root")
})

test("refuses what is no request", () => {
  const refused =
    (words: string[], headers: string[] = []) =>
    () =>
      say(words, { headers })
  expect(refused(["k8s.com", "/a b"])).toThrow(CommandFailure)
  expect(refused(["k8s.com", "api"])).toThrow("an edge would refuse this request: bad-target")
  expect(refused(["k8s.com", "/"], ["X Y: 1"])).toThrow("bad-field-name")
  expect(refused(["a/b", "/"])).toThrow("bad-host")
})
