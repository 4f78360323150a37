/** What colour says in the terminal; the words say it too, for those without colour. */
export type Tone = "good" | "warn" | "bad" | "quiet" | "strong"

export type Paint = (text: string, tone: Tone) => string

export const paintPlain: Paint = (text) => text

/** ECMA-48 select graphic rendition; the sixteen basic colours follow the user's own palette. */
export const paintAnsi: Paint = (text, tone) => `\u{1b}[${SGR[tone]}m${text}\u{1b}[0m`

const SGR: Readonly<Record<Tone, string>> = {
  good: "32",
  warn: "33",
  bad: "31;1",
  quiet: "2",
  strong: "1",
}
