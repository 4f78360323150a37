/** Files that the configuration names: read or at least looked at when it is loaded. */
import { type Context, INVALID, type Invalid } from "./decode.ts"
import { readHint } from "./files.ts"
import type { TomlNode } from "./toml.ts"

/** The text of a secret without its final line end; warns when everybody may read it. */
export function readSecret(node: TomlNode, path: string, context: Context): string | Invalid {
  const { report, files } = context
  const file = files.read(path)
  if (!file.ok) {
    report.error(node, `Cannot read ${path}: ${file.reason}`, readHint(path, file.reason))
    return INVALID
  }
  if ((file.value.mode & 0o004) !== 0) {
    report.warning(node, `Every user may read ${path}`, `Run chmod o-r ${path}`)
  }
  const secret = file.value.text.replace(/\r?\n$/, "")
  if (secret !== "") return secret
  report.error(node, `${path} is empty`)
  return INVALID
}

/** A PEM file with at least one certificate. */
export function checkPem(node: TomlNode, path: string, { report, files }: Context): void {
  const file = files.read(path)
  if (!file.ok) {
    report.error(node, `Cannot read ${path}: ${file.reason}`, readHint(path, file.reason))
  } else if (!file.value.text.includes("-----BEGIN CERTIFICATE-----")) {
    report.error(node, `There is no certificate in ${path}`, "It must be a PEM file")
  }
}

/** A program that is missing may still be installed later, so this only warns. */
export function checkProgram(node: TomlNode, path: string, { report, files }: Context): void {
  const mode = files.mode(path)
  if (!mode.ok) report.warning(node, `Cannot find the program ${path}: ${mode.reason}`)
  else if ((mode.value & 0o111) === 0) {
    report.warning(node, `${path} is not executable`, `Run chmod +x ${path}`)
  }
}
