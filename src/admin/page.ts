/**
 * The status page at `/`: one document, made once at start, that shows `/v1/status`.
 *
 * It loads nothing else, from us or anybody: its style and script are inside, allowed by their
 * hashes, and the content security policy forbids everything but asking this edge for its status.
 */
import style from "./page/page.css" with { type: "text" }
import script from "./page/page.js" with { type: "text" }

export function pageResponse(): Response {
  return new Response(DOCUMENT, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": POLICY,
      "referrer-policy": "no-referrer",
    },
  })
}

function hashSource(text: string): string {
  return `'sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}'`
}

/** The picture is a bridge with one arch. */
const BRIDGE = "M2 10h28v4h-3v10h-4v-3a7 7 0 0 0-14 0v3H5V14H2z"

const DOCUMENT = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Causeway</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath d='${BRIDGE}' fill='%230d7f8c'/%3E%3C/svg%3E">
<style>${style}</style>
</head>
<body>
<header>
<svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><path d="${BRIDGE}"/></svg>
<h1>Causeway</h1>
<div id="summary"></div>
</header>
<main id="main">
<noscript>Needs JavaScript; the same is at <a href="/v1/status">/v1/status</a>.</noscript>
</main>
<script>${script}</script>
</body>
</html>
`

const POLICY = [
  "default-src 'none'",
  `style-src ${hashSource(style)}`,
  `script-src ${hashSource(script)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ")
