/**
 * TLS settings as plain data: what the control thread has read and checked, and posts to the
 * threads that make OpenSSL contexts of it. They hold private keys: a spec goes into no log and no
 * answer.
 */

export interface ServerTlsSpec {
  /** Changes when anything below does. */
  readonly id: string
  /** In the order of the configuration. */
  readonly certificates: readonly CertificateSpec[]
  /** The first is shown to clients that name none of them; false: they are turned away. */
  readonly hasDefault: boolean
  readonly minVersion: "1.2" | "1.3"
  readonly clientCertificates: "off" | "optional" | "required"
  /** PEM bundle; "" with "off". */
  readonly clientCaPem: string
  /** Sessions made under one context are not resumed under another; at most 32 bytes. */
  readonly sessionContext: Uint8Array
  /** 80 bytes, the same in every thread, and in both edges where a file says so. */
  readonly ticketKeys: Uint8Array
  /** Protocols offered by ALPN, most wanted first. */
  readonly alpn: readonly string[]
}

export interface CertificateSpec {
  /** The certificate, then what certifies it. */
  readonly chainPem: string
  readonly keyPem: string
  /** Lower case; "*.example.com" stands for one label. */
  readonly names: readonly string[]
  readonly keyType: KeyType
}

export type KeyType = "rsa" | "ec" | "ed25519"

/** Towards servers. */
export interface ClientTlsSpec {
  readonly id: string
  readonly verify: boolean
  /** PEM bundle of the authorities believed; "": those of the host. */
  readonly caPem: string
  /** Name asked for (SNI) and verified; "": the server's address. */
  readonly serverName: string
  /** Shown to servers that ask for one. */
  readonly certificate: { readonly chainPem: string; readonly keyPem: string } | undefined
  readonly minVersion: "1.2" | "1.3"
}
