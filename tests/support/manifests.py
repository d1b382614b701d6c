"""Manifests as tools render them, and whether Kubernetes takes them."""

import functools
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from benchmarks.load.places import PEERS
from tests.support import kubernetes
from tests.support.need import find, not_fetched

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# What the package has no schemas for: what we use of the operators' resources, by their API references.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SELECTOR = {"type": "object", "properties": {"matchLabels": TEXTS}, "additionalProperties": False}
DURATION = {"type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}


def _strict(properties: Mapping[str, Any], *required: str) -> Object:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(item: Object) -> Object:
    return {"type": "array", "items": item, "minItems": 1}


_ENDPOINT = {
    "port": {"type": "string", "pattern": "^[a-z0-9-]{1,15}$"},
    "path": {"type": "string"},
    "scheme": {"enum": ["http", "https"]},
    "interval": DURATION,
    "tlsConfig": _strict({"insecureSkipVerify": {"type": "boolean"}}),
}
_ALERT = {
    "alert": {"type": "string"},
    "expr": {"type": "string"},
    "for": DURATION,
    "labels": TEXTS,
    "annotations": TEXTS,
}
_CERTIFICATE = {
    "secretName": {"type": "string"},
    "duration": DURATION,
    "renewBefore": DURATION,
    "dnsNames": _list({"type": "string"}),
    "privateKey": _strict(
        {
            "algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]},
            "size": {"type": "integer"},
            "rotationPolicy": {"enum": ["Always", "Never"]},
        }
    ),
    "usages": _list({"enum": ["server auth", "digital signature"]}),
    "issuerRef": _strict({key: {"type": "string"} for key in ("name", "kind", "group")}, "name"),
}
CUSTOM: dict[tuple[str, str], Object] = {
    ("monitoring.coreos.com/v1", "PodMonitor"): _strict(
        {
            "selector": SELECTOR,
            "namespaceSelector": _strict({"any": {"type": "boolean"}}),
            "podMetricsEndpoints": _list(_strict(_ENDPOINT, "port")),
        },
        "selector",
        "podMetricsEndpoints",
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _strict(
        {
            "groups": _list(
                _strict({"name": {"type": "string"}, "rules": _list(_strict(_ALERT, "alert", "expr"))})
            )
        },
        "groups",
    ),
    ("cert-manager.io/v1", "Certificate"): _strict(_CERTIFICATE, "secretName", "issuerRef", "dnsNames"),
    ("cert-manager.io/v1", "Issuer"): _strict({"selfSigned": _strict({})}),
}
METADATA = _strict(
    {"name": {"type": "string"}, "namespace": {"type": "string"}, "labels": TEXTS, "annotations": TEXTS},
    "name",
)


def check_all(things: Iterable[Object], version: str) -> None:
    """Fail where Kubernetes, or an operator, would not take one of these."""
    for thing in things:
        spec = CUSTOM.get((thing["apiVersion"], thing["kind"]))
        if spec is None:
            kubernetes.check(thing, version)
            continue
        whole = {"apiVersion": {}, "kind": {}, "metadata": METADATA, "spec": spec}
        try:
            jsonschema.validate(thing, _strict(whole, *whole))
        except jsonschema.ValidationError as error:
            pytest.fail(f"{thing['kind']}: {'/'.join(map(str, error.path))}: {error.message[:300]}")


def unique(things: Iterable[Object]) -> list[Object]:
    """Leave out what is there more than once."""
    return list({json.dumps(thing, sort_keys=True): thing for thing in things}.values())


def load(text: str) -> list[Object]:
    """Read the documents of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(things: Iterable[Object], kind: str) -> list[Object]:
    """Choose by kind."""
    return [thing for thing in things if thing["kind"] == kind]


@functools.cache
def kustomize(folder: str) -> list[Object]:
    """Render a folder under deploy/kustomize, with kubectl's kustomize or that of its own name."""
    own = PEERS / "bin" / "kustomize"
    if kubectl := find("kubectl"):
        command = [kubectl, "kustomize"]
    elif found := find("kustomize") or (str(own) if own.exists() else None):
        command = [found, "build"]
    else:
        not_fetched("kustomize")
    return load(_run([*command, str(DEPLOY / "kustomize" / folder)]))


def helm(*arguments: str, values: Object | None = None, release: str = "misrule", fails: bool = False) -> str:
    """Run `helm template` on our chart; ``fails``: give what it says on standard error."""
    own = PEERS / "bin" / "helm"
    found = find("helm") or (str(own) if own.exists() else None)
    if found is None:
        not_fetched("helm")
    command = [found, "template", release, str(DEPLOY / "helm" / "misrule"), "--namespace", "chaos"]
    # A helm that was built with plain `go install` takes itself to be for Kubernetes 1.20.
    command += ["--kube-version", "1.31.0", "--values", "-", *arguments]
    return _run(command, json.dumps(values or {}), fails)


def _run(command: list[str], given: str = "", fails: bool = False) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert bool(done.returncode) == fails, done.stderr[-2000:]
    return done.stderr if fails else done.stdout
