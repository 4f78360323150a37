/** `[kubernetes]` → where the API server is and who we are to it; reads the kubeconfig. */
import { readFile } from "node:fs/promises"
import { dirname } from "node:path"
import type { KubernetesConfig } from "../../config/config.ts"
import { accessWithoutKubeconfig, type KubeconfigResult, readKubeconfig } from "../kubeconfig.ts"

/** Throws where the kubeconfig cannot be read; what is wrong inside is a result. */
export async function loadClusterAccess(config: KubernetesConfig): Promise<KubeconfigResult> {
  const { kubeconfig, context } = config
  if (kubeconfig === "") return accessWithoutKubeconfig(config)
  const text = await readFile(kubeconfig, "utf8")
  const directory = dirname(kubeconfig)
  return readKubeconfig(text, { directory, context, parseYaml: Bun.YAML.parse })
}
