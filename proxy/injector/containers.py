"""What is added to a pod: the sidecar, the init container that captures, and their volumes.

The sidecar keeps Kubernetes' Pod Security Standard *restricted*; the init container needs NET_ADMIN and root,
so captured traffic needs a namespace that allows *privileged*.
"""

from typing import Any, Final

from proxy.injector.annotations import CONFIG, Wishes
from proxy.injector.settings import FOLDER, INBOUND, OUTBOUND, PREFIX, RULES, STATE, UID

SIDECAR: Final = "misrule"
CAPTURE: Final = "misrule-capture"
VOLUME: Final = "misrule-config"
RULES_VOLUME: Final = "misrule-rules"
STATE_VOLUME: Final = "misrule-state"
TOKEN_VOLUME: Final = "misrule-no-token"
TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

HEALTH_PORT: Final = "misrule-health"  # the port's name, which PodMonitors ask for
FILE: Final = "misrule.yaml"
LINGER: Final = 5  # seconds in which Services may still send to a pod that is being deleted
START: Final = 60  # seconds that a start may take on a busy node

Object = dict[str, Any]


def names(wishes: Wishes) -> tuple[str, ...]:
    """Name all containers and volumes that may be added: a pod must not have any of them."""
    return SIDECAR, CAPTURE, VOLUME, RULES_VOLUME, STATE_VOLUME, TOKEN_VOLUME


def lingering(grace: int) -> int:
    """Give the seconds for which a plain container serves on, of its pod's terminationGracePeriodSeconds."""
    return min(LINGER, grace // 3)


def sidecar(wishes: Wishes, grace: int) -> Object:
    """Make the container of the proxy; a native one is an init container that stays.

    ``grace`` is the pod's terminationGracePeriodSeconds.
    """
    probe = {"path": "/readyz", "port": wishes.health_port}
    made: Object = {
        "name": SIDECAR,
        **_image(wishes),
        "args": ["run", "--config", f"{FOLDER}/{FILE}"],
        # So that `kubectl exec POD -c misrule -- misrule rules …` finds it.
        "env": [{"name": "MISRULE_ADMIN", "value": f"127.0.0.1:{wishes.admin_port}"}],
        "ports": _ports(wishes),
        "startupProbe": {
            "httpGet": dict(probe),
            "periodSeconds": 1,
            "timeoutSeconds": 1,
            "failureThreshold": START,
        },
        "readinessProbe": {
            "httpGet": dict(probe),
            "periodSeconds": 5,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": wishes.health_port},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": _resources(wishes),
        "securityContext": _security(wishes),
        "volumeMounts": _mounts(wishes),
    }
    if wishes.native_sidecar:
        made["restartPolicy"] = "Always"
    else:
        made["lifecycle"] = _lifecycle(lingering(grace))
    return made


def _image(wishes: Wishes) -> Object:
    return {"image": wishes.image, "imagePullPolicy": wishes.image_pull_policy}


def _ports(wishes: Wishes) -> list[Object]:
    """Declare what others may connect to; Services and PodMonitors can use the names (of 15 characters)."""
    ports = [
        {"name": f"misrule-{listen}", "containerPort": listen, "protocol": "TCP"}
        for listen, _, _ in wishes.ports
    ]
    return [*ports, {"name": HEALTH_PORT, "containerPort": wishes.health_port, "protocol": "TCP"}]


def _lifecycle(linger: int) -> Object:
    """Make up for what a plain container lacks: the others wait for it, and it outlives a Service's traffic.

    A kubelet starts containers one after the other, each when the one before has done its postStart hook.  A
    native sidecar needs neither: it starts first, and gets its SIGTERM when the others have ended.
    """
    return {
        "postStart": {"exec": {"command": ["misrule", "ready", "--wait", f"{START}s"]}},
        "preStop": {"exec": {"command": ["misrule", "drain", "--after", f"{linger}s"]}},
    }


def _resources(wishes: Wishes) -> Object:
    requests = {"cpu": wishes.cpu_request, "memory": wishes.memory_request}
    limits = {"cpu": wishes.cpu_limit, "memory": wishes.memory_limit}
    parts = {"requests": requests, "limits": limits}
    return {key: given for key, part in parts.items() if (given := {k: v for k, v in part.items() if v})}


def _security(wishes: Wishes) -> Object:
    made: Object = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if wishes.run_as_user is not None:
        made["runAsUser"] = made["runAsGroup"] = wishes.run_as_user
    return made


def _mounts(wishes: Wishes) -> list[Object]:
    mounts: list[Object] = [
        {"name": VOLUME, "mountPath": FOLDER, "readOnly": True},
        {"name": STATE_VOLUME, "mountPath": STATE},
        # The admission of service accounts mounts its token only where nothing is mounted yet.
        {"name": TOKEN_VOLUME, "mountPath": TOKEN, "readOnly": True},
    ]
    if wishes.rules:
        mounts.append({"name": RULES_VOLUME, "mountPath": RULES, "readOnly": True})
    return mounts


def volumes(wishes: Wishes) -> list[Object]:
    """Make the volumes; a ConfigMap that is not there yet keeps no pod from starting."""
    field: Object = {"fieldPath": f"metadata.annotations['{PREFIX}{CONFIG}']", "apiVersion": "v1"}
    made: list[Object] = [
        {"name": VOLUME, "downwardAPI": {"items": [{"path": FILE, "fieldRef": field}]}},
        {"name": STATE_VOLUME, "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": TOKEN_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}},
    ]
    if wishes.rules:
        made.append({"name": RULES_VOLUME, "configMap": {"name": wishes.rules, "optional": True}})
    return made


def capture(wishes: Wishes) -> Object:
    """Make the init container that turns connections aside, and ends."""
    return {
        "name": CAPTURE,
        **_image(wishes),
        "args": _capture_arguments(wishes),
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": TOKEN_VOLUME, "mountPath": TOKEN, "readOnly": True}],
    }


def _capture_arguments(wishes: Wishes) -> list[str]:
    """Say which connections are captured; never those of probes, metrics, and what comes to us anyway."""
    user = UID if wishes.run_as_user is None else wishes.run_as_user
    arguments = ["capture", "apply", f"--direction={wishes.capture}", f"--uid={user}", f"--gid={user}"]
    own = (wishes.admin_port, wishes.health_port, *(listen for listen, _, _ in wishes.ports))
    arguments.append(f"--own-ports={','.join(map(str, own))}")
    for direction, port in (("inbound", INBOUND), ("outbound", OUTBOUND)):
        if wishes.capture in (direction, "both"):
            arguments.append(f"--{direction}-port={port}")
            arguments += _lists(wishes, direction)
    return arguments


def _lists(wishes: Wishes, direction: str) -> list[str]:
    """Say what of one direction is captured, and what is not."""
    names = [f"{verb}-{direction}-{what}" for verb in ("include", "exclude") for what in ("ports", "cidrs")]
    values = {name: getattr(wishes, name.replace("-", "_")) for name in names}
    return [f"--{name}={','.join(given)}" for name, given in values.items() if given]
