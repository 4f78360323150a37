/**
 * Takes docs/status-page.png, the picture of the status page in the README: the page as it is
 * served, over a sample status, in a headless Chromium.
 *
 *     bun scripts/screenshot.ts [FILE] [light|dark]
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { createAdminApp } from "../src/admin/app.ts"
import type { AdminBackend, Status } from "../src/admin/backend.ts"
import { SAMPLE_TIME, sampleStatus } from "../src/admin/fixtures/sample-status.ts"

const CHROMIUM = "/usr/bin/chromium"
const SIZE = "1180,1170"
/** Long enough for two looks at the status: the second knows rates. */
const VIRTUAL_TIME_MS = 2_500

async function main(path: string, scheme: string): Promise<void> {
  const app = createAdminApp(sampleBackend(), {
    onError: (error) => process.stderr.write(`${error.stack}\n`),
  })
  const access = { transport: "unix" } as const
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => app.fetch(request, { access }),
  })
  const profile = mkdtempSync(join(tmpdir(), "causeway-screenshot-"))
  mkdirSync(dirname(path), { recursive: true })
  try {
    await shoot(server.url.href, { path, scheme, profile })
  } finally {
    await server.stop(true)
    rmSync(profile, { recursive: true, force: true })
  }
}

async function shoot(
  url: string,
  options: { readonly path: string; readonly scheme: string; readonly profile: string },
): Promise<void> {
  const argv = [
    CHROMIUM,
    "--headless=new",
    "--no-sandbox",
    "--hide-scrollbars",
    `--user-data-dir=${options.profile}`,
    `--window-size=${SIZE}`,
    `--blink-settings=preferredColorScheme=${options.scheme === "dark" ? 0 : 1}`,
    `--virtual-time-budget=${VIRTUAL_TIME_MS}`,
    `--screenshot=${options.path}`,
    url,
  ]
  const child = Bun.spawn(argv, { stdout: "ignore", stderr: "pipe" })
  const errors = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new Error(errors)
}

/** The sample, as if taken now and with some traffic since the last look. */
function sampleBackend(): AdminBackend {
  let looks = 0
  return {
    status: () => grow(aged(sampleStatus), looks++),
    notReady: () => [],
    reload: () => Promise.resolve({ ok: false, error: "this is a picture" }),
    setServer: refuse,
    release: refuse,
    resume: refuse,
    injectFault: refuse,
    subscribe: () => () => {},
  }
}

function refuse() {
  return { ok: false, status: 403, detail: "This is a picture" } as const
}

/** Every time in it moved by what has passed since the sample was taken. */
function aged(status: Status): Status {
  const shiftMs = Date.now() - Date.parse(SAMPLE_TIME)
  const text = JSON.stringify(status).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) =>
    new Date(Date.parse(time) + shiftMs).toISOString(),
  )
  return JSON.parse(text)
}

function grow(status: Status, looks: number): Status {
  const pools = status.pools.map((pool) => ({
    ...pool,
    servers: pool.servers.map((server) => ({
      ...server,
      connections_total: server.connections_total + looks * server.connections,
    })),
  }))
  const streams = status.streams.map((stream) => ({
    ...stream,
    total: stream.total + looks * stream.connections,
  }))
  return { ...status, pools, streams }
}

const [path = "docs/status-page.png", scheme = "light"] = process.argv.slice(2)
await main(resolve(path), scheme)
