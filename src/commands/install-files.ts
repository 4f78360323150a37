/** What `causeway install` puts where; all of it is inside the executable. */
import sysctl from "../../config/60-causeway.conf" with { type: "text" }
import instanceService from "../../config/causeway@.service" with { type: "text" }
import modules from "../../config/causeway.modules" with { type: "text" }
import service from "../../config/causeway.service" with { type: "text" }
import sysusers from "../../config/causeway.sysusers" with { type: "text" }
import example from "../../config/causeway.toml" with { type: "text" }
import exampleHttp from "../../config/examples/http-routes.toml" with { type: "text" }
import exampleApiServer from "../../config/examples/kube-apiserver.toml" with { type: "text" }
import exampleOwnVm from "../../config/examples/kube-apiserver-own-vm.toml" with { type: "text" }
import exampleIngress from "../../config/examples/kubernetes-ingress.toml" with { type: "text" }
import examplePools from "../../config/examples/kubernetes-pools.toml" with { type: "text" }
import examplePublish from "../../config/examples/kubernetes-publish.toml" with { type: "text" }
import exampleServices from "../../config/examples/kubernetes-services.toml" with { type: "text" }
import exampleMinimal from "../../config/examples/minimal.toml" with { type: "text" }
import exampleMysql from "../../config/examples/mysql-replicas.toml" with { type: "text" }
import ingressClass from "../../config/kubernetes/ingress-class.yaml" with { type: "text" }
import pathRewrite from "../../config/kubernetes/ingress-path-rewrite.yaml" with { type: "text" }
import rbac from "../../config/kubernetes/rbac.yaml" with { type: "text" }
import loadBalancer from "../../config/kubernetes/service-load-balancer.yaml" with { type: "text" }
import staticPod from "../../config/kubernetes/static-pod.yaml" with { type: "text" }
import token from "../../config/kubernetes/token.yaml" with { type: "text" }
import usePublished from "../../config/kubernetes/use-published-service.yaml" with { type: "text" }
import reference from "../../config/reference.toml" with { type: "text" }

export interface InstallFile {
  /** Absolute, below the root. */
  readonly path: string
  readonly text: string
  readonly mode: number
  /** The user's own once it exists: never written again. */
  readonly isUsers: boolean
}

export const INSTALL_FILES: readonly InstallFile[] = [
  ours("/etc/systemd/system/causeway.service", service),
  ours("/etc/systemd/system/causeway@.service", instanceService),
  ours("/etc/sysctl.d/60-causeway.conf", sysctl),
  ours("/etc/modules-load.d/causeway.conf", modules),
  ours("/etc/sysusers.d/causeway.conf", sysusers),
  ours("/etc/causeway/reference.toml", reference),
  ours("/etc/causeway/examples/http-routes.toml", exampleHttp),
  ours("/etc/causeway/examples/kube-apiserver.toml", exampleApiServer),
  ours("/etc/causeway/examples/kube-apiserver-own-vm.toml", exampleOwnVm),
  ours("/etc/causeway/examples/kubernetes-ingress.toml", exampleIngress),
  ours("/etc/causeway/examples/kubernetes-pools.toml", examplePools),
  ours("/etc/causeway/examples/kubernetes-publish.toml", examplePublish),
  ours("/etc/causeway/examples/kubernetes-services.toml", exampleServices),
  ours("/etc/causeway/examples/minimal.toml", exampleMinimal),
  ours("/etc/causeway/examples/mysql-replicas.toml", exampleMysql),
  ours("/etc/causeway/kubernetes/ingress-class.yaml", ingressClass),
  ours("/etc/causeway/kubernetes/ingress-path-rewrite.yaml", pathRewrite),
  ours("/etc/causeway/kubernetes/rbac.yaml", rbac),
  ours("/etc/causeway/kubernetes/service-load-balancer.yaml", loadBalancer),
  ours("/etc/causeway/kubernetes/static-pod.yaml", staticPod),
  ours("/etc/causeway/kubernetes/token.yaml", token),
  ours("/etc/causeway/kubernetes/use-published-service.yaml", usePublished),
  // It may come to hold passwords.
  { path: "/etc/causeway/causeway.toml", text: example, mode: 0o640, isUsers: true },
]

export const INSTALL_FOLDERS: readonly string[] = ["/etc/causeway/conf.d"]

export const INSTALLED_PROGRAM = "/usr/local/bin/causeway"

function ours(path: string, text: string): InstallFile {
  return { path, text, mode: 0o644, isUsers: false }
}
