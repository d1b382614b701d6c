"""The few calls of the Kubernetes API that the injector makes, with the pod's service account.

Where the API is and who we are: Kubernetes docs, "Accessing the Kubernetes API from a Pod".  The token is
read for each call, since kubelets renew it.
"""

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any, Final

import aiohttp
from msgspec import Struct

from certs import contexts, storage
from certs.errors import CertError

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT: Final = 10.0  # seconds for one call

_HOOKS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/"
_HINTS: Final = {
    401: "the service account's token is not taken",
    403: "the service account may not do this: see deploy/kustomize/injector/rbac.yaml",
}


class ClusterError(Exception):
    """The API cannot be asked, or refuses; the text says what was asked and why not."""


class NotThere(ClusterError):
    """What was asked for does not exist."""


class Conflict(ClusterError):
    """Somebody else has changed, or made, the same thing."""


class Secret(Struct):
    """A Secret's data as text, with the version that an update must name."""

    data: dict[str, str]
    version: str


class Cluster:
    """The API server of the cluster that this pod runs in."""

    def __init__(self, address: str, account: Path = ACCOUNT) -> None:
        """``address`` is ``host:port``.  Raises ClusterError where the service account has no files."""
        try:
            tls = contexts.client_context(ca=storage.read(account / "ca.crt"))
        except CertError as error:
            raise ClusterError(f"the service account cannot be used: {error}") from None
        self._account = account
        self._session = aiohttp.ClientSession(
            f"https://{address}",
            connector=aiohttp.TCPConnector(ssl=tls),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def minor_version(self) -> int:
        """Give the minor version of Kubernetes that the API server has."""
        told = await self._call("GET", "/version")
        digits = "".join(c for c in str(told.get("minor", "")) if c.isdigit())  # some say "29+"
        if not digits:
            raise ClusterError(f"GET /version: no minor version in {told}")
        return int(digits)

    async def secret(self, namespace: str, name: str) -> Secret:
        """Read a Secret; raises NotThere."""
        found = await self._call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        try:
            values = (found.get("data") or {}).items()
            data = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in values}
        except (binascii.Error, TypeError) as error:
            raise ClusterError(f"secret {name}: {error}") from None
        return Secret(data, str(found.get("metadata", {}).get("resourceVersion", "")))

    async def put_secret(self, namespace: str, name: str, data: dict[str, str], version: str) -> None:
        """Make a Secret (``version`` ""), or change the one of that version; raises Conflict."""
        metadata: dict[str, Any] = {"name": name, "labels": {"app.kubernetes.io/part-of": "misrule"}}
        if version:
            metadata["resourceVersion"] = version
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": metadata,
            "stringData": data,
        }
        path = f"/api/v1/namespaces/{namespace}/secrets"
        if version:
            await self._call("PUT", f"{path}/{name}", body)
        else:
            await self._call("POST", path, body)

    async def trust(self, name: str, bundle: str) -> bool:
        """Put a CA bundle (PEM) into all webhooks of a configuration; whether anything had to be changed."""
        found = await self._call("GET", _HOOKS + name)
        wanted = base64.b64encode(bundle.encode("ascii")).decode("ascii")
        stale = [
            hook["name"]
            for hook in found.get("webhooks") or ()
            if hook.get("clientConfig", {}).get("caBundle") != wanted
        ]
        if stale:  # merged by name: whatever else somebody has set there stays
            patch = {"webhooks": [{"name": one, "clientConfig": {"caBundle": wanted}} for one in stale]}
            kind = "application/strategic-merge-patch+json"
            await self._call("PATCH", _HOOKS + name, patch, kind)
        return bool(stale)

    async def _call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Any:
        """Call once and give the JSON; raises ClusterError and its kinds."""
        what = f"{method} {path}"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            headers["Authorization"] = f"Bearer {(self._account / 'token').read_text().strip()}"
            data = None if body is None else json.dumps(body).encode()
            async with self._session.request(method, path, data=data, headers=headers) as answer:
                text = await answer.read()
                if answer.status >= 400:
                    raise _refused(what, answer.status, text)
                return json.loads(text)
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
            raise ClusterError(f"{what}: {error or type(error).__name__}") from None


def _refused(what: str, status: int, text: bytes) -> ClusterError:
    """Make the error of an answer: a Status object with a message, mostly."""
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = ""
    said = "; ".join(filter(None, (message[:300], _HINTS.get(status, ""))))
    kind = {404: NotThere, 409: Conflict}.get(status, ClusterError)
    return kind(f"{what}: {status}{f': {said}' if said else ''}")


def find() -> Cluster | None:
    """Give the cluster that this process runs in; None where it runs in none.  Raises ClusterError."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None
    account = Path(os.environ.get("MISRULE_SERVICE_ACCOUNT") or ACCOUNT)
    return Cluster(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", account)


def own_namespace() -> str:
    """Give the namespace of this pod; "" where it is in none."""
    account = Path(os.environ.get("MISRULE_SERVICE_ACCOUNT") or ACCOUNT)
    try:
        return (account / "namespace").read_text().strip()
    except OSError:
        return ""
