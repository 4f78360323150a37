/** `causeway status`: the picture once, as JSON, or renewed in place. */
import { AdminClient } from "./admin-client.ts"
import { CommandFailure, type CommandInput } from "./command.ts"
import { isOutputClosed, printLine, printRaw, type Terminal, terminal } from "./output.ts"
import { formatStatus } from "./status-text.ts"
import { paintAnsi, paintPlain } from "./tone.ts"

export async function status(input: CommandInput): Promise<number> {
  const client = new AdminClient(input)
  if (input.watch) return watch(client, input)
  printLine(await picture(client, { terminal: terminal(), json: input.json }))
  return 0
}

interface PictureOptions {
  readonly terminal: Terminal
  readonly json: boolean
}

async function picture(client: AdminClient, options: PictureOptions): Promise<string> {
  const status = await client.status()
  if (options.json) return JSON.stringify(status, undefined, 2)
  const { width, isColored } = options.terminal
  const paint = isColored ? paintAnsi : paintPlain
  return formatStatus(status, { width, paint, nowEpochMs: Date.now() }).join("\n")
}

/** Until Ctrl-C. An edge that does not answer is part of the picture: it may come back. */
async function watch(client: AdminClient, { json }: CommandInput): Promise<number> {
  const stopped = Promise.withResolvers<"stopped">()
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => stopped.resolve("stopped"))
  }
  const { isTty } = terminal()
  if (isTty) printRaw(ENTER_SCREEN)
  try {
    for (;;) {
      const now = { terminal: terminal(), json }
      const text = await picture(client, now).catch((error) => {
        if (error instanceof CommandFailure) return error.message
        throw error
      })
      if (isTty) printRaw(redraw(text, now.terminal.height))
      else printLine(text)
      const next = await Promise.race([stopped.promise, Bun.sleep(REFRESH_MS)])
      if (next === "stopped" || isOutputClosed()) return 0
    }
  } finally {
    if (isTty) printRaw(LEAVE_SCREEN)
  }
}

/** Over the old picture, each line cleared behind its text, so that nothing flickers. */
function redraw(text: string, height: number): string {
  const lines = text.split("\n")
  const shown = lines.length < height ? lines : [...lines.slice(0, height - 2), "…"]
  return `${HOME}${shown.map((line) => `${line}${CLEAR_LINE_END}\n`).join("")}${CLEAR_BELOW}`
}

const REFRESH_MS = 1_000

/** The alternate screen without cursor and line wrap; what was there before comes back. */
const ENTER_SCREEN = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l"
const LEAVE_SCREEN = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"
const HOME = "\u{1b}[H"
const CLEAR_LINE_END = "\u{1b}[K"
const CLEAR_BELOW = "\u{1b}[J"
