"""From a pod to the JSONPatch (RFC 6902) that gives it a sidecar, or to the reason why it stays as it is."""

import json
from typing import Any, Final

from msgspec import Struct

from proxy import __version__
from proxy.injector import checks, configuration, containers
from proxy.injector.annotations import CONFIG, STATUS, Wishes, read_wishes
from proxy.injector.pods import Metadata, Pod, Spec
from proxy.injector.settings import PREFIX, Settings

# Which container `kubectl logs` and `kubectl exec` take by default: the first one, unless this names another.
DEFAULT: Final = "kubectl.kubernetes.io/default-container"

Operation = dict[str, Any]


class Verdict(Struct):
    """What becomes of a pod: operations, or none and the ``reason``; ``warnings`` go to whoever makes it."""

    operations: list[Operation]
    reason: str
    warnings: list[str]


def decide(pod: Pod, settings: Settings) -> Verdict:
    """Decide on a pod.  The same pod always gets the same verdict, and an injected one no operation."""
    warnings: list[str] = []
    reason = checks.injected(pod, warnings)
    if reason:
        return Verdict([], reason, warnings)
    metadata = pod.metadata or Metadata()
    wishes = read_wishes(metadata.annotations or {}, metadata.labels or {}, settings, warnings)
    reason = checks.obstacle(pod, wishes)
    if not reason:
        reason = checks.adapt(pod, wishes, warnings)
    if reason:
        if wishes.asked and wishes.inject:
            warnings.append(f"this pod gets no sidecar: {reason}")
        return Verdict([], reason, warnings)
    return Verdict(operations(pod, wishes), "", warnings)


def operations(pod: Pod, wishes: Wishes) -> list[Operation]:
    """Write the patch; nothing that the pod has is replaced or removed."""
    spec, grace = pod.spec, pod.spec.terminationGracePeriodSeconds
    grace = configuration.GRACE if grace is None else grace
    before, behind = _init_containers(wishes, grace)
    made = _insert("initContainers", spec.initContainers, before, behind)
    if not wishes.native_sidecar:
        made += _insert("containers", spec.containers, [containers.sidecar(wishes, grace)], [])
    made += _insert("volumes", spec.volumes, [], containers.volumes(wishes))
    return made + _annotations(pod, wishes, grace)


def _init_containers(wishes: Wishes, grace: int) -> tuple[list[Operation], list[Operation]]:
    """Give what comes before the pod's init containers, and what behind them.

    Capture comes right before the sidecar: what runs between the two would have no network.
    """
    ours = [containers.capture(wishes)] if wishes.capture != "none" else []
    if wishes.native_sidecar:
        ours.append(containers.sidecar(wishes, grace))
    return (ours, []) if wishes.init_order == "first" else ([], ours)


def _insert(
    key: str, present: list[Any] | None, before: list[Operation], behind: list[Operation]
) -> list[Operation]:
    """Add to a list of the pod's spec, which may not be there."""
    if not before and not behind:
        return []
    path = f"/spec/{key}"
    if not present:
        return [{"op": "add", "path": path, "value": [*before, *behind]}]
    front = [{"op": "add", "path": f"{path}/{place}", "value": value} for place, value in enumerate(before)]
    return front + [{"op": "add", "path": f"{path}/-", "value": value} for value in behind]


def _annotations(pod: Pod, wishes: Wishes, grace: int) -> list[Operation]:
    document = configuration.document(wishes, grace)
    added = {PREFIX + CONFIG: configuration.text(document), PREFIX + STATUS: _status(wishes)}
    present = pod.metadata.annotations if pod.metadata else None
    if not wishes.native_sidecar and DEFAULT not in (present or {}):
        added |= _default(pod.spec)
    if pod.metadata is None:
        return [{"op": "add", "path": "/metadata", "value": {"annotations": added}}]
    if present is None:
        return [{"op": "add", "path": "/metadata/annotations", "value": added}]
    return [
        {"op": "add", "path": f"/metadata/annotations/{_escaped(key)}", "value": value}
        for key, value in added.items()
    ]


def _default(spec: Spec) -> dict[str, str]:
    """Keep the container that people mean, where ours has to stand before it."""
    return {DEFAULT: spec.containers[0].name} if spec.containers else {}


def _status(wishes: Wishes) -> str:
    """Say what was done to the pod, for people and for the next pass."""
    told = {
        "version": __version__,
        "sidecar": "native" if wishes.native_sidecar else "container",
        "capture": wishes.capture,
    }
    return json.dumps(told, separators=(",", ":"))


def _escaped(key: str) -> str:
    """Write a key as part of a JSON Pointer (RFC 6901, 3)."""
    return key.replace("~", "~0").replace("/", "~1")
