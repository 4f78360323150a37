/** The bearer token of the admin API, from its file. */
import { readFileSync } from "node:fs"

/** Throws with a message for the operator. The end of the last line is not part of the token. */
export function readToken(path: string): string {
  const text = read(path).trim()
  if (/\s/.test(text)) throw new Error(`Cannot use the token in ${path}: it contains blanks`)
  if (text === "") throw new Error(`Cannot use the token in ${path}: it is empty`)
  return text
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    throw new Error(`Cannot read the token file ${path}: ${(error as NodeJS.ErrnoException).code}`)
  }
}
