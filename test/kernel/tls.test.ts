/**
 * src/tls against the TLS clients of others: openssl s_client, curl, and plain bytes. The server is
 * `programs/tls-server.ts`, compiled. File time limit: 300 s
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect as connectTls, type TLSSocket } from "node:tls"
import type { TlsConfig } from "../../src/config/http-config.ts"
import { CERTIFICATES, KEYS } from "../../src/linux/fixtures/certificates.ts"
import { CLIENT_HELLOS } from "../../src/wire/fixtures/client-hellos.ts"
import { execCommand, ManagedProcess, runCommand } from "../lab/process.ts"
import { eventually } from "../lab/wait.ts"

const PROGRAM = join(import.meta.dir, "programs/tls-server.ts")
const HANDSHAKE_MS = 1_000

let home: string
let executable: string
let directory: string
let servers: TestServer[]

interface TestServer {
  readonly process: ManagedProcess
  readonly port: number
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "causeway-tls-"))
  executable = join(home, "tls-server")
  const flags = ["--compile", "--minify", "--bytecode", "--format=esm"]
  await execCommand([process.execPath, "build", ...flags, `--outfile=${executable}`, PROGRAM], {
    cwd: home,
    timeoutMs: 120_000,
  })
}, 120_000)

afterAll(() => {
  rmSync(home, { recursive: true, force: true })
})

beforeEach(() => {
  directory = mkdtempSync(join(home, "case-"))
  servers = []
  for (const name of ["shop", "shopRsa", "plain", "client", "stranger"] as const) {
    writeFileSync(at(`${name}.pem`), CERTIFICATES[name] + CERTIFICATES.intermediate)
    writeFileSync(at(`${name}.key`), KEYS[name], { mode: 0o600 })
  }
  writeFileSync(at("ca.pem"), CERTIFICATES.authority)
})

afterEach(async () => {
  await Promise.all(servers.map((server) => server.process.stop({ signal: "SIGKILL" })))
})

describe("openssl s_client", () => {
  test.each([
    ["-tls1_3", "TLSv1.3", "TLS_AES_128_GCM_SHA256"],
    ["-tls1_2", "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ["-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"],
    ["-tls1_3 -sigalgs rsa_pss_rsae_sha256", "TLSv1.3", "TLS_AES_128_GCM_SHA256"],
  ])("%s gets %s with %s", async (options, tlsVersion, cipher) => {
    const { facts } = await ask(await start(), options)
    expect(facts).toMatchObject({ tlsVersion, cipher, isResumed: false })
  })

  test.each([
    ["shop.example", "CN = shop.example"],
    ["plain.example", "CN = plain.example"],
    ["deep.shop.example", "CN = shop.example"],
    ["other.example", "CN = shop.example"],
  ])("asking for %s sees %s", async (name, subject) => {
    const { output } = await ask(await start(), `-servername ${name}`)
    expect(output).toContain(`subject=${subject}\n`)
  })

  test("sees ECDSA, or RSA when it verifies nothing else", async () => {
    const server = await start()
    const ecdsa = await ask(server, "-servername shop.example")
    expect(ecdsa.output).toContain("Peer signature type: ECDSA")
    const rsa = await ask(server, "-servername shop.example -sigalgs RSA-PSS+SHA256")
    expect(rsa.output).toContain("Peer signature type: RSA-PSS")
  })

  test.each([
    ["-tls1_1 -cipher DEFAULT@SECLEVEL=0", "old_version"],
    ["-alpn h2", "no_application_protocol"],
    ["-tls1_2 -cipher AES128-SHA", "nothing_in_common"],
  ])("%s is turned away: %s", async (options, failure) => {
    const server = await start()
    await openssl(server, options)
    await server.process.waitFor(`failed ${failure}: `)
  })

  test.each([
    ["-alpn h2,http/1.1", "http/1.1"],
    ["-alpn http/1.0", "http/1.0"],
    ["", ""],
  ])("%p agrees on the protocol %p", async (options, alpn) => {
    const { facts } = await ask(await start(), options)
    expect(facts.alpn).toBe(alpn)
  })

  test.each(["-tls1_2", "-tls1_3"])("%s resumes its session", async (version) => {
    const server = await start()
    await ask(server, `${version} -sess_out ${at("session")}`)
    const { facts } = await ask(server, `${version} -sess_in ${at("session")}`)
    expect(facts.isResumed).toBe(true)
  })

  test.each(["-tls1_2", "-tls1_3"])("%s resumes it at the other edge", async (version) => {
    writeFileSync(at("tickets"), crypto.getRandomValues(new Uint8Array(80)), { mode: 0o600 })
    const shared = { sessionTicketKeyFile: at("tickets") }
    await ask(await start(shared), `${version} -sess_out ${at("session")}`)
    const { facts } = await ask(await start(shared), `${version} -sess_in ${at("session")}`)
    expect(facts.isResumed).toBe(true)
  })

  test("does not, where the edges share no key", async () => {
    await ask(await start(), `-sess_out ${at("session")}`)
    const { facts } = await ask(await start(), `-sess_in ${at("session")}`)
    expect(facts.isResumed).toBe(false)
  })

  test("may not renegotiate", async () => {
    const server = await start()
    const output = await openssl(server, "-tls1_2", "echo R; sleep 1")
    expect(output).toContain("no renegotiation")
  })
})

describe("curl", () => {
  test("verifies the chain, and keeps the connection for the next request", async () => {
    const server = await start()
    const url = `https://shop.example:${server.port}/`
    const said = await curl(server, [url, url])
    const [first, second] = said
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(first).toMatchObject({ tlsVersion: "TLSv1.3", alpn: "http/1.1", requests: 1 })
    expect(second.requests).toBe(2)
  })

  test("gets 10 MB whole", async () => {
    const server = await start()
    const body = await curl(server, [`https://shop.example:${server.port}/big/10000000`])
    expect(body === "0123456789".repeat(1_000_000)).toBe(true)
  })

  test("with a certificate is told its name, where one is required", async () => {
    const server = await start({ clientCertificates: "required", clientCaFile: at("ca.pem") })
    const own = ["--cert", at("client.pem"), "--key", at("client.key")]
    const said = await curl(server, [`https://shop.example:${server.port}/`, ...own])
    expect(JSON.parse(said).peerSubject).toStartWith("CN=client 1,")
  })

  test("is told which authorities are believed", async () => {
    const server = await start({ clientCertificates: "optional", clientCaFile: at("ca.pem") })
    const { output } = await ask(server, "")
    expect(output).toContain(
      "Acceptable client certificate CA names\nO = Causeway tests, CN = Test authority",
    )
  })

  test("without one, or a stranger's, is turned away", async () => {
    const server = await start({ clientCertificates: "required", clientCaFile: at("ca.pem") })
    const url = `https://shop.example:${server.port}/`
    await expect(curl(server, [url])).rejects.toThrow()
    await server.process.waitFor("failed client_certificate_missing")
    const stranger = ["--cert", at("stranger.pem"), "--key", at("stranger.key")]
    await expect(curl(server, [url, ...stranger])).rejects.toThrow()
    await server.process.waitFor("failed client_certificate_refused")
  })
})

describe("a healthy connection is not disturbed", () => {
  test.each([
    ["plain text", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["an alert", "\x15\x03\x01\x00\x02\x02\x28"],
    ["a record longer than allowed", `\x16\x03\x01\xff\xff${"x".repeat(70_000)}`],
    ["an empty record", "\x16\x03\x01\x00\x00"],
    ["application data", `\x17\x03\x03\x00\x10${"x".repeat(16)}`],
    ["half a hello, and FIN", hello("chromium").slice(0, 300)],
    ["a hello followed by noise", `${hello("curl")}${"\xff".repeat(1000)}`],
    ["a hello twice", hello("curl").repeat(2)],
  ])("by a neighbour that sends %s", async (_what, bytes) => {
    const server = await start()
    const healthy = await Healthy.open(server)
    for (let round = 1; round <= 5; round++) {
      await sendAndLeave(server.port, bytes)
      expect((await healthy.ask()).requests).toBe(round)
    }
    healthy.close()
  })

  test("by 200 neighbours that send noise", async () => {
    const server = await start()
    const healthy = await Healthy.open(server)
    for (let round = 1; round <= 200; round++) {
      const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(1 + ((round * 37) % 2000))))
      if (round % 2 === 0) noise.set([22, 3, 1], 0)
      await sendAndLeave(server.port, noise.toString("latin1"))
    }
    expect((await healthy.ask()).requests).toBe(1)
    healthy.close()
  })
})

test("half-open handshakes end in time", async () => {
  const server = await start()
  const startedAt = performance.now()
  const ended = Array.from({ length: 20 }, (_, index) => {
    const socket = connect(server.port, "127.0.0.1")
    if (index % 2 === 0) socket.write(Buffer.from(hello("curl"), "latin1"))
    else if (index % 3 === 0) socket.write(Buffer.from(hello("curl").slice(0, 50), "latin1"))
    return new Promise((resolve) =>
      socket
        .resume()
        .on("close", resolve)
        .on("error", () => {}),
    )
  })
  await Promise.all(ended)
  expect(performance.now() - startedAt).toBeGreaterThan(HANDSHAKE_MS * 0.9)
  await eventually(() => server.process.stdout.split("failed timeout").length - 1 === 20)
})

test("a certificate is replaced when its files change, and no connection is cut", async () => {
  const server = await start()
  const healthy = await Healthy.open(server)
  const stranger = "-servername other.example" // gets the first certificate
  expect((await ask(server, stranger)).output).toContain("subject=CN = shop.example\n")
  cpSync(at("plain.pem"), at("shop.pem"))
  await Bun.sleep(120) // longer than one look: half a change is not to be acted on
  cpSync(at("plain.key"), at("shop.key"))
  await server.process.waitFor("renewed")
  await eventually(async () => {
    return (await ask(server, stranger)).output.includes("subject=CN = plain.example\n")
  })
  expect((await healthy.ask()).requests).toBe(1)
  healthy.close()
})

test("1 000 broken handshakes leave nothing behind", async () => {
  const server = await start()
  const breakOff = async (count: number) => {
    for (let done = 0; done < count; done += 20) {
      await Promise.all(
        Array.from({ length: 20 }, (_, index) => {
          const bytes = index % 3 === 0 ? "GET / HTTP/1.0\r\n\r\n" : hello("chromium")
          return sendAndLeave(server.port, index % 5 === 0 ? bytes.slice(0, 200) : bytes)
        }),
      )
    }
  }
  const atRest = openSockets(server)
  await breakOff(1000) // memory pools fill once
  await eventually(() => openSockets(server) === atRest)
  const before = residentKib(server)
  await breakOff(1000)
  await eventually(() => openSockets(server) === atRest)
  expect(residentKib(server) - before).toBeLessThan(8 * 1024)
}, 60_000)

describe("without OpenSSL", () => {
  test("says what is missing", async () => {
    const hidden = await execCommand([
      "sh",
      "-c",
      "ldconfig -p | awk '/libssl.so.3 /{print $NF; exit}'",
    ])
    const line = `mount --bind /dev/null ${hidden.trim()} && exec "$0" "$1"`
    const argv = ["unshare", "--mount", "sh", "-c", line, executable, JSON.stringify(options())]
    const { exitCode, stdout } = await runCommand(argv)
    expect(stdout).toStartWith(
      " TLS needs OpenSSL 3 (libssl.so.3 and libcrypto.so.3) on this host: ",
    )
    expect(exitCode).toBe(1)
  })

  test("does not run a library of the working directory", async () => {
    writeFileSync(at("libssl.so.3"), "")
    const argv = [executable, JSON.stringify(options())]
    const { exitCode, stdout } = await runCommand(argv, { cwd: directory })
    expect(stdout).toContain("and not libssl.so.3 in the working directory")
    expect(exitCode).toBe(1)
  })
})

async function start(tls: Partial<TlsConfig> = {}): Promise<TestServer> {
  const server = new ManagedProcess([executable, JSON.stringify(options(tls))], {
    name: "tls-server",
    logPath: at(`server-${servers.length}.log`),
  })
  const line = await server.waitFor(/port \d+/)
  const started = { process: server, port: Number(/port (\d+)/.exec(line)?.[1]) }
  servers.push(started)
  return started
}

function options(tls: Partial<TlsConfig> = {}) {
  const config: TlsConfig = {
    certificates: ["shop", "shopRsa", "plain"].map((name) => {
      return { cert: at(`${name}.pem`), key: at(`${name}.key`) }
    }),
    minVersion: "1.2",
    redirect: false,
    clientCertificates: "off",
    clientCaFile: "",
    sessionTicketKeyFile: "",
    ...tls,
  }
  return { tls: config, handshakeMs: HANDSHAKE_MS, watchMs: 50 }
}

interface Facts {
  readonly tlsVersion: string
  readonly cipher: string
  readonly alpn: string
  readonly peerSubject: string
  readonly isResumed: boolean
  readonly requests: number
}

/** One request by openssl: what the client prints, and what the server knows. */
async function ask(server: TestServer, options: string) {
  const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
  const output = await openssl(server, `${options} -ign_eof`, `printf '${request}'`)
  const json = /^\{.*\}$/m.exec(output)?.[0]
  if (json === undefined) throw new Error(`no answer:\n${output}`)
  return { output, facts: JSON.parse(json) as Facts }
}

