/**
 * Who may do what over the admin API. One decision, made before anything of the request is looked
 * at further.
 *
 * The Unix socket is guarded by its file mode: whoever can open it may do everything. Over TCP a
 * change always needs the bearer token, so a page in somebody's browser cannot make one (it cannot
 * send the header without asking first, and is never allowed to). Reading needs the token beyond
 * loopback. Reading over loopback needs none, but is refused when the Host field is a name that is
 * not ours: a page whose own name was re-bound to 127.0.0.1 must not read through the browser of an
 * operator who has a tunnel to the edge.
 */
import { timingSafeEqual } from "node:crypto"
import { type Address, type Prefix, parseAddress, prefixContains } from "../net/address.ts"
import type { Problem } from "./problem.ts"

/** By what way a request came in. */
export type Access =
  | { readonly transport: "unix" }
  | {
      readonly transport: "tcp"
      readonly isLoopback: boolean
      /** What a request must carry; undefined: none is configured. */
      readonly token: string | undefined
    }

type TcpAccess = Extract<Access, { transport: "tcp" }>

/** Undefined: the request may go on. */
export function refuse(request: Request, access: Access): Problem | undefined {
  if (access.transport === "unix") return undefined
  const authorization = request.headers.get("authorization")
  if (authorization !== null) return carriesToken(authorization, access) ? undefined : WRONG_TOKEN
  const isRead = request.method === "GET" || request.method === "HEAD"
  if (!isRead) return access.token === undefined ? READ_ONLY : TOKEN_NEEDED
  if (PUBLIC_PATHS.includes(new URL(request.url).pathname)) return undefined
  if (!access.isLoopback) return TOKEN_NEEDED
  return isOurName(request.headers.get("host") ?? "") ? undefined : WRONG_HOST
}

export function isLoopback(address: Address): boolean {
  return LOOPBACK.some((prefix) => prefixContains(prefix, address))
}

function carriesToken(authorization: string, { token }: TcpAccess): boolean {
  const presented = /^Bearer +(\S+)$/i.exec(authorization)?.[1]
  if (token === undefined || presented === undefined) return false
  // Digests have one length, so that the comparison tells nothing of the token's.
  return timingSafeEqual(digest(presented), digest(token))
}

function digest(text: string): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(text).digest()
}

/** An address cannot be re-bound, and nobody else can own the name localhost (RFC 6761 §6.3). */
function isOurName(host: string): boolean {
  const name = host.replace(/:\d*$/, "")
  if (name.toLowerCase() === "localhost") return true
  return parseAddress(name.replace(/^\[(.*)\]$/, "$1")) !== undefined
}

const LOOPBACK: readonly Prefix[] = [
  { address: "127.0.0.0" as Address, length: 8 },
  { address: "::1" as Address, length: 128 },
]

/** For load balancers and monitors that know nothing of tokens; they tell one bit. */
const PUBLIC_PATHS = ["/healthz", "/readyz"]

const CHALLENGE = { "www-authenticate": 'Bearer realm="causeway"' }
const TOKEN_NEEDED: Problem = {
  status: 401,
  detail: "This needs the header Authorization: Bearer TOKEN, with the token of admin.token_file",
  headers: CHALLENGE,
}
const WRONG_TOKEN: Problem = { status: 401, detail: "The token is not the one", headers: CHALLENGE }
const READ_ONLY: Problem = {
  status: 403,
  detail: "Without admin.token_file, TCP is read-only: use the Unix socket",
}
const WRONG_HOST: Problem = {
  status: 421,
  detail: "Ask by an IP address or localhost",
}
