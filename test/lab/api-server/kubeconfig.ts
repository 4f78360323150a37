/** Kubeconfig files in the forms that users have them. */

export interface KubeconfigParts {
  readonly url: string
  readonly caPem: string
  /** Set: the file is named instead of its content embedded. */
  readonly caPath?: string
  readonly namespace?: string
  readonly credentials: Credentials
}

export type Credentials =
  | { readonly type: "none" }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "token-file"; readonly path: string }
  | { readonly type: "certificate"; readonly cert: string; readonly key: string }
  | { readonly type: "certificate-files"; readonly certPath: string; readonly keyPath: string }

/** YAML with one cluster, one user and one context. */
export function kubeconfigText(parts: KubeconfigParts): string {
  const { url, caPem, caPath, namespace } = parts
  const authority =
    caPath === undefined
      ? `certificate-authority-data: ${encoded(caPem)}`
      : `certificate-authority: ${caPath}`
  return `apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster:
    server: ${url}
    ${authority}
users:
- name: lab-user
  user: ${userText(parts.credentials)}
contexts:
- name: lab
  context:
    cluster: lab
    user: lab-user${namespace === undefined ? "" : `\n    namespace: ${namespace}`}
`
}

function userText(credentials: Credentials): string {
  const lines = userLines(credentials)
  return lines.length === 0 ? "{}" : lines.map((line) => `\n    ${line}`).join("")
}

function userLines(credentials: Credentials): string[] {
  switch (credentials.type) {
    case "none":
      return []
    case "token":
      return [`token: ${credentials.token}`]
    case "token-file":
      return [`tokenFile: ${credentials.path}`]
    case "certificate":
      return [
        `client-certificate-data: ${encoded(credentials.cert)}`,
        `client-key-data: ${encoded(credentials.key)}`,
      ]
    case "certificate-files":
      return [`client-certificate: ${credentials.certPath}`, `client-key: ${credentials.keyPath}`]
  }
}

function encoded(text: string): string {
  return Buffer.from(text).toString("base64")
}
