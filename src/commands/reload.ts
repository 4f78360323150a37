/** `causeway reload`: the running edge reads its configuration again and says what became of it. */
import { AdminClient, refused } from "./admin-client.ts"
import type { CommandInput } from "./command.ts"
import { printable, printError, printLine } from "./output.ts"

export async function reload(input: CommandInput): Promise<number> {
  const answer = await new AdminClient(input).change("POST", "/v1/reload")
  if (!answer.ok && answer.status !== NOT_APPLIED) throw refused(answer)
  if (!answer.ok) {
    printError(printable(answer.detail))
    printError("\nNothing was changed: the configuration from before goes on.")
    return 1
  }
  const { generation, changes, warnings } = answer.value as Reloaded
  for (const warning of warnings) printError(printable(`warning: ${warning}`))
  for (const change of changes) printLine(printable(change))
  const count = changes.length === 0 ? "nothing changed" : `${changes.length} changed`
  printLine(`Reloaded: ${count}, configuration ${generation}`)
  return 0
}

interface Reloaded {
  readonly generation: number
  readonly changes: readonly string[]
  readonly warnings: readonly string[]
}

/** How the API says that the file has an error. */
const NOT_APPLIED = 422
