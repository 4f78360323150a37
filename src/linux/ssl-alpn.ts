/**
 * ALPN on the server's side (RFC 7301): the one place where OpenSSL calls us.
 *
 * It does so within `SSL_do_handshake`, on the thread that called it. A `JSCallback` belongs to its
 * thread, and so the pointer handed out here must not leave it. It costs 70 ns.
 */
import { JSCallback, read } from "bun:ffi"
import { NativeBytes } from "./bytes.ts"
import { libc } from "./libc.ts"
import type { Handle } from "./openssl.ts"

const SSL_TLSEXT_ERR_OK = 0
const SSL_TLSEXT_ERR_ALERT_FATAL = 2

/** Kept for good: contexts, and handshakes that outlive them, hold their addresses. */
const selectors = new Map<string, Handle>()

/**
 * A callback for `SSL_CTX_set_alpn_select_cb` that picks the first of `protocols`, most wanted
 * first, that the client offers. Without one it ends the handshake with no_application_protocol
 * (§3.2). A client that offers nothing is not asked about.
 */
export function alpnSelector(protocols: readonly string[]): Handle {
  const key = protocols.join()
  const known = selectors.get(key)
  if (known !== undefined) return known
  const made = new Selector(protocols).callback.ptr
  if (made === null) throw new Error("Cannot make the ALPN callback")
  selectors.set(key, made)
  return made
}

class Selector {
  readonly callback: JSCallback
  readonly #names: readonly NativeBytes[]
  /** Holds what is copied to where OpenSSL wants it. */
  readonly #cell = new NativeBytes(8)

  constructor(protocols: readonly string[]) {
    this.#names = protocols.map((name) => NativeBytes.of(Buffer.from(name, "latin1")))
    this.callback = new JSCallback(
      (_ssl: Handle, out: Handle, outLength: Handle, offered: Handle, length: number) =>
        this.#select({ out, outLength, offered, length }),
      { args: ["ptr", "ptr", "ptr", "ptr", "u32", "ptr"], returns: "i32" },
    )
  }

  #select(call: {
    readonly out: Handle
    readonly outLength: Handle
    readonly offered: Handle
    readonly length: number
  }): number {
    for (const name of this.#names) {
      if (!isOffered(name.bytes, call.offered, call.length)) continue
      this.#cell.view.setBigUint64(0, BigInt(name.address), true)
      libc.memcpy(call.out, this.#cell.address, 8)
      this.#cell.view.setUint8(0, name.bytes.length)
      libc.memcpy(call.outLength, this.#cell.address, 1)
      return SSL_TLSEXT_ERR_OK
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
  }
}

/**
 * `offered` is a list of names, each after a byte with its length; OpenSSL has checked its form.
 */
function isOffered(name: Uint8Array, offered: Handle, length: number): boolean {
  for (let at = 0; at < length; ) {
    const size = read.u8(offered, at)
    if (size === name.length && name.every((byte, i) => byte === read.u8(offered, at + 1 + i))) {
      return true
    }
    at += 1 + size
  }
  return false
}
