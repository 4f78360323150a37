/**
 * Verifies passwords for the data threads: bcrypt and argon2 are slow by design, and Bun runs them
 * on its own pool of threads. A few at a time; who asks while too many wait is told no, because
 * guessing passwords must not use up the machine.
 */
const RUNNING_MAX = 2
const WAITING_MAX = 256

interface Job {
  readonly password: string
  readonly hash: string
  readonly answer: (isRight: boolean) => void
}

export class PasswordVerifier {
  readonly #waiting: Job[] = []
  #running = 0

  verify(job: Job): void {
    if (this.#waiting.length >= WAITING_MAX) return job.answer(false)
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
      job.answer(isRight)
      this.#next()
    })
  }
}

/** A hash that cannot be read is nobody's password. */
async function isPassword({ password, hash }: Job): Promise<boolean> {
  try {
    return await Bun.password.verify(password, hash)
  } catch {
    return false
  }
}
