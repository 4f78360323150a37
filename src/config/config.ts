/**
 * The typed configuration: what the rest of the program reads. No strings that still need parsing,
 * no optional key whose default somebody must remember. It is immutable and plain data, so it
 * crosses threads by `postMessage` and two of them can be compared by value.
 *
 * Names follow the TOML keys of DESIGN.md §4 in camelCase; a duration `interval` is `intervalMs`.
 */
import type { Address, Endpoint, Prefix } from "../net/address.ts"
import type { AddressRange } from "../net/address-range.ts"
import type { HttpConfig } from "./http-config.ts"

export interface Config {
  readonly node: NodeConfig
  readonly admin: AdminConfig
  readonly log: LogConfig
  readonly vrrp: readonly VrrpConfig[]
  readonly checks: readonly NamedCheckConfig[]
  readonly pools: readonly PoolConfig[]
  readonly streams: readonly StreamConfig[]
  readonly http: readonly HttpConfig[]
  /** Undefined: no cluster is asked. */
  readonly kubernetes: KubernetesConfig | undefined
  readonly addressPools: readonly AddressPoolConfig[]
  readonly publish: readonly PublishConfig[]
}

export interface NodeConfig {
  readonly name: string
  /** Data threads; 0 = one per CPU. */
  readonly threads: number
  readonly drainTimeoutMs: number
  /** Empty: `$STATE_DIRECTORY`, else /var/lib/causeway. */
  readonly stateDir: string
}

export type AdminListen =
  | { readonly type: "unix"; readonly path: string }
  | { readonly type: "tcp"; readonly endpoint: Endpoint }

export interface AdminConfig {
  readonly listen: readonly AdminListen[]
  /** Empty: none. */
  readonly tokenFile: string
}

export interface LogConfig {
  readonly level: "debug" | "info" | "warn" | "error"
  readonly format: "text" | "json"
  /** Path, "stdout", or empty for no access log. */
  readonly access: string
}

export interface VrrpConfig {
  readonly name: string
  readonly interface: string
  readonly virtualRouterId: number
  readonly priority: number
  readonly version: 2 | 3
  readonly advertisementIntervalMs: number
  readonly preempt: boolean
  readonly preemptDelayMs: number
  readonly unicastPeers: readonly Address[]
  /** Version 2 only. The password is at most 8 bytes (RFC 2338 §5.3.6). */
  readonly authentication: { readonly type: "pass"; readonly password: string } | undefined
  readonly virtualMac: boolean
  readonly addresses: readonly Prefix[]
  readonly unadvertisedAddresses: readonly Prefix[]
  readonly placement: "process" | "interface"
  /** 0 = permanent; "auto" is resolved by `vrrp/lease.ts`. */
  readonly leaseMs: number | "auto"
  readonly track: readonly TrackConfig[]
  /** Empty: none. */
  readonly syncGroup: string
  readonly announce: {
    readonly count: number
    readonly delayMs: number
    readonly refreshMs: number
  }
  /** Program to run on a state change; empty: none. */
  readonly notify: string
}

/** What a virtual router follows. `weight` undefined: being down means fault. */
export interface TrackConfig {
  readonly type: "check" | "interface" | "pool"
  readonly target: string
  readonly weight: number | undefined
}

export type CheckConfig = TcpCheckConfig | HttpCheckConfig | MysqlCheckConfig | CommandCheckConfig

export interface CheckTimingConfig {
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly rise: number
  readonly fall: number
  /** Check this port instead of the server's own. */
  readonly port: number | undefined
}

export interface TcpCheckConfig extends CheckTimingConfig {
  readonly type: "tcp"
}

export interface HttpCheckConfig extends CheckTimingConfig {
  readonly type: "http"
  readonly method: string
  readonly path: string
  /** Host field; empty: the server's address and port. A name is also the TLS server name. */
  readonly host: string
  /** Accepted status ranges, both ends included. */
  readonly expectStatus: readonly { readonly from: number; readonly to: number }[]
  /** Source of a regular expression the body must match; empty: any body. */
  readonly expectBody: string
  readonly tls: boolean
  readonly tlsVerify: boolean
  /** PEM bundle to verify with; empty: the system's. */
  readonly caFile: string
}

export interface MysqlCheckConfig extends CheckTimingConfig {
  readonly type: "mysql"
  /** Empty: answer the handshake as a user that need not exist. */
  readonly user: string
  readonly passwordFile: string
  readonly database: string
}

