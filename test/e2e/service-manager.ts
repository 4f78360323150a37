/**
 * The service manager's side of sd_notify(3): a datagram socket that keeps what it is told and
 * when. The folder is shared between network namespaces, so an edge in one of them reaches it by
 * its path.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NativeBytes } from "../../src/linux/bytes.ts"
import { check, type Fd } from "../../src/linux/fd.ts"
import { libc } from "../../src/linux/libc.ts"
import { openSocket, SOCK_DGRAM, SOCK_NONBLOCK } from "../../src/linux/socket-option.ts"
import { epochMs, eventually } from "../lab/wait.ts"

export interface Notice {
  /** Wall-clock milliseconds, to about 2 ms. */
  readonly atMs: number
  readonly text: string
}

export class ServiceManager implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "causeway-manager-"))
  readonly path = join(this.#directory, "notify")
  readonly notices: Notice[] = []
  readonly #socket: Fd
  readonly #buffer = new NativeBytes(4096)
  readonly #poll: Timer

  constructor() {
    const path = Buffer.from(this.path)
    const address = NativeBytes.of(Buffer.concat([Uint8Array.of(AF_UNIX, 0), path]))
    const kind = { family: AF_UNIX, type: SOCK_DGRAM | SOCK_NONBLOCK, protocol: 0 }
    this.#socket = openSocket(kind, "open manager", (socket) => {
      check(libc.bind(socket.number, address.address, address.bytes.length), `bind ${this.path}`)
    })
    this.#poll = setInterval(() => this.#receive(), 1)
  }

  count(text: string): number {
    return this.notices.filter((notice) => notice.text === text).length
  }

  /** The first notice of this text, from `sinceMs` on. */
  waitFor(text: string, sinceMs = 0, timeoutMs = 10_000): Promise<Notice> {
    const find = () =>
      this.notices.find((notice) => notice.atMs >= sinceMs && notice.text.includes(text))
    return eventually(find, { intervalMs: 2, timeoutMs, what: `the notice ${text}` })
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll)
    this.#socket.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #receive(): void {
    for (;;) {
      const length = libc.recv(this.#socket.number, this.#buffer.address, 4096, 0)
      if (length <= 0) return
      const text = Buffer.from(this.#buffer.bytes.subarray(0, length)).toString("utf8")
      this.notices.push({ atMs: epochMs(), text })
    }
  }
}

const AF_UNIX = 1
