/**
 * One proxying task, said in three languages: forward TCP to the web server and to the upload sink
 * of the origin. Each program has a range of ports of its own, so that all can run at once.
 *
 * The peers get a second way to the web server, with the setting that their administrators would
 * reach for where bulk matters: HAProxy `option splice-auto`, nginx 64 KiB instead of 16 KiB
 * buffers. Their better result counts.
 */
import { EDGE_ADDRESS, ORIGIN_ADDRESS, SINK_PORT, WEB_PORT } from "./arena.ts"
import type { Column, Configurations } from "./contender.ts"

export type Service = "web" | "web-tuned" | "sink"

/** ADDRESS:PORT where a program offers a service. */
export function endpointOf(column: Column, service: Service): string {
  return `${EDGE_ADDRESS}:${portOf(column, service)}`
}

/** What "web-tuned" means for each peer. */
export const TUNED_LABELS: Readonly<Partial<Record<Column, string>>> = {
  haproxy: "splice-auto",
  nginx: "64k buffers",
}

function portOf(column: Column, service: Service): number {
  return FIRST_PORTS[column] + SERVICES.indexOf(service)
}

const FIRST_PORTS: Readonly<Record<Column, number>> = { causeway: 7000, haproxy: 7100, nginx: 7200 }
const SERVICES: readonly Service[] = ["web", "web-tuned", "sink"]

const WEB = `${ORIGIN_ADDRESS}:${WEB_PORT}`
const SINK = `${ORIGIN_ADDRESS}:${SINK_PORT}`

export const STREAM_CONFIGURATIONS: Configurations = {
  causeway: `
${causewayStream("web", WEB)}
${causewayStream("sink", SINK)}`,
  haproxy: `
defaults
  mode tcp
  maxconn 9900
  backlog 4096
  timeout connect 1s
  timeout client 10m
  timeout server 10m
${haproxyListen("web", WEB, "")}
${haproxyListen("web-tuned", WEB, "option splice-auto")}
${haproxyListen("sink", SINK, "")}`,
  nginx: {
    stream: `
  proxy_connect_timeout 1s;
  proxy_timeout 10m;
  ${nginxServer("web", WEB, "")}
  ${nginxServer("web-tuned", WEB, "proxy_buffer_size 64k;")}
  ${nginxServer("sink", SINK, "")}`,
  },
}

function causewayStream(service: Service, server: string): string {
  return `
[[pool]]
name = "${service}"
servers = ["${server}"]
connect_timeout = "1s"

[[stream]]
name = "${service}"
bind = ["${endpointOf("causeway", service)}"]
pool = "${service}"
idle_timeout = "10m"`
}

function haproxyListen(service: Service, server: string, option: string): string {
  return `
listen ${service}
  bind ${endpointOf("haproxy", service)}
  ${option}
  server origin ${server}
`
}

function nginxServer(service: Service, server: string, setting: string): string {
  const listen = `listen ${endpointOf("nginx", service)} backlog=4096;`
  return `server { ${listen} ${setting} proxy_pass ${server}; }`
}
