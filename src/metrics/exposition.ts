/**
 * Metrics as text that Prometheus reads (exposition format 0.0.4).
 *
 * The numbers live elsewhere, as plain fields of the status; a scrape turns them into text once. So
 * there is no registry here, and nothing to forget to update.
 */
export interface MetricFamily {
  /** `[a-z_:]`, with the unit last; ends in `_total` for counters. */
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly samples: readonly Sample[]
}

export interface Sample {
  /** Of the family's name: "_bucket", "_sum" and "_count" of a histogram. */
  readonly suffix?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

export const EXPOSITION_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

/** Families without samples are left out. */
export function formatExposition(families: readonly MetricFamily[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(formatFamily)
    .join("")
}

function formatFamily({ name, help, type, samples }: MetricFamily): string {
  const head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`
  const lines = samples.map(({ labels = {}, value, suffix = "" }) => {
    return `${name}${suffix}${formatLabels(labels)} ${formatValue(value)}\n`
  })
  return head + lines.join("")
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`
}

/** JavaScript writes numbers as Go reads them, but for the infinities. */
function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf"
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"')
}
