/** `[pool.check]` and `[[check]]`: which keys there are depends on `type`. */
import type {
  CheckConfig,
  CheckTimingConfig,
  CommandCheckConfig,
  HttpCheckConfig,
  MysqlCheckConfig,
  NamedCheckConfig,
  TcpCheckConfig,
} from "./config.ts"
import {
  type Context,
  type Decoded,
  type Decoder,
  decodeFields,
  type Fields,
  INVALID,
  type Invalid,
  isTable,
  keysOf,
  list,
  optional,
  rejectUnavailable,
  rejectUnknownKeys,
  required,
  scalar,
} from "./decode.ts"
import type { TomlTable } from "./toml.ts"
import {
  absolutePath,
  boolean,
  duration,
  endpoint,
  identifier,
  integer,
  matching,
  oneOf,
  optionalPath,
  regularExpression,
  statusRanges,
  text,
} from "./values.ts"

type CheckType = CheckConfig["type"]

const timing: Fields<CheckTimingConfig> = {
  intervalMs: optional("interval", duration(10), 2000),
  timeoutMs: optional("timeout", duration(10), 1000),
  rise: optional("rise", integer(1, 1000), 2),
  fall: optional("fall", integer(1, 1000), 3),
  port: optional<number | undefined>("port", integer(1, 65535), undefined),
}

const requestPath = scalar("text that starts with / and has no blanks", (node) =>
  matching(node, /^\/[\x21-\x7e]*$/),
)
const method = scalar("an HTTP method in capitals", (node) => matching(node, /^[A-Z]{1,20}$/))
const host = scalar("a host name, with a port if need be", (node) =>
  matching(node, /^[A-Za-z0-9_.:[\]-]*$/),
)

const httpFields: Fields<HttpCheckConfig> = {
  type: required("type", oneOf("http")),
  ...timing,
  method: optional("method", method, "GET"),
  path: optional("path", requestPath, "/"),
  host: optional("host", host, ""),
  expectStatus: optional("expect_status", statusRanges, [{ from: 200, to: 399 }]),
  expectBody: optional("expect_body", regularExpression, ""),
  tls: optional("tls", boolean, false),
  tlsVerify: optional("tls_verify", boolean, true),
  caFile: optional("ca_file", optionalPath, ""),
}

const mysqlFields: Fields<MysqlCheckConfig> = {
  type: required("type", oneOf("mysql")),
  ...timing,
  user: optional("user", text, ""),
  passwordFile: optional("password_file", optionalPath, ""),
  database: optional("database", text, ""),
}

const commandLine: Decoder<readonly string[]> = (node, context) => {
  const words = list(text, "a list of a program and its arguments")(node, context)
  if (words === INVALID || node.type !== "array") return INVALID
  const [program] = node.items
  if (program !== undefined) return absolutePath(program, context) === INVALID ? INVALID : words
  context.report.error(node, "command must name a program", 'Write ["/path/to/program"]')
  return INVALID
}

const commandFields: Fields<CommandCheckConfig> = {
  type: required("type", oneOf("command")),
  ...timing,
  command: required("command", commandLine),
}

const tcpFields: Fields<TcpCheckConfig> = { type: required("type", oneOf("tcp")), ...timing }

const FIELDS: { readonly [Type in CheckType]: Fields<Extract<CheckConfig, { type: Type }>> } = {
  tcp: tcpFields,
  http: httpFields,
  mysql: mysqlFields,
  command: commandFields,
}

const checkType = oneOf("tcp", "http", "mysql", "command")

export const CHECK_KEYS: { readonly [Type in CheckType]: readonly string[] } = {
  tcp: keysOf(tcpFields),
  http: keysOf(httpFields),
  mysql: keysOf(mysqlFields),
  command: keysOf(commandFields),
}

export const poolCheck: Decoder<CheckConfig> = (node, context) => {
  if (!isTable(node, context)) return INVALID
  return decodeCheck(node, { name: "pool.check", title: "[pool.check]", ownKeys: [] }, context)
}

/** The keys that `[[check]]` has and `[pool.check]` has not. */
const namedFields: Fields<Pick<NamedCheckConfig, "name" | "address">> = {
  name: required("name", identifier),
  address: optional<NamedCheckConfig["address"]>("address", endpoint, undefined),
}

export const NAMED_CHECK_KEYS: readonly string[] = keysOf(namedFields)

export function decodeNamedCheck(node: TomlTable, context: Context): Decoded<NamedCheckConfig> {
  const table = { name: "check", title: "[[check]]" }
  const named = decodeFields(node, { ...table, fields: namedFields }, context)
  const decoded = decodeCheck(node, { ...table, ownKeys: NAMED_CHECK_KEYS }, context)
  const check = decoded === INVALID ? undefined : decoded
  const complete = named.value !== undefined && check !== undefined
  return {
    node,
    draft: { ...named.draft, check },
    value: complete ? { ...named.value, check } : undefined,
  }
}

function decodeCheck(
  node: TomlTable,
  table: { readonly name: string; readonly title: string; readonly ownKeys: readonly string[] },
  context: Context,
): CheckConfig | Invalid {
  const type = decodeType(node, table, context)
  if (type === INVALID) return INVALID
  const title = `${table.title} of type "${type}"`
  rejectUnknownKeys(
    node,
    { ...table, title, known: [...table.ownKeys, ...CHECK_KEYS[type]] },
    context,
  )
  const schema = { name: table.name, title, fields: FIELDS[type] as Fields<CheckConfig> }
  return decodeFields(node, schema, context).value ?? INVALID
}

function decodeType(
  node: TomlTable,
  { name, title }: { readonly name: string; readonly title: string },
  context: Context,
): CheckType | Invalid {
  const type = node.entries.get("type")
  if (type === undefined) {
    const hint = 'Add type = "tcp", "http", "mysql" or "command"'
    context.report.error(node, `The key type is missing in ${title}`, hint)
    return INVALID
  }
  if (rejectUnavailable(type, { table: name, key: "type" }, context)) return INVALID
  return checkType(type, context)
}
