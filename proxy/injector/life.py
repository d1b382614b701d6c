"""An injector from its options to its end."""

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, structs

from certs.errors import CertError
from proxy.config.kinds import KINDS
from proxy.injector import cluster, kinds
from proxy.injector.annotations import ANNOTATIONS
from proxy.injector.cluster import Cluster, ClusterError
from proxy.injector.identity import FileIdentity, Identity, KeptIdentity
from proxy.injector.server import InjectorServer
from proxy.injector.settings import Settings
from proxy.logs import Log
from proxy.metrics.injecting import InjectorCells
from rules.params import YEAR, BadValue, Duration, Param, Text, words

NATIVE_SINCE: Final = 29  # the minor version in which sidecars in init containers are on by default
LINGER: Final = 5.0  # seconds in which API servers may still call a replica that is being deleted

_NAME: Final = Text("a name of a-z, 0-9 and dash", r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CHECKED: Final[dict[str, Param[Any]]] = {
    "listen": KINDS["inet_listen"],
    "namespace": _NAME,
    "service": _NAME,
    "secret": kinds.CONFIG_MAP,
    "webhook": kinds.CONFIG_MAP,
    "certificate_life": Duration(low=1.0, high=10 * YEAR),
    "native_sidecar": words("auto", "true", "false"),
    "sidecar_log_level": ANNOTATIONS["log-level"].param,
    "sidecar_access_log": ANNOTATIONS["access-log"].param,
    "log_level": KINDS["level"],
    "log_format": KINDS["log_format"],
}
_TAKEN: Final = ("capture", "run-as-user", "cpu-request", "cpu-limit", "memory-request", "memory-limit")


class BadOptions(Exception):
    """Options that cannot be; ``lines`` has every mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class CannotStart(Exception):
    """The injector cannot run here; the text says why."""


class Plan(Struct):
    """Options that were checked."""

    settings: Settings
    listen: str
    certificate: str
    key: str
    namespace: str
    service: str
    secret: str
    webhook: str
    life: float
    native: str
    log_level: str
    log_format: str


def plan(given: dict[str, str]) -> Plan:
    """Check the options of ``misrule injector``; raises BadOptions with every mistake."""
    lines: list[str] = []
    checks = _CHECKED | {name.replace("-", "_"): ANNOTATIONS[name].param for name in _TAKEN}
    checks |= {"image": kinds.IMAGE, "image_pull_policy": ANNOTATIONS["image-pull-policy"].param}
    read: dict[str, Any] = {}
    for name, value in given.items():
        read[name] = value
        if name in checks and value:
            try:
                read[name] = checks[name].parse(value)
            except BadValue as bad:
                lines.append(f"--{name.replace('_', '-')}: {bad}")
    for what in ("cpu", "memory"):
        request, limit = given[f"{what}_request"], given[f"{what}_limit"]
        if not lines and request and limit and kinds.quantity(request) > kinds.quantity(limit):
            lines.append(f"--{what}-request: {request} is above --{what}-limit, {limit}")
    if given["key"] and not given["certificate"]:
        lines.append("--key: there is no --certificate that it belongs to")
    if lines:
        raise BadOptions(lines)
    names = ("listen", "certificate", "key", "namespace", "service", "secret", "webhook")
    return Plan(
        settings=_settings(read),
        **{name: read[name] for name in (*names, "log_level", "log_format")},
        life=read["certificate_life"],
        native=read["native_sidecar"],
    )


def _settings(read: dict[str, Any]) -> Settings:
    return Settings(
        image=read["image"] or Settings().image,
        pull_policy=read["image_pull_policy"],
        native=read["native_sidecar"] != "false",
        capture=read["capture"],
        run_as_user=read["run_as_user"],
        cpu_request=read["cpu_request"],
        cpu_limit=read["cpu_limit"],
        memory_request=read["memory_request"],
        memory_limit=read["memory_limit"],
        log_level=read["sidecar_log_level"],
        access_log=read["sidecar_access_log"],
    )


async def run(made: Plan) -> int:
    """Serve until SIGTERM or SIGINT; raises CannotStart.  A second signal ends it at once."""
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, None)
    log, cells = Log(made.log_format, made.log_level), InjectorCells()
    try:
        api = cluster.find()
    except ClusterError as error:
        raise CannotStart(str(error)) from None
    try:
        identity = _identity(made, api, log, cells)
        settings = structs.replace(made.settings, native=await native(made.native, api, log))
        server = InjectorServer(identity, settings, log, cells)
        try:
            await _show(identity)
            await _listen(server, made.listen)
            log.event("info", "ready", message=f"misrule injector: https {server.address}")
            await signals.get()
            await _end(server, signals, log)
        finally:
            await identity.close()
    finally:
        if api is not None:
            await api.close()
        log.close()
    return 0


async def _show(identity: Identity) -> None:
    try:
        await identity.start()
    except CertError as error:
        raise CannotStart(str(error)) from None


async def _listen(server: InjectorServer, address: str) -> None:
    try:
        await server.start(address)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {error.strerror or error}") from None


async def _end(server: InjectorServer, signals: "asyncio.Queue[None]", log: Log) -> None:
    """Say that it is not ready, serve on until all may have heard of it, and close."""
    log.event("info", "stopping", message="misrule injector stops: a second signal ends it at once")
    server.draining = True
    try:
        async with asyncio.timeout(LINGER):
            await signals.get()
    except TimeoutError:
        pass
    await server.stop()


def _identity(made: Plan, api: Cluster | None, log: Log, cells: InjectorCells) -> Identity:
    """Choose who keeps the certificate; raises CannotStart."""
    if made.certificate:
        return FileIdentity(Path(made.certificate), Path(made.key or made.certificate), log, cells)
    namespace = made.namespace or cluster.own_namespace()
    if api is None or not namespace:
        raise CannotStart("this is no pod of a cluster: give --certificate and --key, or run it there")
    return KeptIdentity(api, namespace, made.service, made.secret, made.webhook, log, cells, life=made.life)


async def native(wanted: str, api: Cluster | None, log: Log) -> bool:
    """Say whether sidecars are init containers that stay; where nobody can be asked they are."""
    if wanted != "auto":
        return wanted == "true"
    if api is None:
        return True
    try:
        minor = await api.minor_version()
    except ClusterError as error:
        log.event(
            "warning", "version", message=f"taken to have native sidecars, since it cannot be asked: {error}"
        )
        return True
    log.event("info", "version", message=f"Kubernetes 1.{minor}", native_sidecars=minor >= NATIVE_SINCE)
    return minor >= NATIVE_SINCE
