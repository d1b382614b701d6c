"""The workload ``reviews``: admission reviews that the injector answers with patches, over TLS."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from benchmarks.load import certificate
from benchmarks.load.client import WrongAnswer
from benchmarks.load.procs import free_port, running, wait_until
from benchmarks.load.subjects.base import Running
from benchmarks.load.subjects.misrule import Misrule

PATH = "/mutate"


def _container(name: str) -> dict[str, Any]:
    variables = [{"name": f"SETTING_{number}", "value": f"value-{number}"} for number in range(12)]
    return {
        "name": name,
        "image": f"registry.example/{name}:1.4.2",
        "ports": [{"name": f"{name}-http", "containerPort": 3000 + len(name), "protocol": "TCP"}],
        "env": variables,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": f"{name}-http"}, "periodSeconds": 5},
        "volumeMounts": [
            {"name": "kube-api-access", "mountPath": "/var/run/secrets/token", "readOnly": True}
        ],
    }


def document() -> bytes:
    """Write the review of a pod as a Deployment makes it: two containers, a volume, managed fields."""
    fields: dict[str, Any] = {
        f"f:{name}": {} for name in ("metadata", "spec", "status", "labels", "annotations", "containers")
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "shop-7d4b9c6f5-",
            "labels": {"app": "shop", "pod-template-hash": "7d4b9c6f5"},
            "annotations": {"misrule.dev/ports": "8080:3000", "misrule.dev/rules": "shop-rules"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "uid": "1b2c"}
            ],
            "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": fields}],
        },
        "spec": {
            "containers": [_container("shop"), _container("exporter")],
            "volumes": [{"name": "kube-api-access", "projected": {"sources": [{"serviceAccountToken": {}}]}}],
            "serviceAccountName": "shop",
            "terminationGracePeriodSeconds": 30,
        },
    }
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod,
        "dryRun": False,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


def ask(port: int, body: bytes) -> dict[str, Any]:
    """Send one review, and give the response in the answer.  Raises OSError and HTTPException."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)
    try:
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response: dict[str, Any] = json.loads(connection.getresponse().read())["response"]
        return response
    finally:
        connection.close()


@contextmanager
def staged(subject: Misrule, place: Path, review: Path, cores: frozenset[int]) -> Iterator[Running]:
    """Run the injector on ``cores`` once it has proved that it patches the pod of ``review``."""
    place.mkdir(parents=True)
    port, log = free_port(), place / "log"
    command = subject.injector(port, certificate.make(place))
    body = review.read_bytes()
    with running(command.arguments, cores, log, place, command.environment) as pid:
        wait_until(lambda: _answers(port, body), pid, log)
        if "patch" not in ask(port, body):
            raise WrongAnswer("the pod was not patched")
        yield Running(pid, port)


def _answers(port: int, body: bytes) -> bool:
    try:
        return bool(ask(port, body)["allowed"])
    except (OSError, HTTPException):
        return False
