/** Names of routes, for logs, metrics and messages: those of the file, or host and path. */
import type { RouteConfig } from "./http-config.ts"

/** Gives each route without a name one of its own. */
export function withNames(routes: readonly RouteConfig[]): RouteConfig[] {
  const taken = new Set(routes.map(({ name }) => name))
  const counts = new Map<string, number>()
  return routes.map((route) => {
    if (route.name !== "") return route
    const plain = plainName(route)
    let name = plain
    while (taken.has(name)) {
      const count = (counts.get(plain) ?? 1) + 1
      counts.set(plain, count)
      name = `${plain}#${count}`
    }
    taken.add(name)
    return { ...route, name }
  })
}

/** "k8s.com/api/v1", "*=/exact", "*.k8s.com~^/pattern$". */
function plainName({ host, path, match }: RouteConfig): string {
  const sign = { prefix: "", exact: "=", regex: "~" }[match]
  return `${host === "" ? "*" : host}${sign}${path}`
}
