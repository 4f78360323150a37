/**
 * One task, said in three languages: a host with two path prefixes to two pools, the usual
 * forwarding fields, connections to servers kept, metrics on, no access log; the same in plain text
 * and in TLS 1.3 with one ECDSA certificate, X25519 and AES-128-GCM.
 *
 * The peers get a second way in, with the setting their administrators would reach for where large
 * bodies matter: HAProxy `option splice-auto`, nginx 64 KiB instead of 8 KiB buffers. Their better
 * result counts.
 */
import type { Host } from "../../test/lab/host.ts"
import { EDGE_ADDRESS } from "./arena.ts"
import type { Column, Configurations } from "./contender.ts"
import { HTTP_HOST, HTTP_POOLS } from "./http-origin.ts"

export type HttpService = "plain" | "tls" | "tuned"

/** ADDRESS:PORT where a program offers a service. */
export function httpEndpointOf(column: Column, service: HttpService): string {
  return `${EDGE_ADDRESS}:${FIRST_PORTS[column] + SERVICES.indexOf(service)}`
}

/** What "tuned" means for each peer. */
export const HTTP_TUNED_LABELS: Readonly<Partial<Record<Column, string>>> = {
  haproxy: "splice-auto",
  nginx: "64k buffers",
}

const FIRST_PORTS: Readonly<Record<Column, number>> = { causeway: 7300, haproxy: 7400, nginx: 7500 }
const SERVICES: readonly HttpService[] = ["plain", "tls", "tuned"]
const METRICS_PORTS = { haproxy: 7490, nginx: 7590 }

/** Makes a certificate in the edge's folder. */
export async function httpConfigurations(edge: Host): Promise<Configurations> {
  const certificate = `${edge.directory}/bench.crt`
  const key = `${edge.directory}/bench.key`
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
  const name = ["-subj", `/CN=${HTTP_HOST}`, "-addext", `subjectAltName=DNS:${HTTP_HOST}`]
  const files = ["-keyout", key, "-out", certificate]
  await edge.exec(["openssl", "req", "-x509", "-days", "3650", ...curve, ...name, ...files])
  // HAProxy wants both in one file.
  const both = `${edge.directory}/bench.pem`
  await edge.exec(["bash", "-c", `cat ${certificate} ${key} > ${both}`])
  return {
    causeway: causeway(certificate, key),
    haproxy: haproxy(both),
    nginx: { http: nginx(certificate, key) },
  }
}

function causeway(certificate: string, key: string): string {
  const pools = HTTP_POOLS.map(({ name, server }) => {
    return `[[pool]]\nname = "${name}"\nservers = ["${server}"]\nconnect_timeout = "1s"\n`
  })
  const routes = HTTP_POOLS.map(({ name, prefix }) => {
    return `[[http.route]]\nhost = "${HTTP_HOST}"\npath = "${prefix}"\npool = "${name}"\n`
  })
  return `
${pools.join("\n")}
[[http]]
name = "bench"
bind = [
  "${httpEndpointOf("causeway", "plain")}",
  { address = "${httpEndpointOf("causeway", "tls")}", tls = true },
]
idle_timeout = "10m"

[http.tls]
certificates = [{ cert = "${certificate}", key = "${key}" }]
min_version = "1.3"

${routes.join("\n")}`
}

function haproxy(certificate: string): string {
  const tls = `ssl crt ${certificate} ssl-min-ver TLSv1.3 ciphersuites ${CIPHER} curves ${GROUP}`
  const backends = HTTP_POOLS.map(({ name, server }) => {
    return `backend ${name}\n  http-reuse always\n  server origin ${server}\n`
  })
  return `
defaults
  mode http
  maxconn 9900
  backlog 4096
  timeout connect 1s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 10m
  timeout http-request 10s
${haproxyFrontend("plain", "", "")}
${haproxyFrontend("tls", `${tls} alpn http/1.1`, "")}
${haproxyFrontend("tuned", "", "option splice-auto")}
${backends.join("\n")}
frontend metrics
  bind ${EDGE_ADDRESS}:${METRICS_PORTS.haproxy}
  http-request use-service prometheus-exporter
`
}

function haproxyFrontend(service: HttpService, bind: string, option: string): string {
  const set = (field: string, value: string) => `  http-request set-header ${field} ${value}`
  const proto = service === "tls" ? "https" : "http"
  const uses = HTTP_POOLS.map(({ name, prefix }) => {
    return `  use_backend ${name} if is_host { path ${prefix} } || is_host { path_beg ${prefix}/ }`
  })
  return `
frontend ${service}
  bind ${httpEndpointOf("haproxy", service)} ${bind}
  ${option}
  unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-ID
${set("X-Forwarded-For", "%[src]")}
${set("X-Forwarded-Proto", proto)}
${set("X-Forwarded-Port", "%[dst_port]")}
${set("X-Forwarded-Host", "%[req.hdr(host)]")}
${set("X-Real-IP", "%[src]")}
${set("Forwarded", `for=%[src];proto=${proto};host=%[req.hdr(host)]`)}
  acl is_host hdr(host) -i ${HTTP_HOST}
${uses.join("\n")}`
}

function nginx(certificate: string, key: string): string {
  const upstreams = HTTP_POOLS.map(({ name, server }) => {
    const keep = "keepalive 256; keepalive_requests 1000000000;"
    return `upstream ${name} { server ${server}; ${keep} }`
  })
  const tls = `
    ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites ${CIPHER};
    ssl_ecdh_curve ${GROUP};`
  const large = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"
  return `
  keepalive_requests 1000000000;
  keepalive_timeout 10m;
  proxy_http_version 1.1;
  proxy_connect_timeout 1s;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Request-ID $request_id;
  proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host=$http_host";
  ${upstreams.join("\n  ")}
  ${nginxServer("plain", "", "")}
  ${nginxServer("tls", " ssl", tls)}
  ${nginxServer("tuned", "", large)}
  server {
    listen ${EDGE_ADDRESS}:${METRICS_PORTS.nginx};
    location / { stub_status; }
  }`
}

function nginxServer(service: HttpService, option: string, settings: string): string {
  const locations = HTTP_POOLS.map(({ name, prefix }) => {
    const pass = `{ proxy_pass http://${name}; }`
    return `location = ${prefix} ${pass} location ${prefix}/ ${pass}`
  })
  return `server {
    listen ${httpEndpointOf("nginx", service)}${option} backlog=4096;
    server_name ${HTTP_HOST};
    ${settings}
    ${locations.join("\n    ")}
  }`
}

const CIPHER = "TLS_AES_128_GCM_SHA256"
const GROUP = "X25519"
