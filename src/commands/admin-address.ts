/**
 * Where the running edge answers: what `--admin` says, else what `[admin] listen` says in the
 * configuration file, else the usual socket.
 *
 * A file with an error in it must still lead to the edge that runs, because `causeway reload` has
 * to ask that edge to say what is wrong. So where the file cannot be loaded, its text is searched
 * for the socket: "unix:/…" means nothing else there.
 */
import { readFileSync } from "node:fs"
import type { AdminListen } from "../config/config.ts"
import { loadConfig } from "../config/load.ts"
import { formatEndpoint } from "../net/address.ts"
import { CommandFailure, type CommandInput } from "./command.ts"

export type AdminAddress =
  | { readonly type: "unix"; readonly path: string }
  /** `token`: undefined where none is configured, or where we may not read it. */
  | { readonly type: "tcp"; readonly origin: string; readonly token: string | undefined }

type AddressInput = Pick<CommandInput, "admin" | "configPath" | "isConfigGiven">

/** In the order to try them: sockets first, for over TCP less is allowed. */
export function adminAddresses({ admin, configPath, isConfigGiven }: AddressInput): AdminAddress[] {
  if (admin !== undefined) return [parseAdminAddress(admin)]
  const loaded = loadConfig(configPath)
  if (loaded.ok) {
    const { listen, tokenFile } = loaded.config.admin
    if (listen.length === 0) throw new CommandFailure(`[admin] is off in ${configPath}`)
    const token = readOptional(tokenFile)?.trim()
    return listen
      .map((each) => addressOf(each, token))
      .toSorted((a, b) => Number(a.type === "tcp") - Number(b.type === "tcp"))
  }
  const text = readOptional(configPath)
  if (text === undefined && isConfigGiven) {
    throw new CommandFailure(loaded.diagnostics[0]?.message ?? `Cannot read ${configPath}`)
  }
  return [{ type: "unix", path: findSocketPath(text ?? "") ?? DEFAULT_SOCKET_PATH }]
}

/** `unix:/run/x.sock`, `/run/x.sock`, `http://127.0.0.1:9180` or `127.0.0.1:9180`. */
export function parseAdminAddress(text: string): AdminAddress {
  const path = /^(?:unix:)?(\/.*)$/.exec(text)?.[1]
  if (path !== undefined) return { type: "unix", path }
  const origin = /^(?:http:\/\/)?([^/\s]+:\d+)\/?$/.exec(text)?.[1]
  if (origin !== undefined) return { type: "tcp", origin: `http://${origin}`, token: undefined }
  throw new CommandFailure(`--admin takes a socket's path or http://HOST:PORT, not "${text}"`)
}

export function formatAdminAddress(address: AdminAddress): string {
  return address.type === "unix" ? `unix:${address.path}` : address.origin
}

function addressOf(listen: AdminListen, token: string | undefined): AdminAddress {
  if (listen.type === "unix") return { type: "unix", path: listen.path }
  const { address, port } = listen.endpoint
  // What listens on every address is asked on the nearest.
  const nearest = NEAREST[address] ?? address
  const origin = `http://${formatEndpoint({ address: nearest as typeof address, port })}`
  return { type: "tcp", origin, token }
}

function findSocketPath(text: string): string | undefined {
  return /["']unix:(\/[^"'\n]+)["']/.exec(text.replace(/^\s*#.*$/gm, ""))?.[1]
}

function readOptional(path: string): string | undefined {
  try {
    return path === "" ? undefined : readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

const DEFAULT_SOCKET_PATH = "/run/causeway/admin.sock"

const NEAREST: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" }
