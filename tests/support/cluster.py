"""A Kubernetes API server as far as the injector asks one: TLS, tokens, versions of objects, refusals."""

import base64
import copy
import json
import ssl
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

Object = dict[str, Any]

HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
TOKEN = "a-token-of-the-service-account"


def hook(name: str) -> Object:
    """Write a webhook as it is installed: nobody is trusted yet."""
    return {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"name": "misrule-injector", "namespace": "misrule", "path": "/mutate"}},
    }


class FakeCluster:
    """Secrets and webhook configurations; ``refuse`` maps "METHOD path" to the status that is answered."""

    def __init__(self, folder: Path, minor: str = "31") -> None:
        self.minor = minor
        self.secrets: dict[str, Object] = {}
        self.hooks: dict[str, Object] = {
            "misrule-injector": {"webhooks": [hook("pods.misrule.dev"), hook("chosen.misrule.dev")]}
        }
        self.refuse: dict[str, int] = {}
        self.calls: list[str] = []
        self.version = 100
        self.address = ""
        self.account = folder
        self._runner: web.AppRunner | None = None
        authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(authority.cert_pem.bytes())
        (folder / "token").write_text(TOKEN + "\n")
        (folder / "namespace").write_text("misrule")

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """What a pod of this cluster finds in its environment."""
        host, _, port = self.address.rpartition(":")
        return {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "MISRULE_SERVICE_ACCOUNT": str(self.account),
        }

    def bundles(self) -> set[str]:
        """The CA bundles (PEM) of all webhooks."""
        found = [
            one["clientConfig"].get("caBundle", "")
            for hooks in self.hooks.values()
            for one in hooks["webhooks"]
        ]
        return {base64.b64decode(bundle).decode() for bundle in found}

    @property
    def bundle(self) -> str:
        """The one bundle that all webhooks have."""
        (bundle,) = self.bundles()
        return bundle

    async def _serve(self, request: web.Request) -> web.Response:
        what = f"{request.method} {request.path}"
        self.calls.append(what)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        if what in self.refuse:
            return _status(self.refuse[what], "refused by the test")
        if request.path == "/version":
            return web.json_response({"major": "1", "minor": self.minor, "gitVersion": f"v1.{self.minor}.0"})
        body = json.loads(await request.read() or b"null")
        if request.path.startswith("/api/v1/namespaces/misrule/secrets"):
            return self._secret(request, body)
        if request.path.startswith(HOOKS + "/"):
            return self._hook(request, body)
        return _status(404, f"there is no {request.path}")

    def _secret(self, request: web.Request, body: Any) -> web.Response:
        name = request.path.rpartition("/secrets")[2].lstrip("/") or body["metadata"]["name"]
        present = self.secrets.get(name)
        if request.method == "POST" and present is not None:
            return _status(409, f'secrets "{name}" already exists')
        if request.method != "POST" and present is None:
            return _status(404, f'secrets "{name}" not found')
        if request.method == "GET":
            return web.json_response(present)
        if request.method == "PUT" and present is not None:
            if body["metadata"].get("resourceVersion") != present["metadata"]["resourceVersion"]:
                return _status(409, "the object has been modified")
        self.version += 1
        data = {key: base64.b64encode(value.encode()).decode() for key, value in body["stringData"].items()}
        made = {**body, "data": data, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        del made["stringData"]
        self.secrets[name] = made
        return web.json_response(made, status=201 if request.method == "POST" else 200)

    def _hook(self, request: web.Request, body: Any) -> web.Response:
        name = request.path.rpartition("/")[2]
        present = self.hooks.get(name)
        if present is None:
            return _status(404, f'mutatingwebhookconfigurations "{name}" not found')
        if request.method == "PATCH":
            if request.content_type != "application/strategic-merge-patch+json":
                return _status(415, request.content_type)
            for patch in body["webhooks"]:
                (target,) = (one for one in present["webhooks"] if one["name"] == patch["name"])
                target["clientConfig"].update(patch["clientConfig"])
        return web.json_response(copy.deepcopy(present))


def _status(code: int, message: str) -> web.Response:
    body = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "code": code}
    return web.json_response(body, status=code)
