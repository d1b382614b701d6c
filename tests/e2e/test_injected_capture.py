"""A pod that captures by annotation: the init container runs to its end, then the sidecar as its user."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.injector import containers, review
from proxy.injector.settings import FOLDER, RULES, STATE, Settings
from tests.support import kubernetes
from tests.support.namespaces import POD, USER, WORLD, Cable, Namespace, need_cable
from tests.support.need import need
from tests.support.process import Process
from tests.support.wait import eventually

APP, LEFT_ALONE = 3000, 3001
GONE = "version: 1\nrules:\n  - {name: gone, match: {path: /gone}, faults: [{abort: 410}]}\n"
WANTED = {
    "misrule.dev/capture": "both",
    "misrule.dev/rules": "shop-rules",
    "misrule.dev/exclude-inbound-ports": str(LEFT_ALONE),
}


def patched() -> dict[str, Any]:
    """The pod as the API server would have it made."""
    pod = {"metadata": {"annotations": WANTED}, "spec": {"containers": [{"name": "shop", "image": "shop:1"}]}}
    asked = review.read(json.dumps(kubernetes.review(pod)).encode())
    return kubernetes.patched(pod, json.loads(review.answer(asked, Settings()).body))


@pytest.fixture
def cable() -> Iterator[Cable]:
    need("curl")
    made = need_cable()
    yield made
    made.close()


def status(where: Namespace, host: str, port: int, path: str) -> str:
    """Ask from within a namespace; the status, 000 where nobody answers."""
    asked = ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}"]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
    return where.run([*asked, url], ok=False).stdout


def sidecar(cable: Cable, pod: dict[str, Any], folder: Path) -> Process:
    """Do what a kubelet does: volumes, the init container to its end, and the sidecar, which stays."""
    capture, proxy = pod["spec"]["initContainers"]
    rules, state = folder / "rules", folder / "state"
    for place, mode in ((folder, 0o755), (rules, 0o755), (state, 0o777)):
        place.mkdir(exist_ok=True)
        place.chmod(mode)
    (rules / "rules.yaml").write_text(GONE)
    text = pod["metadata"]["annotations"]["misrule.dev/config"]
    text = text.replace(RULES, str(rules)).replace(STATE, str(state))
    (folder / containers.FILE).write_text(text)
    assert proxy["securityContext"]["runAsUser"] == USER
    cable.pod.run(cable.pod.python("proxy", *capture["args"]))
    arguments = [one.replace(FOLDER, str(folder)) for one in proxy["args"]]
    return Process(cable.pod.python("proxy", *arguments, user=USER, powerless=True))


def test_a_captured_pod(cable: Cable) -> None:
    for where in (cable.pod, cable.world):
        for port in (APP, LEFT_ALONE):
            cable.start(where, "http.server", str(port), "--bind", "::")
            eventually(lambda w=where, p=port: status(w, "::1", p, "/") == "200", 20)  # type: ignore[misc]
    pod = patched()
    probe = pod["spec"]["initContainers"][1]["startupProbe"]["httpGet"]
    with tempfile.TemporaryDirectory(prefix="misrule-injected-") as folder:
        process = sidecar(cable, pod, Path(folder))
        try:
            # A kubelet asks from outside of the pod; what it asks is not captured.
            eventually(lambda: status(cable.world, POD[0], probe["port"], probe["path"]) == "200", 30)
            for ours, theirs in zip(POD, WORLD, strict=True):
                assert status(cable.world, ours, APP, "/") == "200"
                assert status(cable.world, ours, APP, "/gone") == "410"
                assert status(cable.world, ours, LEFT_ALONE, "/gone") == "404"
                assert status(cable.pod, theirs, APP, "/gone") == "410"
        finally:
            assert process.stop(30) == 0, process.text()
