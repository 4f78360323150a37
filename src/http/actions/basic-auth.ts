/**
 * `basic_auth` (RFC 7617). Checking a password is slow by design, so a data thread never does it:
 * it asks (`PasswordQuestion`) and remembers the answer for a minute, by a hash of what the
 * client sent.
 */
import type { BasicAuthConfig } from "../../config/http-config.ts"
import { after, type Instant } from "../../net/time.ts"
import { FIELD } from "../field-names.ts"
import { routeResponse } from "../responses.ts"
import type { Decision, PasswordQuestion, RespondDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Gate, GatedRoute } from "./action.ts"

export class BasicAuthGate implements Gate {
  readonly #challenge: string
  readonly #users: ReadonlyMap<string, string>
  readonly #nobody: string
  readonly #known = new Map<string, Known>()

  constructor({ realm, users }: BasicAuthConfig) {
    this.#challenge = `WWW-Authenticate: Basic realm="${realm}", charset="UTF-8"\r\n`
    this.#users = new Map(Object.entries(users))
    const [anybody = NOBODY] = this.#users.values()
    this.#nobody = anybody
  }

  check(request: RouteRequest, route: GatedRoute): Decision | undefined {
    const { head, now } = request
    const index = head.find(FIELD.authorization)
    const sent = index < 0 ? "" : head.value(index)
    const credentials = credentialsOf(sent)
    if (credentials === undefined) return this.#refuse(route, request)
    const key = new Bun.CryptoHasher("sha256").update(sent).digest("base64")
    const known = this.#known.get(key)
    if (known !== undefined && known.until > now) {
      return known.isRight ? undefined : this.#refuse(route, request)
    }
    const question = this.#question({ key, credentials, request, route })
    return { ...routeResponse(route, { status: 503 }, request), question }
  }

  #question({ key, credentials, request, route }: Attempt): PasswordQuestion {
    const { name, password } = credentials
    const resume = route.after(this, request)
    const refusal = this.#refuse(route, request)
    const busy = routeResponse(route, { status: 503, fields: "Retry-After: 1\r\n" }, request)
    return {
      type: "password",
      password,
      // An unknown name takes as long as a known one, so that names cannot be tried out.
      hash: this.#users.get(name) ?? this.#nobody,
      settle: (verdict, held) => {
        if (verdict === "busy") return busy
        const isGranted = verdict === "right" && this.#users.has(name)
        this.#remember(key, isGranted, held.now)
        return isGranted ? resume(held) : refusal
      },
    }
  }

  #refuse(route: Route, request: RouteRequest): RespondDecision {
    return routeResponse(route, { status: 401, fields: this.#challenge }, request)
  }

  /** The oldest answer makes room. */
  #remember(key: string, isRight: boolean, now: Instant): void {
    this.#known.delete(key)
    if (this.#known.size >= KNOWN_CREDENTIALS_MAX) {
      const [oldest = ""] = this.#known.keys()
      this.#known.delete(oldest)
    }
    this.#known.set(key, { isRight, until: after(now, isRight ? RIGHT_MS : WRONG_MS) })
  }
}

interface Known {
  readonly isRight: boolean
  readonly until: Instant
}

interface Attempt {
  readonly key: string
  readonly credentials: Credentials
  readonly request: RouteRequest
  readonly route: GatedRoute
}

interface Credentials {
  readonly name: string
  readonly password: string
}

/** RFC 7617 §2: "Basic" and base64 of "name:password", UTF-8. */
function credentialsOf(value: string): Credentials | undefined {
  const encoded = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(value)?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, "base64").toString("utf8")
  const colon = text.indexOf(":")
  if (colon < 1 || text.length - colon - 1 > PASSWORD_LENGTH_MAX) return undefined
  return { name: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** How long a changed or withdrawn password may still work; a reload forgets all at once. */
const RIGHT_MS = 60_000
/** Takes the load off a client that tries in a loop. */
const WRONG_MS = 2_000
const KNOWN_CREDENTIALS_MAX = 4096
const PASSWORD_LENGTH_MAX = 1024
/** bcrypt of a random text, cost 10: nobody's. */
const NOBODY = "$2b$10$hWAEPbqNVifUEIQrZw1xSOGLaik9.TVBWdlX8SwgEWZsYnPay3Eem"
