"""What a pod may choose: the annotations under ``misrule.dev/``, each once, with its meaning.

A value that cannot be read never keeps a pod from being made: it counts as not given, and a warning says what
would be right.  ``kubectl`` shows warnings to whoever creates the pod; the injector's log has them too.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from proxy.injector import kinds
from proxy.injector.settings import ADMIN, HEALTH, PREFIX, Settings
from rules.params import BadValue, Param, nearest, words

INJECT: Final = "inject"  # also as a label, which the webhook's selector can see
STATUS: Final = "status"  # what was done to the pod; ours
CONFIG: Final = "config"  # the sidecar's configuration; ours
OURS: Final = (STATUS, CONFIG)

CAPTURES: Final = ("none", "inbound", "outbound", "both")


class Annotation(Struct, frozen=True):
    """One annotation: how its value is read, and what it is for."""

    param: Param[Any]
    text: str


ANNOTATIONS: Final[dict[str, Annotation]] = {
    INJECT: Annotation(kinds.BOOL, "false: leave this pod alone; also as a label"),
    "ports": Annotation(
        kinds.PortMappings(), "PROXY:APP[/PROTOCOL], …: listen on PROXY, pass on to APP on localhost"
    ),
    "capture": Annotation(
        words(*CAPTURES), "Connections that are turned aside: none, inbound, outbound, both"
    ),
    "include-inbound-ports": Annotation(kinds.PortList(True), "Captured ports of the pod; absent or *: all"),
    "exclude-inbound-ports": Annotation(kinds.PortList(False), "Ports of the pod that are left alone"),
    "include-inbound-cidrs": Annotation(kinds.Networks(), "Captured clients by network; absent: all"),
    "exclude-inbound-cidrs": Annotation(kinds.Networks(), "Networks whose clients are left alone"),
    "include-outbound-ports": Annotation(kinds.PortList(True), "Captured ports of others; absent or *: all"),
    "exclude-outbound-ports": Annotation(kinds.PortList(False), "Ports of others that are left alone"),
    "include-outbound-cidrs": Annotation(kinds.Networks(), "Captured networks of others; absent: all"),
    "exclude-outbound-cidrs": Annotation(kinds.Networks(), "Networks of others that are left alone"),
    "rules": Annotation(kinds.CONFIG_MAP, "ConfigMap in the pod's namespace whose files are rules"),
    "admin-port": Annotation(kinds.PortNumber(), f"Port of the admin endpoint on loopback; absent: {ADMIN}"),
    "health-port": Annotation(kinds.PortNumber(), f"Port for probes and metrics; absent: {HEALTH}"),
    "log-level": Annotation(words("debug", "info", "warning", "error"), "What the sidecar logs"),
    "access-log": Annotation(words("all", "injected", "none"), "Which exchanges leave a line"),
    "cpu-request": Annotation(kinds.CPU, "CPU that is reserved"),
    "cpu-limit": Annotation(kinds.CPU, "CPU at most; absent: no limit"),
    "memory-request": Annotation(kinds.MEMORY, "Memory that is reserved"),
    "memory-limit": Annotation(kinds.MEMORY, "Memory at most"),
    "image": Annotation(kinds.IMAGE, "The sidecar's image"),
    "image-pull-policy": Annotation(words("Always", "IfNotPresent", "Never"), "When the image is pulled"),
    "native-sidecar": Annotation(
        kinds.BOOL, "true: an init container that stays (Kubernetes 1.29); false: a plain container"
    ),
    "init-order": Annotation(words("last", "first"), "Behind the pod's init containers, or before them"),
    "run-as-user": Annotation(kinds.User(), "The sidecar's user; none: what the platform gives (OpenShift)"),
}


class Wishes(Struct):
    """What one pod is to get: its annotations over the settings."""

    asked: bool = False  # the pod mentions us
    inject: bool = True
    ports: tuple[kinds.Mapping, ...] = ()
    capture: str = "none"
    include_inbound_ports: tuple[str, ...] = ()
    exclude_inbound_ports: tuple[str, ...] = ()
    include_inbound_cidrs: tuple[str, ...] = ()
    exclude_inbound_cidrs: tuple[str, ...] = ()
    include_outbound_ports: tuple[str, ...] = ()
    exclude_outbound_ports: tuple[str, ...] = ()
    include_outbound_cidrs: tuple[str, ...] = ()
    exclude_outbound_cidrs: tuple[str, ...] = ()
    rules: str = ""
    admin_port: int = ADMIN
    health_port: int = HEALTH
    log_level: str = "info"
    access_log: str = "injected"
    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""
    image: str = ""
    image_pull_policy: str = ""
    native_sidecar: bool = True
    init_order: str = "last"
    run_as_user: int | None = None
    plain_by_choice: bool = False  # the pod itself asked for a plain container

    @property
    def inbound(self) -> bool:
        """Whether connections to the pod are captured."""
        return self.capture in ("inbound", "both")

    @property
    def outbound(self) -> bool:
        """Whether connections of the pod are captured."""
        return self.capture in ("outbound", "both")


def read_wishes(
    annotations: Mapping[str, str], labels: Mapping[str, str], settings: Settings, warnings: list[str]
) -> Wishes:
    """Read a pod's annotations; what is wrong with them goes to ``warnings``."""
    wishes = Wishes(
        capture=settings.capture,
        log_level=settings.log_level,
        access_log=settings.access_log,
        cpu_request=settings.cpu_request,
        cpu_limit=settings.cpu_limit,
        memory_request=settings.memory_request,
        memory_limit=settings.memory_limit,
        image=settings.image,
        image_pull_policy=settings.pull_policy,
        native_sidecar=settings.native,
        run_as_user=settings.run_as_user,
    )
    for key, value in annotations.items():
        name = key.removeprefix(PREFIX)
        if name != key and name not in OURS:
            wishes.asked = True
            _read(wishes, name, value, warnings)
    label = labels.get(PREFIX + INJECT)
    if label is not None:
        wishes.asked = True
        _read(wishes, INJECT, label, warnings)
    wishes.plain_by_choice = annotations.get(f"{PREFIX}native-sidecar") == "false"
    return wishes


def _read(wishes: Wishes, name: str, value: str, warnings: list[str]) -> None:
    """Read one annotation into the wishes."""
    annotation = ANNOTATIONS.get(name)
    if annotation is None:
        near = nearest(name, list(ANNOTATIONS))
        hint = f"did you mean {PREFIX}{near}?" if near else "docs/kubernetes.md has all that there are"
        warnings.append(f"{PREFIX}{name}: unknown annotation; {hint}")
        return
    try:
        setattr(wishes, name.replace("-", "_"), annotation.param.parse(value.strip()))
    except BadValue as bad:
        warnings += [f"{PREFIX}{name}: {trouble.message}" for trouble in bad.troubles]
