import { describe, expect, test } from "bun:test"
import { type LogFields, Logger, type LogSettings } from "./logger.ts"

/** A logger whose clock stands still, and its lines. */
function loggerOf(settings: Partial<LogSettings> = {}, isJournal = false) {
  const lines: string[] = []
  const log = new Logger({
    settings: { level: "debug", format: "text", ...settings },
    write: (line) => lines.push(line),
    now: () => new Date("2026-03-01T12:34:56.789Z"),
    isJournal,
  })
  return { log, lines }
}

test("text is time, level, component, message, fields", () => {
  const { log, lines } = loggerOf()
  log.info("stream", "Server ejected", { pool: "db", server: "m1", seconds: 30 })
  log.error("vrrp", "Lost")
  expect(lines).toEqual([
    "2026-03-01T12:34:56.789Z info  stream: Server ejected pool=db server=m1 seconds=30",
    "2026-03-01T12:34:56.789Z error vrrp: Lost",
  ])
})

test.each([
  ["debug", "<7>"],
  ["info", "<6>"],
  ["warn", "<4>"],
  ["error", "<3>"],
] as const)("text of level %s for journald has the priority %s and no time", (level, prefix) => {
  const { log, lines } = loggerOf({}, true)
  log[level]("daemon", "Ready", { threads: 2 })
  expect(lines).toEqual([`${prefix}daemon: Ready threads=2`])
})

test("json is one object a line", () => {
  const { log, lines } = loggerOf({ format: "json" }, true)
  log.warn("health", 'Said "no"', { server: "m1", tries: 3, last: true })
  expect(lines).toEqual([
    '{"time":"2026-03-01T12:34:56.789Z","level":"warn","component":"health",' +
      '"message":"Said \\"no\\"","server":"m1","tries":3,"last":true}',
  ])
})

describe("the level", () => {
  test.each([
    ["debug", ["debug", "info", "warn", "error"]],
    ["info", ["info", "warn", "error"]],
    ["warn", ["warn", "error"]],
    ["error", ["error"]],
  ] as const)("%s lets %p through", (level, expected) => {
    const { log, lines } = loggerOf({ level })
    for (const each of ["debug", "info", "warn", "error"] as const) log[each]("x", each)
    expect(lines.map((line) => line.split(": ")[1] ?? "")).toEqual([...expected])
  })

  test("may change, and the format with it", () => {
    const { log, lines } = loggerOf({ level: "error" })
    log.info("x", "not yet")
    log.configure({ level: "info", format: "json" })
    log.info("x", "now")
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ message: "now" })
  })
})

describe("fields of text", () => {
  const fieldsOf = (fields: LogFields) => {
    const { log, lines } = loggerOf({}, true)
    log.info("x", "y", fields)
    return lines[0]?.slice("<6>x: y ".length)
  }

  test.each([
    [{ a: "plain-1.2:3" }, "a=plain-1.2:3"],
    [{ a: "" }, 'a=""'],
    [{ a: "two words" }, 'a="two words"'],
    [{ a: 'say "hi"' }, 'a="say \\"hi\\""'],
    [{ a: "k=v" }, 'a="k=v"'],
    [{ a: "one\ntwo\tthree" }, 'a="one\\ntwo\\tthree"'],
    [{ a: 1.23456 }, "a=1.235"],
    [{ a: 1e9 }, "a=1000000000"],
    [{ a: false }, "a=false"],
    // A server's error text must not reach the operator's terminal as commands to it.
    [{ a: "\u001b[2Jx" }, 'a="\\u001b[2Jx"'],
    [{ a: "\u009b2Jx\u007f" }, 'a="\\u009b2Jx\\u007f"'],
    [{ a: "Zürich" }, "a=Zürich"],
  ])("%j is %s", (fields, text) => expect(fieldsOf(fields)).toBe(text))
})
