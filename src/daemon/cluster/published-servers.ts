/** Servers of a pool as `[[publish]]` with `direct = true` tells them to pods. */

import type { PublishedServer } from "../../kubernetes/publish/wanted.ts"
import { isReachable } from "../../net/reachable.ts"
import { isServerUsable } from "../../pool/pool.ts"
import type { ServerBoard } from "../../pool/server-board.ts"
import type { RegisteredServer } from "../server-registry.ts"

export function publishedServers(
  servers: readonly RegisteredServer[],
  board: ServerBoard,
): PublishedServer[] {
  return servers
    .filter(({ config }) => isReachable(config.endpoint.address))
    .map(({ config: { endpoint }, slot }) => {
      const isUnknown = board.health(slot) === "unknown" && board.admin(slot) === "ready"
      return { endpoint, isReady: isUnknown ? undefined : isServerUsable(board, slot) }
    })
}