/** What s_client prints, fed by a shell command. */
async function openssl(server: TestServer, options: string, feed = "true"): Promise<string> {
  const name = options.includes("-servername") ? "" : "-servername shop.example"
  const line = `openssl s_client -connect 127.0.0.1:${server.port} ${name} ${options}`
  const { stdout, stderr } = await runCommand(["sh", "-c", `{ ${feed}; } | ${line}`])
  return `${stdout}${stderr}`
}

async function curl(server: TestServer, words: readonly string[]): Promise<string> {
  const address = ["--resolve", `shop.example:${server.port}:127.0.0.1`]
  return execCommand(["curl", "-sS", "--cacert", at("ca.pem"), ...address, ...words])
}

/** A client that has finished its handshake, and asks when told to. */
class Healthy {
  readonly #socket: TLSSocket
  #text = ""
  #answered: (() => void) | undefined = undefined

  private constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.on("data", (data: Buffer) => {
      this.#text += data.toString("latin1")
      if (this.#text.endsWith("}\n")) this.#answered?.()
    })
  }

  static async open(server: TestServer): Promise<Healthy> {
    const socket = connectTls({
      port: server.port,
      host: "127.0.0.1",
      servername: "shop.example",
      ca: CERTIFICATES.authority,
    })
    await new Promise((resolve, reject) => {
      socket.once("secureConnect", resolve).once("error", reject)
    })
    return new Healthy(socket)
  }

