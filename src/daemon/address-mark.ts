/**
 * The mark (IFA_PROTO) by which a process knows the addresses it has put on interfaces, after a
 * crash too: at its start it takes away what bears its mark. Processes of one host
 * (`causeway@.service`) must therefore have different ones, and a restart the same one again, so it
 * comes from the path of the configuration file. One byte cannot rule out that two of them agree
 * (two instances: 1 in 250); such an address is then taken away at the other's start and put back
 * at the next renewal of its lease.
 */
import { resolve } from "node:path"
import { hashText } from "../pool/hash.ts"

/** 0 is no mark, 1–3 are the kernel's (IFAPROT_KERNEL_LO, _RA, _LL). */
const MARK_MIN = 4
const MARK_MAX = 255

/** 4–255; the same for every spelling of a path, symbolic links not followed. */
export function addressMark(configPath: string): number {
  return MARK_MIN + (hashText(resolve(configPath)) % (MARK_MAX - MARK_MIN + 1))
}
