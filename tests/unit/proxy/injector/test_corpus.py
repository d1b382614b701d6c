"""Pods as found in the wild: each valid before and behind the injector, for every version of Kubernetes."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import main
from proxy.config.read import parse as parse_config
from proxy.injector import review
from proxy.injector.kinds import quantity
from proxy.injector.settings import Settings
from tests.support import kubernetes

Object = dict[str, Any]

CASES: list[Object] = yaml.safe_load((Path(__file__).parent / "corpus.yaml").read_text())
CLUSTERS = {"": Settings(), "old": Settings(native=False), "capturing": Settings(capture="inbound")}


def answer(case: Object, pod: Object) -> tuple[Object, str]:
    """What the injector says of a pod, and the reason that it logs."""
    request = review.read(json.dumps(kubernetes.review(pod)).encode())
    outcome = review.answer(request, CLUSTERS[case.get("cluster", "")])
    return json.loads(outcome.body), outcome.verdict.reason


def patched(case: Object) -> Object:
    """The pod as it comes out."""
    pod = copy.deepcopy(case["pod"])
    return kubernetes.patched(pod, answer(case, pod)[0])


PATCHED = [patched(case) for case in CASES]
BOTH = list(zip(CASES, PATCHED, strict=True))


def named(case: Object) -> str:
    return str(case["case"])


def ours(pod: Object, kind: str) -> list[Object]:
    found = pod["spec"].get(kind) or []
    return [one for one in found if one["name"].startswith("misrule")]


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 60
    assert len({case["case"] for case in CASES}) == len(CASES)
    assert {case["gets"] for case in CASES} == {"native", "plain", "nothing"}


def test_there_are_versions_to_check_against() -> None:
    assert "1.29" in kubernetes.versions()
    assert len(kubernetes.versions()) >= 5


@pytest.mark.parametrize("version", kubernetes.versions())
def test_every_pod_is_valid_before_and_behind(version: str) -> None:
    kubernetes.check_pods([case["pod"] for case in CASES], version)
    kubernetes.check_pods(PATCHED, version)


def test_the_check_sees_a_field_that_does_not_exist() -> None:
    wrong = copy.deepcopy(PATCHED[0])
    wrong["spec"]["initContainers"][-1]["restartPolcy"] = "Always"
    with pytest.raises(pytest.fail.Exception, match=r"items/0/spec/initContainers/0: .*restartPolcy"):
        kubernetes.check_pods([wrong], kubernetes.versions()[-1])


@pytest.mark.parametrize(("case", "pod"), BOTH, ids=map(named, CASES))
def test_each_gets_what_it_should(case: Object, pod: Object) -> None:
    if case["gets"] == "nothing":
        assert pod == case["pod"]
        return
    kind, others = (
        ("initContainers", "containers") if case["gets"] == "native" else ("containers", "initContainers")
    )
    sidecars = [one for one in ours(pod, kind) if one["name"] == "misrule"]
    assert len(sidecars) == 1
    assert not [one for one in ours(pod, others) if one["name"] == "misrule"]
    assert (sidecars[0].get("restartPolicy") == "Always") == (case["gets"] == "native")


@pytest.mark.parametrize(("case", "pod"), BOTH, ids=map(named, CASES))
def test_a_second_pass_changes_nothing(case: Object, pod: Object) -> None:
    if case["gets"] == "nothing":
        assert "patch" not in answer(case, pod)[0]["response"]
    else:
        response = answer(case, pod)[0]["response"]
        assert response == {"uid": response["uid"], "allowed": True}


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_is_said(case: Object) -> None:
    told, reason = answer(case, case["pod"])
    warnings = told["response"].get("warnings", [])
    assert not [text for text in warnings if text.endswith("…")]  # kubectl shows each of them whole
    assert bool(reason) == (case["gets"] == "nothing")
    if "says" in case:
        assert [text for text in [reason, *warnings] if case["says"] in text], (reason, warnings)
    elif case.get("silent") or case["gets"] != "nothing":
        assert warnings == []


def contained(part: object, whole: object) -> bool:
    """Whether everything of ``part`` is in ``whole``, at its place; lists keep their order."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            value is None or (key in whole and contained(value, whole[key])) for key, value in part.items()
        )
    if isinstance(part, list):
        assert isinstance(whole, list)
        rest = iter(whole)
        return all(any(contained(item, candidate) for candidate in rest) for item in part)
    return part == whole


@pytest.mark.parametrize(("case", "pod"), BOTH, ids=map(named, CASES))
def test_nothing_of_the_pod_is_lost(case: Object, pod: Object) -> None:
    assert contained(case["pod"], pod)


INJECTED = [(case, pod) for case, pod in BOTH if case["gets"] != "nothing"]
IDS = [named(case) for case, _ in INJECTED]


@pytest.mark.parametrize(("case", "pod"), INJECTED, ids=IDS)
def test_what_no_schema_checks(case: Object, pod: Object) -> None:
    """Rules of the API server that its schemas do not say: names, mounts, ports and quantities."""
    spec = pod["spec"]
    everyone = [*spec["containers"], *(spec.get("initContainers") or [])]
    for things in (everyone, spec["volumes"]):
        names = [one["name"] for one in things]
        assert len(set(names)) == len(names)
    volumes = {one["name"] for one in spec["volumes"]}
    for container in [*ours(pod, "containers"), *ours(pod, "initContainers")]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(
            container["volumeMounts"]
        )
        names = [port["name"] for port in container.get("ports", [])]
        assert len(set(names)) == len(names)
        assert all(len(name) <= 15 for name in names)
        for what, request in container["resources"].get("requests", {}).items():
            limit = container["resources"].get("limits", {}).get(what)
            assert limit is None or quantity(request) <= quantity(limit)
    ports = [
        port["containerPort"]
        for one in everyone
        for port in one.get("ports") or []
        if port.get("protocol") != "UDP"
    ]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize(("case", "pod"), INJECTED, ids=IDS)
def test_the_sidecar_has_no_privilege(case: Object, pod: Object) -> None:
    """The restricted Pod Security Standard, for the container that stays."""
    (sidecar,) = (
        one
        for kind in ("containers", "initContainers")
        for one in ours(pod, kind)
        if one["name"] == "misrule"
    )
    context = sidecar["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context.get("runAsUser") != 0


@pytest.mark.parametrize(("case", "pod"), INJECTED, ids=IDS)
def test_the_sidecar_reads_its_configuration(case: Object, pod: Object) -> None:
    """What the pod carries in its annotation is a configuration that the proxy takes, without a warning."""
    text = pod["metadata"]["annotations"]["misrule.dev/config"]
    warnings: list[Any] = []
    config = parse_config(text.encode(), "annotation", warnings)
    assert not warnings
    assert config.listeners
    assert config.health is not None


@pytest.mark.parametrize(("case", "pod"), INJECTED, ids=IDS)
def test_the_init_container_is_understood(case: Object, pod: Object) -> None:
    """Its arguments are those of `misrule capture`, and lead to where the sidecar listens."""
    captures = [one for one in ours(pod, "initContainers") if one["name"] == "misrule-capture"]
    listeners = json.loads(pod["metadata"]["annotations"]["misrule.dev/config"])["listeners"]
    waiting = {one["address"].removeprefix(":") for one in listeners if one.get("capture") == "redirect"}
    assert bool(captures) == bool(waiting)
    for container in captures:
        done = CliRunner().invoke(main, [*container["args"], "--dry-run"], prog_name="misrule")
        assert done.exit_code == 0, done.output
        assert [port for port in waiting if port not in done.output] == []
