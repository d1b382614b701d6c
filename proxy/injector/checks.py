"""What stands against injecting a pod, and what its owner should know.

``obstacle`` is why a pod stays as it is.  ``adapt`` changes wishes that the pod cannot have, and says so: a
warning names what would be right, and the pod is made in any case.
"""

from typing import Final

from proxy.injector import containers, kinds
from proxy.injector.annotations import INJECT, STATUS, Wishes
from proxy.injector.pods import Pod, Spec
from proxy.injector.settings import ADMIN, HEALTH, INBOUND, OUTBOUND, PREFIX

MIRROR: Final = "kubernetes.io/config.mirror"  # a static pod as the API server shows it
OS_LABEL: Final = "kubernetes.io/os"
MESHES: Final = ("istio-proxy", "linkerd-proxy")  # sidecars that capture a pod's traffic themselves
ALWAYS: Final = "Always"
PRIVILEGED_PORTS: Final = 1024


def injected(pod: Pod, warnings: list[str]) -> str:
    """Say that a pod has its sidecar already, "" where it has not."""
    annotations = (pod.metadata and pod.metadata.annotations) or {}
    found = {container.name for container in pod.spec.all_containers}
    if PREFIX + STATUS in annotations:
        if containers.SIDECAR not in found:
            warnings.append(
                f"{PREFIX}{STATUS} says that this pod was injected, yet it has no container "
                f"{containers.SIDECAR}: leave that annotation out where a pod is written by hand"
            )
        return "it is injected already"
    return ""


def obstacle(pod: Pod, wishes: Wishes) -> str:
    """Say why a pod stays as it is, "" where nothing stands against its sidecar."""
    spec = pod.spec
    annotations = (pod.metadata and pod.metadata.annotations) or {}
    if not wishes.inject:
        return f"{PREFIX}{INJECT} is false"
    if MIRROR in annotations:
        return "it is the mirror of a static pod, which nothing can change"
    if spec.hostNetwork:
        return "it has hostNetwork: the ports, and the traffic to be captured, would be those of the node"
    if (spec.os and spec.os.name == "windows") or (spec.nodeSelector or {}).get(OS_LABEL) == "windows":
        return "it runs on Windows, and Misrule on Linux"
    taken = {one.name for one in spec.all_containers} | {one.name for one in spec.volumes or ()}
    clash = [name for name in containers.names(wishes) if name in taken]
    if clash:
        return f"it has a container or volume named {clash[0]} of its own"
    return ""


def adapt(pod: Pod, wishes: Wishes, warnings: list[str]) -> str:
    """Take back what this pod cannot have; gives why nothing is left to inject, "" where something is."""
    spec = pod.spec
    _without_mesh(spec, wishes, warnings)
    _without_user(wishes, warnings)
    _without_clashes(spec, wishes, warnings)
    if not wishes.ports and wishes.capture == "none":
        return (
            f"there is nothing to listen on: set {PREFIX}ports (8080:3000 passes 8080 on to the application "
            f"on 3000) or {PREFIX}capture"
        )
    if not wishes.native_sidecar and spec.restartPolicy not in (None, ALWAYS) and not wishes.plain_by_choice:
        return (
            "it is to end by itself, from which a plain container would keep it: use a cluster with native "
            f'sidecars, or set {PREFIX}native-sidecar: "false" and call POST /v1/drain at the end'
        )
    _within_limits(wishes, warnings)
    _tell_of_users(spec, wishes, warnings)
    return ""


def _without_mesh(spec: Spec, wishes: Wishes, warnings: list[str]) -> None:
    mesh = next((one.name for one in spec.all_containers if one.name in MESHES), "")
    if mesh and wishes.capture != "none":
        warnings.append(
            f"{PREFIX}capture: {mesh} captures this pod's traffic already, and two captures break each "
            f"other; use {PREFIX}ports"
        )
        wishes.capture = "none"


def _without_user(wishes: Wishes, warnings: list[str]) -> None:
    """What the proxy itself sends is told apart by its user: without one it would capture itself."""
    if wishes.outbound and wishes.run_as_user is None:
        warnings.append(
            f"{PREFIX}capture: outbound connections can be captured only where the sidecar's user is known; "
            f"set {PREFIX}run-as-user to a number"
        )
        wishes.capture = "inbound" if wishes.inbound else "none"


def _without_clashes(spec: Spec, wishes: Wishes, warnings: list[str]) -> None:
    """Two containers of a pod cannot listen on one port."""
    declared = {
        port.containerPort: container.name
        for container in spec.all_containers
        for port in container.ports or ()
    }
    taken = set(declared) | {app for _, app, _ in wishes.ports}
    kept = []
    for mapping in wishes.ports:
        listen, owner = mapping[0], declared.get(mapping[0])
        if owner is None and listen not in (INBOUND, OUTBOUND):
            kept.append(mapping)
            if listen < PRIVILEGED_PORTS:
                warnings.append(
                    f"{PREFIX}ports: port {listen} may need a privilege that the sidecar has not got; "
                    "Services can send to a port above 1023 (targetPort)"
                )
            continue
        who = f"container {owner}" if owner else "captured traffic"
        warnings.append(
            f"{PREFIX}ports: {listen} is the port of {who}; let the proxy listen on another one, "
            "and point the Service's targetPort to it"
        )
    wishes.ports = tuple(kept)
    taken |= {listen for listen, _, _ in kept} | {INBOUND, OUTBOUND}
    wishes.health_port = _free("health-port", wishes.health_port, HEALTH, taken, warnings)
    wishes.admin_port = _free("admin-port", wishes.admin_port, ADMIN, taken | {wishes.health_port}, warnings)


def _free(name: str, wanted: int, default: int, taken: set[int], warnings: list[str]) -> int:
    """Give a port that the pod does not use: the wanted one, or the next free one above the default."""
    if wanted not in taken:
        return wanted
    free = default
    while free in taken:
        free += 10  # beside 9905 and 9906 there is room for both
    warnings.append(
        f"{PREFIX}{name}: {wanted} is taken in this pod; {free} is used, set another one if you like"
    )
    return free


def _within_limits(wishes: Wishes, warnings: list[str]) -> None:
    """A request above its limit would make the API server refuse the pod."""
    for what in ("cpu", "memory"):
        request, limit = getattr(wishes, f"{what}_request"), getattr(wishes, f"{what}_limit")
        if request and limit and kinds.quantity(request) > kinds.quantity(limit):
            warnings.append(
                f"{PREFIX}{what}-request: {request} is above the limit of {limit}; the limit becomes "
                f"{request}, set {PREFIX}{what}-limit"
            )
            setattr(wishes, f"{what}_limit", request)


def _tell_of_users(spec: Spec, wishes: Wishes, warnings: list[str]) -> None:
    """What runs as the proxy's user counts as the proxy: it is not captured."""
    if not wishes.outbound:
        return
    pod_user = spec.securityContext.runAsUser if spec.securityContext else None
    for container in spec.all_containers:
        own = container.securityContext.runAsUser if container.securityContext else None
        if wishes.run_as_user is not None and (own if own is not None else pod_user) == wishes.run_as_user:
            warnings.append(
                f"{PREFIX}capture: container {container.name} runs as the proxy's user "
                f"{wishes.run_as_user}, so its connections are not captured; set {PREFIX}run-as-user to "
                "another one"
            )
