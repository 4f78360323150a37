/**
 * `/v1/events`: every event of the daemon to every open stream, as server-sent events (HTML Living
 * Standard §9.2).
 *
 * A client that does not read must not fill our memory: at `UNREAD_BYTES_MAX` its stream ends, and
 * it may come back. A comment every few seconds keeps proxies from closing a quiet stream, and
 * tells us of clients that are gone.
 */
import type { AdminBackend, StatusEvent } from "./backend.ts"

export class EventStreams {
  readonly #subscribe: AdminBackend["subscribe"]
  readonly #streams = new Set<ReadableStreamDefaultController<Uint8Array>>()
  #unsubscribe: (() => void) | undefined
  #heartbeat: ReturnType<typeof setInterval> | undefined

  constructor(backend: Pick<AdminBackend, "subscribe">) {
    this.#subscribe = (listener) => backend.subscribe(listener)
  }

  get size(): number {
    return this.#streams.size
  }

  /** A response that never ends by itself; undefined when there are `STREAMS_MAX` already. */
  open(): Response | undefined {
    if (this.#streams.size >= STREAMS_MAX) return undefined
    let opened: ReadableStreamDefaultController<Uint8Array> | undefined
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          opened = controller
          this.#add(controller)
        },
        cancel: () => {
          if (opened !== undefined) this.#remove(opened)
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: UNREAD_BYTES_MAX }),
    )
    return new Response(body, { headers: { "content-type": "text/event-stream" } })
  }

  /** Ends all streams. */
  close(): void {
    for (const controller of [...this.#streams]) {
      this.#remove(controller)
      controller.close()
    }
  }

  #add(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#streams.add(controller)
    this.#unsubscribe ??= this.#subscribe((event) => this.#send(formatEvent(event)))
    this.#heartbeat ??= setInterval(() => this.#send(COMMENT), HEARTBEAT_INTERVAL_MS)
    // The header goes out with the first byte: a client learns at once that it is listening.
    controller.enqueue(encoder.encode(COMMENT))
  }

  #remove(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#streams.delete(controller)
    if (this.#streams.size > 0) return
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
    clearInterval(this.#heartbeat)
    this.#heartbeat = undefined
  }

  #send(text: string): void {
    const bytes = encoder.encode(text)
    for (const controller of [...this.#streams]) {
      if ((controller.desiredSize ?? 0) >= bytes.length) controller.enqueue(bytes)
      else {
        this.#remove(controller)
        controller.close()
      }
    }
  }
}

/** JSON has no line ends of its own, so one `data` line holds it. */
export function formatEvent(event: StatusEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}

const encoder = new TextEncoder()
const COMMENT = ": causeway\n\n"

/** A few dashboards and scripts; more is a client that opens and forgets. */
const STREAMS_MAX = 32
const UNREAD_BYTES_MAX = 256 * 1024
/** Below the idle timeout of the server and of common proxies (60 s). */
const HEARTBEAT_INTERVAL_MS = 15_000
