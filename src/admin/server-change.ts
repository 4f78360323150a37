/** The body of `PATCH /v1/pools/{pool}/servers/{server}`: `{"state": …, "weight": …}`. */
import type { ServerChange } from "./backend.ts"

export type ParsedServerChange =
  | { readonly ok: true; readonly change: ServerChange }
  | { readonly ok: false; readonly reason: string }

export function parseServerChange(text: string): ParsedServerChange {
  const body = parseJson(text)
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    return refused('Expected a JSON object such as {"state":"drain"}')
  }
  const { state, weight, ...unknown } = body as Readonly<Record<string, unknown>>
  const [unknownKey] = Object.keys(unknown)
  if (unknownKey !== undefined) return refused(`There is no key "${unknownKey}": state, weight`)
  if (state !== undefined && !isAdminState(state)) {
    return refused(`state must be one of ${STATES.join(", ")}`)
  }
  if (weight !== undefined && !isWeight(weight)) {
    return refused(`weight must be an integer from 0 to ${WEIGHT_MAX}`)
  }
  if (state === undefined && weight === undefined) return refused("Expected state, weight or both")
  const change = {
    ...(state === undefined ? {} : { state }),
    ...(weight === undefined ? {} : { weight }),
  }
  return { ok: true, change }
}

type State = NonNullable<ServerChange["state"]>

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isAdminState(value: unknown): value is State {
  return STATES.some((state) => state === value)
}

function isWeight(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= WEIGHT_MAX
}

function refused(reason: string): ParsedServerChange {
  return { ok: false, reason }
}

const STATES: readonly State[] = ["ready", "drain", "maintenance"]
const WEIGHT_MAX = 256
