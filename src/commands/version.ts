/** `causeway version` */
import { printLine } from "./output.ts"
import { commit, version } from "./version-text.ts"

export function printVersion(): number {
  printLine(`causeway ${version} (commit ${commit}, Bun ${Bun.version}, ${process.arch})`)
  return 0
}
