/** A program that takes uploads over HTTP and answers how many bytes came. Argument: the port. */

async function countBytes(request: Request): Promise<Response> {
  let bytes = 0
  for await (const chunk of request.body ?? []) bytes += chunk.length
  return new Response(`${bytes}\n`)
}

if (import.meta.main) {
  const port = Number(process.argv[2])
  Bun.serve({ port, fetch: countBytes, maxRequestBodySize: 2 ** 40, idleTimeout: 0 })
  process.stdout.write("listening\n")
}
