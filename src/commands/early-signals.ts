/**
 * SIGHUP before anything else runs. The default of that signal is to end the process, and a reload
 * that comes while the edge still starts (a package script, an impatient operator) must not take it
 * down. So this is the first import of `main.ts`, and it imports nothing.
 *
 * `causeway run` takes over when it can reload; a signal that came before is not lost. Every other
 * command gives the signal back: closing a terminal shall end them.
 */

/** From now on `reload` is called at each SIGHUP; at once if one has come already. */
export function takeOverHangUp(reload: () => void): void {
  process.on("SIGHUP", reload)
  process.off("SIGHUP", remember)
  if (!hasCome) return
  hasCome = false
  reload()
}

/** SIGHUP ends the process again. */
export function restoreHangUp(): void {
  process.off("SIGHUP", remember)
}

function remember(): void {
  hasCome = true
}

let hasCome = false

process.on("SIGHUP", remember)
