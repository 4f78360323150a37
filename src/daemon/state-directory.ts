/** Where what must outlive the process is kept. */
import type { Config } from "../config/config.ts"

/** `node.state_dir`, else the first of systemd's, else /var/lib/causeway. */
export function stateDirectory({ node }: Pick<Config, "node">): string {
  const { STATE_DIRECTORY = "" } = process.env
  const [ofUnit = ""] = STATE_DIRECTORY.split(":")
  return node.stateDir || ofUnit || "/var/lib/causeway"
}
