"""What holds for all pods of a cluster, unless an annotation says otherwise."""

from typing import Final

from msgspec import Struct

from proxy import __version__

PREFIX: Final = "misrule.dev/"

# Ports: Istio has 15001 and 15006, so captured traffic comes to these.
OUTBOUND: Final = 15101
INBOUND: Final = 15106
ADMIN: Final = 9905
HEALTH: Final = 9906

UID: Final = 1337  # of the image; what it sends itself is not captured

FOLDER: Final = "/etc/misrule"  # the configuration
STATE: Final = "/var/lib/misrule"  # versions of rules, which outlive a restart of the container
RULES: Final = "/etc/misrule-rules"  # a ConfigMap, mounted whole: a subPath would never be updated


class Settings(Struct, frozen=True):
    """Defaults of the sidecar.  ``native``: whether this cluster runs sidecars as init containers."""

    image: str = f"misrule:{__version__}"
    pull_policy: str = "IfNotPresent"
    native: bool = True
    capture: str = "none"
    run_as_user: int | None = UID
    cpu_request: str = "50m"
    memory_request: str = "96Mi"
    cpu_limit: str = ""
    memory_limit: str = "256Mi"
    log_level: str = "info"
    access_log: str = "injected"
