/**
 * How the demo shows itself: on a terminal a picture that is drawn over again, elsewhere one line
 * for each thing that happens and a line of figures now and then.
 */

export interface EdgeView {
  readonly name: string
  /** VRRP state, or "dead". */
  readonly state: string
  readonly priority: number | undefined
  readonly holdsAddress: boolean
}

export interface Picture {
  readonly elapsedMs: number
  readonly target: string
  readonly edges: readonly EdgeView[]
  readonly attempts: number
  readonly successes: number
  readonly servers: readonly { readonly name: string; readonly count: number }[]
}

export class View {
  readonly #isTerminal: boolean
  readonly #write: (text: string) => void
  readonly #events: string[] = []
  #linesDrawn = 0
  #figuresAtMs = 0

  constructor(isTerminal: boolean, write: (text: string) => void) {
    this.#isTerminal = isTerminal
    this.#write = write
  }

  /** Something happened: shown at once, and kept on a terminal. */
  event(elapsedMs: number, text: string): void {
    const line = `${stamp(elapsedMs)}  ${text}`
    this.#events.push(line)
    if (!this.#isTerminal) this.#write(`${line}\n`)
  }

  /** The state of things; elsewhere than on a terminal only every `FIGURES_EVERY_MS`. */
  draw(picture: Picture): void {
    if (this.#isTerminal) {
      this.#redraw(lines(picture, this.#events))
    } else if (picture.elapsedMs - this.#figuresAtMs >= FIGURES_EVERY_MS) {
      this.#figuresAtMs = picture.elapsedMs
      this.#write(`${stamp(picture.elapsedMs)}  ${figures(picture)}\n`)
    }
  }

  /** Lines that stay, whatever their length; the picture goes on below them. */
  print(text: string): void {
    this.#linesDrawn = 0
    this.#write(`\n${text}\n`)
  }

  #redraw(content: readonly string[]): void {
    const back = this.#linesDrawn === 0 ? "" : `\x1b[${this.#linesDrawn}A\r`
    this.#write(`${back}${content.map((line) => `${line}\x1b[K\n`).join("")}\x1b[J`)
    this.#linesDrawn = content.length
  }
}

function lines(picture: Picture, events: readonly string[]): string[] {
  return [
    "",
    `  ${BOLD}Causeway${PLAIN}  client → ${picture.target}, a fresh connection every 10 ms`,
    "",
    ...picture.edges.map(edgeLine),
    "",
    ...serverLines(picture),
    "",
    `  requests ${picture.successes}   not answered ${unanswered(picture)}`,
    "",
    ...events.slice(-EVENTS_SHOWN_MAX).map((event) => `  ${event}`),
  ]
}

function edgeLine(edge: EdgeView): string {
  const colour = edge.state === "dead" ? RED : edge.holdsAddress ? GREEN : ""
  const holds = edge.holdsAddress ? "● holds the address" : ""
  const priority = edge.priority === undefined ? "" : `priority ${edge.priority}`
  const state = `${colour}${edge.state.padEnd(11)}${holds}${PLAIN}`
  return `  ${edge.name.padEnd(8)} ${priority.padEnd(13)} ${state}`
}

function serverLines({ servers }: Picture): string[] {
  const most = Math.max(1, ...servers.map(({ count }) => count))
  return servers.map(({ name, count }) => {
    const bar = "█".repeat(Math.round((count / most) * BAR_COLUMNS))
    return `  ${name.padEnd(8)} ${String(count).padStart(7)} ${bar}`
  })
}

function figures(picture: Picture): string {
  const edges = picture.edges.map(
    ({ name, state, holdsAddress }) => `${name} ${state}${holdsAddress ? " (address)" : ""}`,
  )
  const servers = picture.servers.map(({ name, count }) => `${name} ${count}`)
  const requests = `requests ${picture.successes} (${servers.join(", ")})`
  return `${edges.join(", ")}; ${requests}, not answered ${unanswered(picture)}`
}

/** Attempts under way count until they are answered: a handful at any time. */
function unanswered({ attempts, successes }: Picture): number {
  return Math.max(0, attempts - successes)
}

function stamp(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1).padStart(5)} s`
}

const FIGURES_EVERY_MS = 2_000
const EVENTS_SHOWN_MAX = 12
const BAR_COLUMNS = 40
const BOLD = "\x1b[1m"
const GREEN = "\x1b[32m"
const RED = "\x1b[31m"
const PLAIN = "\x1b[0m"
