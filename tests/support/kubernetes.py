"""Kubernetes' own word on our objects: its schemas, strictly, for each version that the package has."""

import base64
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import kubernetes_validate
import pytest
from kubernetes_validate import utils

Object = dict[str, Any]

OLDEST = (1, 29)  # the first with native sidecars by default

# The schemas of a version are megabytes of JSON: each is read once.
utils.schema_contents = functools.cache(utils.schema_contents)


def versions() -> list[str]:
    """List the versions that the package knows, from 1.29 on."""
    found = {tuple(map(int, version.split(".")[:2])) for version in utils.all_versions()}
    return [f"{major}.{minor}" for major, minor in sorted(found) if (major, minor) >= OLDEST]


def check(thing: Mapping[str, Any], version: str) -> None:
    """Fail where an object is not valid, or has a field that Kubernetes does not know."""
    try:
        kubernetes_validate.validate(dict(thing), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        pytest.fail(f"{version}: {'/'.join(map(str, error.path))}: {error.message[:300]}")


def check_pods(pods: Sequence[Object], version: str) -> None:
    """Check pods all at once; the path of a mistake has the number of its pod."""
    items = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in pods]
    check({"apiVersion": "v1", "kind": "PodList", "items": items}, version)


def review(pod: Object, **request: Any) -> Object:
    """Write the review that an API server sends when a pod is made."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0a1b2c3d-0000-4000-8000-000000000001",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": {"apiVersion": "v1", "kind": "Pod", **pod},
            "oldObject": None,
            "dryRun": False,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
            **request,
        },
    }


def patched(pod: Object, answer: Object) -> Object:
    """Do what an API server does with the answer to a review, by another library than ours."""
    response = answer["response"]
    assert response["allowed"] is True
    if "patch" not in response:
        return pod
    assert response["patchType"] == "JSONPatch"
    made: Object = jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))
    return made
