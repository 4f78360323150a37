/**
 * Verifies passwords for the data threads: bcrypt and argon2 are slow by design, and Bun runs them
 * on its own pool of threads. A few at a time; who asks while too many wait is told so, because
 * guessing passwords must not use up the machine.
 */
import type { PasswordVerdict } from "../http/route.ts"
import { passwordHashKind } from "../net/password-hash.ts"
import { verifyHtpasswd } from "./htpasswd-hash.ts"

const RUNNING_MAX = 2
const WAITING_MAX = 256

interface Job {
  readonly password: string
  readonly hash: string
  readonly answer: (verdict: PasswordVerdict) => void
}

export class PasswordVerifier {
  readonly #waiting: Job[] = []
  #running = 0

  verify(job: Job): void {
    if (this.#waiting.length >= WAITING_MAX) return job.answer("busy")
    this.#waiting.push(job)
    this.#next()
  }

  #next(): void {
    if (this.#running >= RUNNING_MAX) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running++
    void isPassword(job).then((isRight) => {
      this.#running--
      job.answer(isRight ? "right" : "wrong")
      this.#next()
    })
  }
}

/** A hash that cannot be read is nobody's password. */
async function isPassword({ password, hash }: Job): Promise<boolean> {
  try {
    const kind = passwordHashKind(hash)
    // PHP and htpasswd have a name of their own for the same algorithm.
    if (kind === "bcrypt") return await Bun.password.verify(password, hash.replace("$2y$", "$2b$"))
    if (kind === "argon2") return await Bun.password.verify(password, hash)
    // These run here: others get their turn first.
    await new Promise(setImmediate)
    return verifyHtpasswd(password, hash)
  } catch {
    return false
  }
}