export interface CommandCheckConfig extends CheckTimingConfig {
  readonly type: "command"
  readonly command: readonly string[]
}

/** A `[[check]]` of its own, for `track`. `address` is undefined only for `type = "command"`. */
export interface NamedCheckConfig {
  readonly name: string
  readonly address: Endpoint | undefined
  readonly check: CheckConfig
}

export type BalancePolicy = "round_robin" | "least_conn" | "source" | "first"

export interface PoolConfig {
  readonly name: string
  readonly balance: BalancePolicy
  readonly servers: readonly ServerConfig[]
  readonly maxFails: number
  readonly failTimeoutMs: number
  readonly connectTimeoutMs: number
  /** Other servers tried when a connect fails. */
  readonly connectRetries: number
  /** Local addresses to connect from; empty: the kernel chooses. */
  readonly source: readonly Address[]
  readonly slowStartMs: number
  readonly onDown: "keep" | "close"
  readonly check: CheckConfig | undefined
  /** TLS towards the servers, of use to `[[http]]` only; undefined: plain text. */
  readonly tls: PoolTlsConfig | undefined
  /** Undefined: `servers` is what the file lists. */
  readonly kubernetes: PoolKubernetesConfig | undefined
  /** Header sent to each server before anything else. */
  readonly proxyProtocol: "off" | "v1" | "v2"
}

export interface PoolTlsConfig {
  readonly verify: boolean
  /** PEM bundle of the authorities believed; empty: those of the host. */
  readonly caFile: string
  /** Name asked for and verified; empty: the server's address. */
  readonly serverName: string
  /** Shown to servers that ask for one; both empty or neither. */
  readonly cert: string
  readonly key: string
  /** PEM texts in place of the three files; empty: none. */
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
  readonly minVersion: "1.2" | "1.3"
}

/** Servers found through a Service instead of listed. */
export interface PoolKubernetesConfig {
  readonly namespace: string
  readonly service: string
  /** Name or number of the Service's port. */
  readonly port: string | number
  readonly reach: "pod" | "node_port"
}

export interface ServerConfig {
  /** Defaults to the address and port as text. Unique within the pool. */
  readonly name: string
  readonly endpoint: Endpoint
  /** 0–256; 0 takes no new connections. */
  readonly weight: number
  readonly backup: boolean
  /** 0 = unlimited. */
  readonly maxConnections: number
}

export interface StreamConfig {
  readonly name: string
  readonly bind: readonly Endpoint[]
  readonly pool: string
  readonly idleTimeoutMs: number
  readonly maxConnections: number
  /** Networks that must send the PROXY protocol; empty: nobody does. */
  readonly acceptProxyProtocol: readonly Prefix[]
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
}

/** `[kubernetes]`: how to reach the API server, and what of it is served. */
export interface KubernetesConfig {
  /** Empty: `apiServer` and the files beside it are used. */
  readonly kubeconfig: string
  /** Context of the kubeconfig; empty: its current one. */
  readonly context: string
  /** "https://192.0.2.10:6443"; empty with a kubeconfig. */
  readonly apiServer: string
  /** PEM bundle; empty: the host's authorities. */
  readonly caFile: string
  readonly tokenFile: string
  /** Empty: all. */
  readonly namespaces: readonly string[]
  readonly ingressClass: string
  readonly loadBalancerClass: string
  readonly claimUnclassed: boolean
  readonly podRoutes: "auto" | "off"
  /** "namespace/name" of the Lease that says which edge writes. */
  readonly lease: { readonly namespace: string; readonly name: string }
  /** A watch without event or bookmark for so long is taken for dead. */
  readonly watchSilenceMs: number
}

export interface AddressPoolConfig {
  readonly name: string
  readonly addresses: readonly AddressRange[]
  /** Virtual routers that carry its addresses. */
  readonly vrrp: readonly string[]
  /** Given out to Services that name no pool. */
  readonly autoAssign: boolean
}

/** A Service name inside the cluster for a `[[stream]]` outside it. */
export interface PublishConfig {
  readonly stream: string
  readonly namespace: string
  readonly service: string
  readonly port: number
  /** Point at the healthy servers instead of the stream's address. */
  readonly direct: boolean
  /** Where pods reach the stream: what it is bound to, or every virtual address. */
  readonly endpoints: readonly Endpoint[]
  /** The stream's pool. */
  readonly pool: string
}
