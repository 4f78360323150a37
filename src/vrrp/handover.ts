/**
 * Taking and giving up the addresses of one virtual router.
 *
 *     none ──activate──▶ held ──deactivate──▶ leaving ──left, or 50 ms──▶ none
 *                         ▲                      │
 *                         └──────activate────────┘
 *
 * Connections through an address cannot live on once it has moved, and a client that waits for an
 * answer would hang to its own timeout. So the control thread is told first and resets them while
 * the address is still here to send the resets from; then the address goes, and last the farewell
 * (priority 0), which lets the peer take over at once: never both at the same time.
 */
import { after, type Instant } from "../net/time.ts"
import { LEAVING_WAIT_MS } from "./messages.ts"

export type HandoverState =
  | { readonly name: "none" }
  | { readonly name: "held" }
  | { readonly name: "leaving"; readonly until: Instant; readonly farewell: boolean }

export type HandoverInput =
  | { readonly type: "activate" }
  | { readonly type: "deactivate"; readonly farewell: boolean }
  | { readonly type: "left" }
  | { readonly type: "timeout" }

export type HandoverAction =
  /** Make the configured addresses, and no others of ours, present; then announce them. */
  | { readonly type: "hold" }
  /** Ask for the sessions to be reset; announce no more. */
  | { readonly type: "leave" }
  | { readonly type: "remove" }
  | { readonly type: "farewell" }

export class Handover {
  #state: HandoverState = { name: "none" }

  get state(): HandoverState {
    return this.#state
  }

  deadline(): Instant | undefined {
    return this.#state.name === "leaving" ? this.#state.until : undefined
  }

  handle(input: HandoverInput, now: Instant): HandoverAction[] {
    switch (input.type) {
      case "activate":
        this.#state = { name: "held" }
        return [{ type: "hold" }]
      case "deactivate":
        return this.#deactivate(input.farewell, now)
      case "left":
        return this.#state.name === "leaving" ? this.#gone(this.#state.farewell) : []
      case "timeout":
        return this.#state.name === "leaving" && this.#state.until <= now
          ? this.#gone(this.#state.farewell)
          : []
    }
  }

  #deactivate(farewell: boolean, now: Instant): HandoverAction[] {
    if (this.#state.name !== "held") return []
    this.#state = { name: "leaving", until: after(now, LEAVING_WAIT_MS), farewell }
    return [{ type: "leave" }]
  }

  #gone(farewell: boolean): HandoverAction[] {
    this.#state = { name: "none" }
    return farewell ? [{ type: "remove" }, { type: "farewell" }] : [{ type: "remove" }]
  }
}
