/**
 * `causeway check --kubernetes`: does the API answer, to whom, and does it allow all that is
 * configured? What is missing is printed as the rules to add, ready for a Role or ClusterRole.
 */
import type { Config, KubernetesConfig } from "../config/config.ts"
import {
  type AccessConfig,
  type AccessRule,
  FEATURES,
  formatRule,
  neededRules,
} from "../kubernetes/access-rules.ts"
import { describeFailure } from "../kubernetes/api-failure.ts"
import { type AccessReport, reviewAccess } from "../kubernetes/shell/access-review.ts"
import { ApiClient } from "../kubernetes/shell/api-client.ts"
import { loadClusterAccess } from "../kubernetes/shell/cluster-access.ts"
import { CommandFailure } from "./command.ts"

export interface KubernetesFindings {
  readonly server: string
  readonly report: AccessReport
}

/** Throws `CommandFailure` where the API cannot be asked at all. */
export async function checkKubernetes(config: Config): Promise<KubernetesFindings> {
  const { kubernetes } = config
  if (kubernetes === undefined) throw new CommandFailure("the configuration has no [kubernetes]")
  // Without HTTPS_PROXY: `AdminClient` has removed it from the environment by now.
  const client = await connect(kubernetes)
  const rules = neededRules({ ...config, kubernetes } satisfies AccessConfig)
  const result = await reviewAccess(client, rules)
  if (!result.ok) {
    throw new CommandFailure(`${client.server}: ${describeFailure(result.failure)}`)
  }
  return { server: client.server, report: result.report }
}

async function connect(kubernetes: KubernetesConfig): Promise<ApiClient> {
  const access = await loadClusterAccess(kubernetes)
  if (!access.ok) throw new CommandFailure(access.message)
  return new ApiClient(access.access)
}

/** What is well; for standard output. */
export function formatFindings({ server, report }: KubernetesFindings): string[] {
  const user = report.user === "" ? "" : ` to ${report.user}`
  const isAllowed = report.denied.length === 0
  return [
    `kubernetes: ${server} answers${user}, ${report.version}`,
    ...(isAllowed ? ["    it allows all that is configured"] : []),
    ...(report.absent.length === 0 ? [] : [`    not in this cluster: ${report.absent.join(", ")}`]),
  ]
}

/** What is missing, one block for each Role; none where nothing is. */
export function formatDenied(denied: readonly AccessRule[]): string[] {
  const roles = Map.groupBy(denied, ({ namespace }) => namespace)
  return [...roles].flatMap(([namespace, rules]) => [
    "",
    namespace === ""
      ? "# Add to a ClusterRole, which a ClusterRoleBinding gives to this user:"
      : `# Add to a Role in namespace ${namespace}, which a RoleBinding there gives to this user:`,
    ...rules.flatMap((rule) => [
      `  # for ${rule.features.map((feature) => FEATURES[feature]).join(", ")}`,
      ...formatRule(rule).map((line) => `  ${line}`),
    ]),
  ])
}

/** As data, in the snake_case of the admin API. */
export function findingsJson({ server, report }: KubernetesFindings) {
  return {
    server,
    version: report.version,
    user: report.user,
    absent: report.absent,
    missing: report.denied.map(({ features, ...rule }) => ({
      api_groups: [rule.group],
      resources: [rule.subresource === "" ? rule.resource : `${rule.resource}/${rule.subresource}`],
      resource_names: rule.name === "" ? [] : [rule.name],
      verbs: rule.verbs,
      namespace: rule.namespace,
      needed_for: features.map((feature) => FEATURES[feature]),
    })),
  }
}
