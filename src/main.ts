/**
 * The program. The first import installs a handler for SIGHUP, before anything else runs: without
 * one an early reload would end the process.
 */
import "./commands/early-signals.ts"
import { runCommandLine } from "./commands/cli.ts"

process.exit(await runCommandLine(process.argv.slice(2)))
