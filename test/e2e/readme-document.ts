/** Reading README.md: just as much Markdown as it has. */

export interface Block {
  /** What stands behind the fence: "sh", "toml", "text" or nothing. */
  readonly language: string
  /** Ends with a line end. */
  readonly text: string
}

export class MarkdownDocument {
  readonly blocks: readonly Block[]
  /** Everything outside of blocks. */
  readonly prose: string

  constructor(text: string) {
    const fenced = /^```(\w*)\n([\s\S]*?)^```\n/gm
    this.blocks = [...text.matchAll(fenced)].map(([, language = "", body = ""]) => {
      return { language, text: body }
    })
    this.prose = text.replace(fenced, "")
  }

  /** The lines of all blocks of a language, without blank ones. */
  lines(language: string): string[] {
    const wanted = this.blocks.filter((block) => block.language === language)
    return wanted.flatMap(({ text }) => text.split("\n").filter((line) => line !== ""))
  }

  /** Targets of links and pictures. */
  get links(): string[] {
    return [...this.prose.matchAll(/\]\(([^)]+)\)/g)].map(([, target = ""]) => target)
  }

  /** What headings are called in links. */
  get anchors(): string[] {
    return [...this.prose.matchAll(/^#+ (.+)$/gm)].map(
      ([, title = ""]) => `#${title.toLowerCase().replaceAll(" ", "-")}`,
    )
  }

  get codeSpans(): string[] {
    return codeSpans(this.prose)
  }

  /** The cells of the table below a heading, without its head. */
  rows(heading: string): string[][] {
    const section = this.prose.split(/^## /m).find((each) => each.startsWith(`${heading}\n`)) ?? ""
    const lines = section.split("\n").filter((line) => line.startsWith("|"))
    return lines.slice(2).map((line) => {
      const cells = line.split(/(?<!\\)\|/).slice(1, -1)
      return cells.map((cell) => cell.trim())
    })
  }
}

/** What stands between backticks. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span)
}
