/**
 * The status page: asks for /v1/status every second and shows it. Text only ever enters the
 * document as text (`textContent`), so nothing that a server or a file says can become markup.
 */
const REFRESH_MS = 1000
const GIVE_UP_MS = 5000

let previous
let shownAt = 0

async function refresh() {
  try {
    const response = await fetch("/v1/status", { signal: AbortSignal.timeout(GIVE_UP_MS) })
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`)
    // The edge's clock, for its times; the browser's may be another.
    const now = Date.parse(response.headers.get("date")) || Date.now()
    show(await response.json(), now)
    document.body.className = ""
  } catch (error) {
    document.body.className = "stale"
    const age = shownAt === 0 ? "" : `, shown is what was ${duration(Date.now() - shownAt)} ago`
    update("summary", [state("bad", "no answer"), text("quiet", `${error.message}${age}`)])
  }
  setTimeout(refresh, REFRESH_MS)
}

function show(status, now) {
  const at = performance.now()
  const elapsed = previous === undefined ? undefined : (at - previous.at) / 1000
  const view = { status, now, elapsed, before: previous?.status }
  document.title = `${status.node} · Causeway`
  update("summary", summary(view))
  update("main", [
    ...notices(status),
    ...section("Virtual addresses", routers(view)),
    ...section(
      "Pools",
      status.pools.map((pool) => poolCard(pool, view)),
    ),
    ...section("Listeners", listeners(view)),
    ...section("Checks", checks(view)),
    ...section("Kubernetes", cluster(view)),
    footer(view),
  ])
  previous = { status, at }
  shownAt = Date.now()
}

function summary({ status, now }) {
  const { config } = status
  return [
    status.ready ? state("good", "ready") : state("warn", "not ready"),
    text("node", status.node),
    text("quiet", `up ${duration(status.uptime_seconds * 1000)}`),
    text("quiet", `configuration ${config.generation}, ${since(config.loaded_at, now)} old`),
    text("quiet end", `version ${status.version}`),
  ]
}

function notices({ config, not_ready: reasons }) {
  return [
    ...reasons.map((reason) => text("notice warn", `Not ready: ${reason}`)),
    ...(config.last_error === null
      ? []
      : [text("notice bad", `The last reload was refused:\n${config.last_error}`)]),
    ...config.warnings.map((warning) => text("notice warn", warning)),
  ]
}

function section(title, content) {
  return content.length === 0 ? [] : [element("h2", {}, [title]), ...content]
}

function routers({ status, now }) {
  if (status.vrrp.length === 0) return []
  return [
    element(
      "div",
      { class: "routers" },
      status.vrrp.map((router) => routerCard(router, now)),
    ),
  ]
}

function routerCard(router, now) {
  const tone = { active: "good", backup: "idle", fault: "bad" }[router.state] ?? "warn"
  const released = router.released ? ", released" : ""
  return element("div", { class: `card ${tone}` }, [
    element("div", { class: "title" }, [
      text("name", router.name),
      state(tone, router.state + released),
      text("quiet end", since(router.since, now)),
    ]),
    element(
      "div",
      { class: "addresses" },
      router.addresses.map((address) => element("div", {}, [bare(address)])),
    ),
    text(
      "quiet",
      `${priority(router)} · router ${router.virtual_router_id} on ${router.interface}`,
    ),
    ...router.peers.map((peer) =>
      text(
        "quiet",
        `peer ${peer.address} priority ${peer.priority}, heard ${since(peer.heard_at, now)} ago`,
      ),
    ),
    ...(router.reason === "" ? [] : [text("", router.reason)]),
    ...router.warnings.map((warning) => text("notice warn", warning)),
  ])
}

function priority({ priority: configured, effective_priority: effective }) {
  return configured === effective
    ? `priority ${configured}`
    : `priority ${effective} (configured ${configured})`
}

function poolCard(pool, view) {
  const usable = pool.servers.filter((server) => serverState(server)[0] === "good").length
  const tone = usable === pool.servers.length ? "good" : usable === 0 ? "bad" : "warn"
  const busiest = Math.max(1, ...pool.servers.map(({ connections }) => connections))
  return element("div", { class: "card" }, [
    element("div", { class: "title" }, [
      text("name", pool.name),
      text("quiet", pool.balance),
      element("span", { class: "end" }, [state(tone, `${usable} of ${pool.servers.length} up`)]),
    ]),
    table(
      [
        ["State", "w13"],
        ["Server", "w20"],
        ["Weight", "number w8"],
        ["Open", "number w10"],
        ["New/s", "number w8"],
        ["To server", "number w10"],
        ["From server", "number w10"],
        ["For", "number w8"],
        ["Why"],
      ],
      pool.servers.map((server) => serverRow(server, { pool, busiest, view })),
    ),
  ])
}

function serverRow(server, { pool, busiest, view }) {
  const before = view.before?.pools
    .find(({ name }) => name === pool.name)
    ?.servers.find(({ name }) => name === server.name)
  const [tone, word] = serverState(server)
  return [
    cell("", [state(tone, word)]),
    cell("mono", serverName(server)),
    cell("number", [String(server.weight), ...(server.backup ? [text("quiet", "backup")] : [])]),
    cell("number", [count(server.connections), share(server.connections / busiest)]),
    cell("number", [rate(server.connections_total, before?.connections_total, view)]),
    cell("number", [bytes(server.bytes_to_server)]),
    cell("number", [bytes(server.bytes_from_server)]),
    cell("number quiet", [since(server.since, view.now)]),
    cell("quiet", [server.reason]),
  ]
}

function serverName({ name, address }) {
  return name === address ? [name] : [name, text("quiet", address)]
}

function serverState({ admin, health, ejected, reason }) {
  if (admin === "drain") return ["warn", "draining"]
  if (admin === "maintenance") return ["idle", "maintenance"]
  if (health === "down") return ["bad", "down"]
  if (ejected) return ["warn", "ejected"]
  if (health === "up") return ["good", "up"]
  return reason === "no check" ? ["good", "unchecked"] : ["idle", "unknown"]
}

function listeners(view) {
  const { status, before } = view
  const rows = [
    ...status.streams.map((stream) => [stream, before?.streams]),
    ...status.http.map((http) => [http, before?.http]),
  ].map(([listener, earlier]) => {
    return listenerRow(
      listener,
      earlier?.find(({ name }) => name === listener.name),
      view,
    )
  })
  if (rows.length === 0) return []
  const head = [
    ["Name"],
    ["Address"],
    ["Pool"],
    ["Open", "number"],
    ["New/s", "number"],
    ["Total", "number"],
    ["In", "number"],
    ["Out", "number"],
  ]
  return [element("div", { class: "card" }, [table(head, rows)])]
}

function listenerRow(listener, before, view) {
  return [
    cell("", [listener.name]),
    cell(
      "mono",
      listener.bind.map((bind) => element("div", {}, [bind])),
    ),
    cell("", [listener.pool]),
    cell("number", [count(listener.connections)]),
    cell("number", [rate(listener.total, before?.total, view)]),
    cell("number", [count(listener.total)]),
    cell("number", [bytes(listener.bytes_in)]),
    cell("number", [bytes(listener.bytes_out)]),
  ]
}

function checks({ status, now }) {
  if (status.checks.length === 0) return []
  const head = [["State"], ["Check"], ["Took", "number"], ["For", "number"], ["Why"]]
  const rows = status.checks.map((check) => [
    cell("", [state({ up: "good", down: "bad" }[check.health] ?? "idle", check.health)]),
    cell("", [check.name]),
    cell("number", [`${check.duration_ms.toFixed(1)} ms`]),
    cell("number quiet", [since(check.since, now)]),
    cell("quiet", [check.reason]),
  ])
  return [element("div", { class: "card" }, [table(head, rows)])]
}

function cluster({ status }) {
  const { kubernetes } = status
  if (kubernetes === null) return []
  return [
    clusterCard(kubernetes),
    ...cards(
      ["Service", "State", "Addresses", "Ports", "Router", "Why"],
      kubernetes.services,
      (each) => [
        cell("", [each.service]),
        cell("", [clusterState(each.state)]),
        cell("mono", [each.addresses.join(", ")]),
        cell("", [each.ports.join(", ")]),
        cell("", [each.vrrp.join(", ")]),
        cell("quiet", [each.reason]),
      ],
    ),
    ...cards(["Published", "State", "Stream", "Leads to", "Why"], kubernetes.published, (each) => [
      cell("", [`${each.service}:${each.port}`]),
      cell("", [clusterState(each.state)]),
      cell("", [each.stream]),
      cell("mono", [each.endpoints.join(", ")]),
      cell("quiet", [each.message]),
    ]),
    ...cards(["Node", "State", "Networks", "Why"], kubernetes.nodes, (each) => [
      cell("", [each.node]),
      cell("", [clusterState(each.state)]),
      cell("mono", [each.networks.join(", ")]),
      cell("quiet", [each.reason]),
    ]),
  ]
}

function clusterCard(kubernetes) {
  const { writer } = kubernetes
  const [tone, word] = connection(kubernetes)
  const holder = writer.holder === "" ? "no edge writes" : `${writer.holder} writes`
  return element("div", { class: "card" }, [
    element("div", { class: "title" }, [
      text("name", kubernetes.server),
      state(tone, word),
      text("quiet end", writer.active ? "this edge writes" : holder),
    ]),
    element("div", { class: "facts" }, clusterFacts(kubernetes)),
  ])
}

function clusterFacts({ address_pools: pools, services, ingresses, ...rest }) {
  const { writer, last_error: error, pools: serverPools, problems } = rest
  const counts = [
    `${count(services.length)} LoadBalancer Services`,
    `${count(ingresses)} Ingresses`,
    ...pools.map(({ name, used, size }) => `${name}: ${count(used)} of ${count(size)} addresses`),
  ]
  const [warnings, notices] = [false, true].map((isNotice) =>
    problems
      .filter(({ severity }) => (severity === "notice") === isNotice)
      .map(({ object, reason, message }) => `${object}: ${reason}: ${message}`),
  )
  return [
    text("quiet", counts.join(" · ")),
    ...[
      ...[...new Set([error, writer.last_error])].filter((each) => each !== ""),
      ...writer.missing_rules.map((rule) => `missing rule: ${rule}`),
      ...serverPools
        .filter(({ servers }) => servers === 0)
        .map(({ name, reason }) => `pool ${name} has no servers: ${reason}`),
      ...warnings,
    ].map((each) => text("notice warn", each)),
    ...notices.map((each) => text("quiet", each)),
  ]
}

function connection({ connected, synced, restored, age_seconds: age }) {
  if (restored) return ["warn", `away, restored state, ${duration(age * 1000)} old`]
  if (connected) return ["good", "followed"]
  return synced ? ["warn", `away for ${duration(age * 1000)}`] : ["bad", "not known yet"]
}

function clusterState(word) {
  const isGood = ["served", "published", "routed", "this_host"].includes(word)
  return state(isGood ? "good" : "warn", word)
}

/** A card with a table, where there is anything to show. */
function cards(titles, things, rowOf) {
  if (things.length === 0) return []
  const head = titles.map((title) => [title])
  return [element("div", { class: "card" }, [table(head, things.map(rowOf))])]
}

function footer({ status }) {
  const { threads, config } = status
  const restarts = threads.data_restarts === 0 ? "" : `, ${threads.data_restarts} restarts`
  return element("footer", {}, [
    text("", `${count(threads.sessions)} of ${count(threads.sessions_max)} sessions`),
    text("", `${threads.data} data threads${restarts}`),
    text("", `vrrp scheduling ${threads.vrrp_scheduling}`),
    text("", config.path),
    element("span", { class: "end" }, [
      element("a", { href: "/v1/status" }, ["status"]),
      " · ",
      element("a", { href: "/metrics" }, ["metrics"]),
    ]),
  ])
}

function table(head, rows) {
  return element("table", {}, [
    element("thead", {}, [
      element(
        "tr",
        {},
        head.map(([title, kind = ""]) => element("th", { class: kind }, [title])),
      ),
    ]),
    element(
      "tbody",
      {},
      rows.map((cells) => element("tr", {}, cells)),
    ),
  ])
}

function cell(kind, content) {
  return element("td", { class: kind }, content)
}

function text(kind, content) {
  return element("div", { class: kind }, [content])
}

function state(tone, word) {
  return element("span", { class: `state ${tone}` }, [word])
}

/** A bar; its width is set through the object model, which the content security policy allows. */
function share(part) {
  const bar = element("div", {}, [])
  bar.style.width = `${Math.round(part * 100)}%`
  return element("div", { class: "share" }, [bar])
}

function element(name, attributes, children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== "") made.setAttribute(key, value)
  }
  made.append(...children)
  return made
}

/** Changes only what differs, so that a selection or a scroll position survives the next second. */
function update(id, children) {
  const target = document.getElementById(id)
  const wanted = target.cloneNode(false)
  wanted.append(...children)
  patch(target, wanted)
}

function patch(shown, wanted) {
  if (shown.isEqualNode(wanted)) return
  const sameKind = shown.nodeName === wanted.nodeName && shown.className === wanted.className
  const isLeaf = shown.nodeType !== Node.ELEMENT_NODE || wanted.hasAttribute("style")
  if (!sameKind || isLeaf || shown.childNodes.length !== wanted.childNodes.length) {
    // The roots stay, for they are found by their id.
    if (shown.id) shown.replaceChildren(...wanted.childNodes)
    else shown.replaceWith(wanted)
    return
  }
  const pairs = [...shown.childNodes].map((child, index) => [child, wanted.childNodes[index]])
  for (const [child, next] of pairs) patch(child, next)
}

function since(time, now) {
  return duration(now - Date.parse(time))
}

/** The two largest units: 75 h → "3d 3h". */
function duration(ms) {
  let seconds = Math.max(0, Math.round(ms / 1000))
  const parts = []
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ]) {
    const amount = Math.floor(seconds / size)
    seconds -= amount * size
    if (amount > 0 || parts.length > 0) parts.push(`${amount}${unit}`)
  }
  return parts.slice(0, 2).join(" ") || "0s"
}

function count(value) {
  return value.toLocaleString("en")
}

function rate(total, before, { elapsed }) {
  if (before === undefined || elapsed === undefined) return "–"
  const perSecond = Math.max(0, total - before) / elapsed
  return perSecond >= 10 || perSecond === 0 ? count(Math.round(perSecond)) : perSecond.toFixed(1)
}

function bytes(value) {
  let amount = value
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (amount < 1024)
      return `${amount >= 100 || unit === "B" ? Math.round(amount) : amount.toFixed(1)} ${unit}`
    amount /= 1024
  }
  return `${amount.toFixed(1)} TiB`
}

/** Whole-host prefixes say nothing that the address does not. */
function bare(address) {
  return address.replace(/(?<=\.\d+)\/32$|(?<=:.*)\/128$/, "")
}

void refresh()
