/**
 * A new state of an object out of the parts of the old one that are the same in both. Of an
 * EndpointSlice that changes many times a second, most endpoints stay: what was made of them stays
 * too, and who compares by identity sees at once what is new.
 */

/** Equal to `after`; `before` itself when that is equal. Both are plain data. */
export function shared<T>(before: T | undefined, after: T): T {
  return sharedValue(before, after) as T
}

function sharedValue(before: unknown, after: unknown): unknown {
  // Of two equal strings the old one, which others hold already.
  if (before === after) return before
  if (Array.isArray(before) && Array.isArray(after)) return sharedArray(before, after)
  return isPlain(before) && isPlain(after) ? sharedObject(before, after) : after
}

function sharedArray(before: readonly unknown[], after: readonly unknown[]): readonly unknown[] {
  const items = after.map((each, index) => sharedValue(before[index], each))
  const isSame =
    before.length === items.length && items.every((each, index) => each === before[index])
  return isSame ? before : items
}

function sharedObject(before: Plain, after: Plain): Plain {
  const result: { [key: string]: unknown } = { ...after }
  const keys = Object.keys(after)
  let same = 0
  for (const key of keys) {
    const value = sharedValue(before[key], after[key])
    result[key] = value
    if (value === before[key] && key in before) same++
  }
  return same === keys.length && Object.keys(before).length === same ? before : result
}

type Plain = Readonly<Record<string, unknown>>

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
