/**
 * Makes the certificates that tests of src/linux and src/tls use, with openssl, and rewrites their
 * fixture. They are valid for a hundred years and worth nothing: their keys stand beside them.
 *
 *     bun scripts/make-tls-fixtures.ts
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const FIXTURE = join(import.meta.dir, "../src/linux/fixtures/certificates.ts")
const DAYS = 36_500
const P256 = "ec -pkeyopt ec_paramgen_curve:P-256"

const directory = mkdtempSync(join(tmpdir(), "causeway-tls-"))

interface Request {
  readonly subject: string
  /** As of openssl's subjectAltName; absent: none. */
  readonly names?: string
  readonly key?: string
  /** Name of the authority that signs it; absent: it signs itself. */
  readonly issuer?: string
  readonly isAuthority?: boolean
  readonly isClient?: boolean
}

const REQUESTS: Readonly<Record<string, Request>> = {
  authority: { subject: "/O=Causeway tests/CN=Test authority", isAuthority: true },
  intermediate: {
    subject: "/O=Causeway tests/CN=Test intermediate",
    isAuthority: true,
    issuer: "authority",
  },
  /** Certified by `intermediate`. */
  shop: {
    subject: "/CN=shop.example",
    names: "DNS:shop.example,DNS:*.shop.example,DNS:SHOP.test",
    issuer: "intermediate",
  },
  shopRsa: {
    subject: "/CN=shop.example",
    names: "DNS:shop.example,DNS:*.shop.example,DNS:shop.test",
    key: "rsa:2048",
    issuer: "authority",
  },
  plain: {
    subject: "/CN=plain.example",
    names: "DNS:plain.example,IP:127.0.0.1",
    issuer: "authority",
  },
  /** Without a subjectAltName. */
  commonName: { subject: "/O=Old/CN=old.example" },
  address: { subject: "/O=Address only", names: "IP:192.0.2.1" },
  oddNames: { subject: "/CN=odd", names: "DNS:good.example,DNS:f*.odd.example,DNS:a b" },
  edwards: { subject: "/CN=ed.example", key: "ed25519" },
  shortKey: { subject: "/CN=short.example", key: "rsa:1024" },
  client: {
    subject: '/O=Causeway tests/OU=Päth, "quoted"/CN=client 1',
    issuer: "authority",
    isClient: true,
  },
  stranger: { subject: "/CN=stranger", isClient: true },
}

async function make(name: string, request: Request): Promise<void> {
  const at = (suffix: string) => join(directory, `${name}.${suffix}`)
  const extensions = [
    `basicConstraints=critical,CA:${request.isAuthority ? "TRUE" : "FALSE"}`,
    ...(request.names === undefined ? [] : [`subjectAltName=${request.names}`]),
    ...(request.isClient ? ["extendedKeyUsage=clientAuth"] : []),
  ]
  writeFileSync(at("ext"), extensions.join("\n"))
  const newKey = (request.key ?? P256).split(" ")
  await openssl(
    "req",
    "-new",
    "-utf8",
    "-nodes",
    "-newkey",
    ...newKey,
    "-keyout",
    at("key"),
    "-subj",
    request.subject,
    "-out",
    at("csr"),
  )
  const signer =
    request.issuer === undefined
      ? ["-signkey", at("key")]
      : [
          "-CA",
          join(directory, `${request.issuer}.pem`),
          "-CAkey",
          join(directory, `${request.issuer}.key`),
          "-CAcreateserial",
        ]
  await openssl(
    "x509",
    "-req",
    "-in",
    at("csr"),
    "-days",
    `${DAYS}`,
    "-extfile",
    at("ext"),
    "-out",
    at("pem"),
    ...signer,
  )
}

async function openssl(...words: readonly string[]): Promise<void> {
  const child = Bun.spawn(["openssl", ...words], { stdout: "ignore", stderr: "pipe" })
  const said = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new Error(`openssl ${words.join(" ")}\n${said}`)
}

function constant(name: string, file: string): string {
  return `  ${name}: \`${readFileSync(join(directory, file), "latin1").trimEnd()}\n\`,\n`
}

const certificates: string[] = []
const keys: string[] = []
try {
  for (const [name, request] of Object.entries(REQUESTS)) {
    await make(name, request)
    certificates.push(constant(name, `${name}.pem`))
    keys.push(constant(name, `${name}.key`))
  }
  await openssl(
    "ec",
    "-in",
    join(directory, "shop.key"),
    "-aes128",
    "-passout",
    "pass:secret",
    "-out",
    join(directory, "encrypted.key"),
  )
  await openssl(
    "pkcs8",
    "-topk8",
    "-in",
    join(directory, "shop.key"),
    "-passout",
    "pass:secret",
    "-out",
    join(directory, "encrypted8.key"),
  )
  keys.push(
    constant("shopEncrypted", "encrypted.key"),
    constant("shopEncryptedPkcs8", "encrypted8.key"),
  )
} finally {
  rmSync(directory, { recursive: true, force: true })
}

await Bun.write(
  FIXTURE,
  `/**
 * Certificates of the tests, and their keys, which guard nothing. Written by
 * scripts/make-tls-fixtures.ts; what each is for stands there.
 */
export const CERTIFICATES = {
${certificates.join("")}} as const

export const KEYS = {
${keys.join("")}} as const
`,
)
