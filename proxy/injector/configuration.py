"""The configuration of one pod's sidecar: what ``misrule run --config`` reads there.

It travels in an annotation of the pod, which a downwardAPI volume shows to the sidecar as a file: no
ConfigMap has to be made in the pod's namespace, and ``kubectl get pod -o yaml`` shows what is in force.  What
it may say stands in docs/configuration.md.
"""

import json
from typing import Any, Final

from proxy.injector.annotations import Wishes
from proxy.injector.containers import lingering
from proxy.injector.settings import INBOUND, OUTBOUND, RULES, STATE

SPARE: Final = 5  # seconds between the end of the drain and the kubelet's SIGKILL
GRACE: Final = 30  # terminationGracePeriodSeconds of a pod that says nothing

# What an application's port speaks, where that is said.
_SPOKEN: Final = {"tcp": "tcp", "http1": "http1", "http2": "http2"}


def document(wishes: Wishes, grace: int) -> dict[str, Any]:
    """Make the configuration; ``grace`` is the pod's terminationGracePeriodSeconds."""
    listeners, upstreams = _explicit(wishes)
    if wishes.inbound:
        listeners.append(_captured("inbound", INBOUND))
    if wishes.outbound:
        listeners.append(_captured("outbound", OUTBOUND))
    made: dict[str, Any] = {"version": 1, "listeners": listeners}
    if upstreams:
        made["upstreams"] = upstreams
    if wishes.rules:
        made["rules"] = [RULES]
    made["state_dir"] = STATE
    made["admin"] = {"address": f"127.0.0.1:{wishes.admin_port}"}
    made["health"] = {"address": f"[::]:{wishes.health_port}"}
    made["log"] = {"level": wishes.log_level, "access": wishes.access_log}
    spent = SPARE if wishes.native_sidecar else SPARE + lingering(grace)
    made["drain"] = {"grace": f"{max(1, grace - spent)}s"}
    return made


def text(made: dict[str, Any]) -> str:
    """Write a configuration for the annotation: JSON is YAML, and needs no quoting of its own."""
    return json.dumps(made, separators=(",", ":"))


def _explicit(wishes: Wishes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Give a listener for each mapping of ports, and an upstream for each port of the application."""
    listeners, upstreams = [], {}
    for listen, app, protocol in wishes.ports:
        name = f"app-{app}" if protocol != "tcp" else f"app-{app}-tcp"
        upstreams[name] = {
            "address": f"127.0.0.1:{app}",
            "protocol": _SPOKEN.get(protocol, "auto"),
        }
        listeners.append(
            {
                "name": f"port-{listen}",
                "address": f"[::]:{listen}",
                "protocol": protocol,
                "routes": [{"upstream": name}],
            }
        )
    return listeners, upstreams


def _captured(name: str, port: int) -> dict[str, Any]:
    """Give a listener for what the kernel has turned aside; its upstream is who was dialled."""
    return {"name": name, "address": f":{port}", "capture": "redirect"}
