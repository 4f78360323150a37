/** What a fresh cluster has before anyone uses it: namespaces, the API's Service, base roles. */
import type { ApiObject } from "./object.ts"

export function bootstrapObjects(): ApiObject[] {
  return [
    ...["default", "kube-system", "kube-public", "kube-node-lease"].map((name) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name },
    })),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name: "kubernetes",
        namespace: "default",
        labels: { component: "apiserver", provider: "kubernetes" },
      },
      spec: {
        clusterIP: "10.96.0.1",
        ports: [{ name: "https", port: 443, targetPort: 6443 }],
      },
    },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "kubernetes",
        namespace: "default",
        labels: { "kubernetes.io/service-name": "kubernetes" },
      },
      addressType: "IPv4",
      endpoints: [{ addresses: ["192.0.2.6"], conditions: { ready: true } }],
      ports: [{ name: "https", port: 6443, protocol: "TCP" }],
    },
    clusterRole("cluster-admin", [
      { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
      { nonResourceURLs: ["*"], verbs: ["*"] },
    ]),
    clusterRole("system:discovery", [
      {
        nonResourceURLs: ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"],
        verbs: ["get"],
      },
      {
        nonResourceURLs: ["/healthz", "/livez", "/readyz", "/version", "/version/"],
        verbs: ["get"],
      },
    ]),
    clusterRole("system:public-info-viewer", [
      {
        nonResourceURLs: ["/healthz", "/livez", "/readyz", "/version", "/version/"],
        verbs: ["get"],
      },
    ]),
    clusterRole("system:basic-user", [
      {
        apiGroups: ["authorization.k8s.io"],
        resources: ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        verbs: ["create"],
      },
    ]),
    binding("cluster-admin", ["system:masters"]),
    binding("system:discovery", ["system:authenticated"]),
    binding("system:basic-user", ["system:authenticated"]),
    binding("system:public-info-viewer", ["system:authenticated", "system:unauthenticated"]),
  ]
}

function clusterRole(name: string, rules: readonly object[]): ApiObject {
  return { apiVersion: RBAC, kind: "ClusterRole", metadata: { name }, rules }
}

function binding(name: string, groups: readonly string[]): ApiObject {
  return {
    apiVersion: RBAC,
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    subjects: groups.map((group) => ({
      apiGroup: "rbac.authorization.k8s.io",
      kind: "Group",
      name: group,
    })),
  }
}

const RBAC = "rbac.authorization.k8s.io/v1"
