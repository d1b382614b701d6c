"""What the injector reads of an admission review and its pod; everything else passes by unread.

Field names and meanings: Kubernetes API reference, ``admission.k8s.io/v1`` and ``v1/Pod``.  A field that is
null in JSON counts as absent, as it does to the API server.
"""

from typing import Any, Final, TypeVar

from msgspec import Struct

API: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

Names = dict[str, str]
T = TypeVar("T")


class Version(Struct):
    """Group, version and kind of an object."""

    kind: str = ""
    group: str = ""
    version: str = ""


class Port(Struct):
    """A port that a container declares."""

    containerPort: int = 0  # noqa: N815 - Kubernetes' name
    name: str | None = None


class Security(Struct):
    """The part of a security context that matters here."""

    runAsUser: int | None = None  # noqa: N815


class Container(Struct):
    """One container, of any kind."""

    name: str = ""
    ports: list[Port] | None = None
    restartPolicy: str | None = None  # noqa: N815
    securityContext: Security | None = None  # noqa: N815


class Volume(Struct):
    """One volume."""

    name: str = ""


class System(Struct):
    """The operating system that a pod asks for."""

    name: str = ""


class Spec(Struct):
    """What a pod is to be."""

    containers: list[Container] | None = None
    initContainers: list[Container] | None = None  # noqa: N815
    volumes: list[Volume] | None = None
    hostNetwork: bool | None = None  # noqa: N815
    restartPolicy: str | None = None  # noqa: N815
    nodeSelector: Names | None = None  # noqa: N815
    os: System | None = None
    securityContext: Security | None = None  # noqa: N815
    terminationGracePeriodSeconds: int | None = None  # noqa: N815

    @property
    def all_containers(self) -> list[Container]:
        """Containers and init containers."""
        return [*(self.containers or ()), *(self.initContainers or ())]


class Metadata(Struct):
    """Who a pod is; one that a controller makes has no name yet."""

    name: str | None = None
    generateName: str | None = None  # noqa: N815
    namespace: str | None = None
    labels: Names | None = None
    annotations: Names | None = None


class Pod(Struct):
    """A pod, as far as it is read."""

    spec: Spec
    metadata: Metadata | None = None


class Request(Struct):
    """What the API server asks about."""

    uid: str
    kind: Version | None = None
    operation: str = "CREATE"
    namespace: str | None = None
    name: str | None = None
    subResource: str | None = None  # noqa: N815
    object: Any = None


class Review(Struct):
    """A question of the API server."""

    apiVersion: str = ""  # noqa: N815
    kind: str = ""
    request: Request | None = None
