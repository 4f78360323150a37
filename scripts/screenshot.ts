/**
 * Takes docs/status-page.png, the picture of the status page in the README: what the active edge of
 * the pair that the README sets up shows of itself under some load, in a headless Chromium. Prints
 * what `causeway status` says at the same time, which the README shows, too.
 *
 *     bun scripts/screenshot.ts [FILE] [light|dark]
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { startConnectors, startSessions } from "../test/e2e/mysql-clients.ts"
import { MarkdownDocument } from "../test/e2e/readme-document.ts"
import { createPair, VIRTUAL_ADDRESS, type Vm } from "../test/e2e/readme-pair.ts"
import type { Lab } from "../test/lab/lab.ts"
import { eventually } from "../test/lab/wait.ts"

const ROOT = resolve(import.meta.dir, "..")
const CHROMIUM = "/usr/bin/chromium"
/** All of the page, and a margin below it. */
const SIZE = { width: 1180, height: 705 }
/** Long enough for some looks at the status: from the second on there are rates. */
const LOOKING_MS = 6_000

async function main(path: string, scheme: string): Promise<void> {
  const readme = new MarkdownDocument(readFileSync(join(ROOT, "README.md"), "utf8"))
  const toml = readme.blocks.find(({ language }) => language === "toml")?.text ?? ""
  await using pair = await createPair("screenshot")
  await pair.install(toml)
  await pair.settled()
  const target = `${VIRTUAL_ADDRESS}:3306`
  const sessions = startSessions(pair.client, target, 8)
  const connectors = startConnectors(pair.client, target, 2)
  await eventually(() => connectors.queries.length > 500, { timeoutMs: 60_000 })
  process.stdout.write(await pair.edgeA.typed("causeway status"))
  const relay = startRelay(pair.edgeA)
  mkdirSync(dirname(path), { recursive: true })
  await shoot(pair.lab, relay.url.href, { path, scheme })
  await relay.stop(true)
  await Promise.all([sessions.stop(), connectors.stop()])
}

/** The page of the edge, which listens in a network of its own. */
function startRelay(vm: Vm): Bun.Server<undefined> {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { pathname } = new URL(request.url)
      const text = await vm.typed(`curl -sf http://127.0.0.1:9180${pathname}`)
      const type = pathname === "/" ? "text/html; charset=utf-8" : "application/json"
      return new Response(text, { headers: { "content-type": type } })
    },
  })
}

async function shoot(
  lab: Lab,
  url: string,
  options: { readonly path: string; readonly scheme: string },
): Promise<void> {
  const host = lab.local("browser")
  const browser = host.spawn([
    CHROMIUM,
    "--headless=new",
    "--no-sandbox",
    "--hide-scrollbars",
    `--user-data-dir=${join(host.directory, "profile")}`,
    `--window-size=${SIZE.width},${SIZE.height}`,
    `--blink-settings=preferredColorScheme=${options.scheme === "dark" ? 0 : 1}`,
    "--remote-debugging-port=0",
    url,
  ])
  const line = await browser.waitFor(/DevTools listening on ws:\/\/\S+/)
  const devTools = new URL(line.slice(line.indexOf("ws://")))
  const page = await eventually(() => findPage(devTools.host, url), { what: "the page" })
  await Bun.sleep(LOOKING_MS)
  writeFileSync(options.path, await capture(page))
  await browser.stop({ signal: "SIGKILL" })
}

/** The address for talking to the page (https://chromedevtools.github.io/devtools-protocol). */
async function findPage(devTools: string, url: string): Promise<string | undefined> {
  const response = await fetch(`http://${devTools}/json/list`)
  const targets = (await response.json()) as { url: string; webSocketDebuggerUrl: string }[]
  return targets.find((target) => target.url === url)?.webSocketDebuggerUrl
}

function capture(page: string): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const socket = new WebSocket(page)
  const params = { captureBeyondViewport: true, clip: { x: 0, y: 0, scale: 1, ...SIZE } }
  const request = { id: 1, method: "Page.captureScreenshot", params }
  socket.onopen = () => socket.send(JSON.stringify(request))
  socket.onmessage = ({ data }) => resolve(Buffer.from(JSON.parse(data).result.data, "base64"))
  socket.onerror = () => reject(new Error(`Cannot talk to ${page}`))
  return promise.finally(() => socket.close())
}

const [path = "docs/status-page.png", scheme = "light"] = process.argv.slice(2)
await main(resolve(path), scheme)
