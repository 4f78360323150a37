/**
 * Where a Worker's code is. In the compiled binary the entries are embedded under the common root
 * of all entry points; a URL relative to this module would name the build machine's source folder
 * there.
 */
export type WorkerEntry = "vrrp/thread" | "dataplane/thread"

export function workerEntry(entry: WorkerEntry): string | URL {
  return Bun.isStandaloneExecutable
    ? `/$bunfs/root/${entry}.js`
    : new URL(`../${entry}.ts`, import.meta.url)
}
