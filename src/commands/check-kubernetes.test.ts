/** What `causeway check --kubernetes` says, and the rules it prints. */
import { expect, test } from "bun:test"
import type { AccessRule } from "../kubernetes/access-rules.ts"
import { findingsJson, formatDenied, formatFindings } from "./check-kubernetes.ts"

const SERVICES: AccessRule = {
  group: "",
  resource: "services",
  subresource: "status",
  verbs: ["patch"],
  namespace: "",
  name: "",
  features: ["services"],
  isOptional: false,
}

const LEASE: AccessRule = {
  group: "coordination.k8s.io",
  resource: "leases",
  subresource: "",
  verbs: ["get", "patch"],
  namespace: "kube-system",
  name: "causeway",
  features: ["services", "publish"],
  isOptional: false,
}

function findings(denied: readonly AccessRule[], user = "") {
  const report = { version: "v1.32.1", user, denied, absent: ["cilium.io"] }
  return { server: "https://192.0.2.10:6443", report }
}

test("formatFindings() says who we are to which server, and that all is allowed", () => {
  expect(formatFindings(findings([], "system:serviceaccount:kube-system:causeway"))).toEqual([
    "kubernetes: https://192.0.2.10:6443 answers to system:serviceaccount:kube-system:causeway, v1.32.1",
    "    it allows all that is configured",
    "    not in this cluster: cilium.io",
  ])
  expect(formatFindings(findings([SERVICES]))).toEqual([
    "kubernetes: https://192.0.2.10:6443 answers, v1.32.1",
    "    not in this cluster: cilium.io",
  ])
})

test("formatDenied() prints rules to add, by the role they belong to", () => {
  const lines = formatDenied([SERVICES, LEASE])
  expect(lines).toEqual([
    "",
    "# Add to a ClusterRole, which a ClusterRoleBinding gives to this user:",
    "  # for Services of type LoadBalancer",
    '  - apiGroups: [""]',
    '    resources: ["services/status"]',
    '    verbs: ["patch"]',
    "",
    "# Add to a Role in namespace kube-system, which a RoleBinding there gives to this user:",
    "  # for Services of type LoadBalancer, [[publish]]",
    '  - apiGroups: ["coordination.k8s.io"]',
    '    resources: ["leases"]',
    '    resourceNames: ["causeway"]',
    '    verbs: ["get", "patch"]',
  ])
  expect(Bun.YAML.parse(`rules:\n${lines.join("\n")}`)).toMatchObject({
    rules: [{ verbs: ["patch"] }, { resourceNames: ["causeway"] }],
  })
  expect(formatDenied([])).toEqual([])
})

test("findingsJson() has the missing rules as data", () => {
  expect(findingsJson(findings([LEASE]))).toEqual({
    server: "https://192.0.2.10:6443",
    version: "v1.32.1",
    user: "",
    absent: ["cilium.io"],
    missing: [
      {
        api_groups: ["coordination.k8s.io"],
        resources: ["leases"],
        resource_names: ["causeway"],
        verbs: ["get", "patch"],
        namespace: "kube-system",
        needed_for: ["Services of type LoadBalancer", "[[publish]]"],
      },
    ],
  })
})