  async ask(): Promise<Facts> {
    this.#text = ""
    const answered = new Promise<void>((resolve, reject) => {
      this.#answered = resolve
      this.#socket.once("close", () => reject(new Error("the healthy connection was closed")))
    })
    this.#socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await answered
    return JSON.parse(this.#text.split("\r\n\r\n")[1] ?? "") as Facts
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** Sends bytes and FIN, and waits until the server has closed. */
async function sendAndLeave(port: number, latin1: string): Promise<void> {
  const socket = connect(port, "127.0.0.1")
  const closed = new Promise((resolve) => socket.on("close", resolve).on("error", () => {}))
  socket.resume().end(Buffer.from(latin1, "latin1"))
  await closed
}

function hello(name: keyof typeof CLIENT_HELLOS): string {
  return Buffer.from(CLIENT_HELLOS[name], "hex").toString("latin1")
}

function openSockets({ process }: TestServer): number {
  const links = readdirSync(`/proc/${process.pid}/fd`).map((fd) => linkOf(process.pid, fd))
  return links.filter((link) => link.startsWith("socket:")).length
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    return "" // closed meanwhile
  }
}

function residentKib({ process }: TestServer): number {
  const status = readFileSync(`/proc/${process.pid}/status`, "latin1")
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
}

function at(file: string): string {
  return join(directory, file)
}
