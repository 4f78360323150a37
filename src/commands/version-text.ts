/** What the build wrote into the program (scripts/build.ts). */
declare const CAUSEWAY_VERSION: string
declare const CAUSEWAY_COMMIT: string

export const version: string =
  typeof CAUSEWAY_VERSION === "undefined" ? "development" : CAUSEWAY_VERSION
export const commit: string = typeof CAUSEWAY_COMMIT === "undefined" ? "unknown" : CAUSEWAY_COMMIT
