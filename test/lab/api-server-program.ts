/** An API server as a process of its own, to run inside a host (`api-server-host.ts`). */
import { type ApiServerOptions, startApiServer } from "./api-server/api-server.ts"
import { serveControl } from "./api-server/control.ts"

async function main(controlPath: string, optionsJson: string): Promise<void> {
  const options: ApiServerOptions = JSON.parse(optionsJson)
  const server = await startApiServer(options)
  serveControl(server, controlPath)
  const { url, caPem, directory } = server
  process.stdout.write(`${JSON.stringify({ url, caPem, directory })}\n`)
}

const [controlPath = "", optionsJson = "{}"] = process.argv.slice(2)
if (import.meta.main) await main(controlPath, optionsJson)
