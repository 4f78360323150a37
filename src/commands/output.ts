/** The only place that writes to standard output and standard error. */
export function printLine(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printError(text: string): void {
  process.stderr.write(`${text}\n`)
}
