/** IEEE 802 MAC addresses as values: lower-case text, `00:00:5e:00:01:33`. */
declare const macBrand: unique symbol
export type Mac = string & { readonly [macBrand]: true }

export const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff" as Mac

/** RFC 9568 §7.3: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6. */
export function virtualRouterMac(virtualRouterId: number, family: 4 | 6): Mac {
  const last = virtualRouterId.toString(16).padStart(2, "0")
  return `00:00:5e:00:0${family === 4 ? 1 : 2}:${last}` as Mac
}

export function macFromBytes(bytes: Uint8Array): Mac {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac
}

export function macBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16))
}
