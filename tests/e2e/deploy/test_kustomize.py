"""What `kubectl kustomize` makes of deploy/kustomize: valid for each version, and it fits together."""

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.cli.injector import injector, planned
from proxy.config.read import parse as parse_config
from proxy.injector.settings import ADMIN, HEALTH, INBOUND, UID
from rules.parse import parse_rules
from tests.support import kubernetes
from tests.support.manifests import DEPLOY, check_all, kustomize, of_kind, unique

Object = dict[str, Any]

OVERLAYS = ("overlays/injector", "overlays/cert-manager", "overlays/monitored")
EXAMPLES = ("examples/explicit", "examples/captured")


def deployed(folder: str) -> Object:
    """The pod template of the one Deployment."""
    (deployment,) = of_kind(kustomize(folder), "Deployment")
    template: Object = deployment["spec"]["template"]
    return template


def test_every_folder_is_rendered_here() -> None:
    folders = {
        path.parent.relative_to(DEPLOY / "kustomize").as_posix()
        for path in (DEPLOY / "kustomize").rglob("kustomization.yaml")
    }
    assert {name for name in folders if name.startswith(("overlays/", "examples/"))} == {*OVERLAYS, *EXAMPLES}


@pytest.mark.parametrize("version", kubernetes.versions())
def test_all_of_it_is_valid(version: str) -> None:
    check_all(unique(thing for folder in (*OVERLAYS, *EXAMPLES) for thing in kustomize(folder)), version)


def test_the_check_sees_a_wrong_field() -> None:
    wrong = json.loads(json.dumps(of_kind(kustomize("overlays/monitored"), "PodMonitor")[0]))
    wrong["spec"]["podMetricEndpoints"] = []
    with pytest.raises(pytest.fail.Exception, match="podMetricEndpoints"):
        check_all([wrong], kubernetes.versions()[-1])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_injector_takes_its_arguments(overlay: str) -> None:
    (container,) = deployed(overlay)["spec"]["containers"]
    command, *arguments = container["args"]
    assert command == "injector"
    environment = {one["name"]: one["value"] for one in container["env"]}
    made = planned(injector.make_context("injector", [*arguments], obj=None, auto_envvar_prefix=None).params)
    assert (made.service, made.secret, made.webhook) == ("misrule-injector",) * 3
    assert bool(made.certificate) == (overlay == "overlays/cert-manager")
    assert environment["MISRULE_INJECTOR_IMAGE"] == container["image"] == "misrule:0.1.0"
    known = {option.envvar for option in injector.params if isinstance(option, click.Option)}
    assert set(environment) <= known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_calls_it_reaches_it(overlay: str) -> None:
    things = kustomize(overlay)
    (service,) = of_kind(things, "Service")
    template = deployed(overlay)
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (configuration,) = of_kind(things, "MutatingWebhookConfiguration")
    for hook in configuration["webhooks"]:
        called = hook["clientConfig"]["service"]
        assert (called["name"], called["namespace"]) == (
            service["metadata"]["name"],
            service["metadata"]["namespace"],
        )
        assert called["port"] == service["spec"]["ports"][0]["port"]
        assert hook["failurePolicy"] == "Ignore"
    (container,) = template["spec"]["containers"]
    assert service["spec"]["ports"][0]["targetPort"] in {port["name"] for port in container["ports"]}
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        (policy,) = of_kind(things, kind)
        selector = policy["spec"].get("selector") or policy["spec"]["podSelector"]
        assert selector["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_it_may_do_no_more_than_it_does() -> None:
    things = kustomize("overlays/injector")
    (role,), (cluster_role,) = of_kind(things, "Role"), of_kind(things, "ClusterRole")
    asked = {
        (resource, verb)
        for rule in (*role["rules"], *cluster_role["rules"])
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert asked == {
        ("secrets", "get"),
        ("secrets", "update"),
        ("secrets", "create"),
        ("mutatingwebhookconfigurations", "get"),
        ("mutatingwebhookconfigurations", "patch"),
    }


def test_with_cert_manager_it_may_do_nothing() -> None:
    things = kustomize("overlays/cert-manager")
    assert [role["rules"] for kind in ("Role", "ClusterRole") for role in of_kind(things, kind)] == [[], []]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_configurations_and_rules_are_good(example: str) -> None:
    maps = [one["data"] for one in of_kind(kustomize(example), "ConfigMap")]
    (config,) = (data["misrule.yaml"] for data in maps if "misrule.yaml" in data)
    (rules,) = (data["rules.yaml"] for data in maps if "rules.yaml" in data)
    assert parse_rules(rules.encode(), "rules.yaml")
    warnings: list[Any] = []
    read = parse_config(config.encode(), "misrule.yaml", warnings)
    assert not warnings
    assert read.admin is not None
    assert read.admin.address == f"127.0.0.1:{ADMIN}"
    assert read.health is not None
    assert read.health.address == f"[::]:{HEALTH}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_sidecar_is_that_of_the_injector(example: str) -> None:
    """Written by hand or injected, it is the same container: privileges, probes, whole directories."""
    spec = deployed(example)["spec"]
    sidecar = spec["initContainers"][-1]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("misrule", "Always")
    context = sidecar["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert (context["runAsUser"], context["runAsNonRoot"]) == (UID, True)
    assert context["readOnlyRootFilesystem"] is True
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= sidecar.keys()
    assert not [mount for mount in sidecar["volumeMounts"] if "subPath" in mount]
    if example == "examples/captured":
        arguments = spec["initContainers"][0]["args"]
        assert f"--inbound-port={INBOUND}" in arguments
        done = CliRunner().invoke(main, [*arguments, "--dry-run"], prog_name="misrule")
        assert (done.exit_code, str(INBOUND) in done.output) == (0, True), done.output
    else:
        assert len(spec["initContainers"]) == 1


def test_the_explicit_example_has_no_privilege_at_all() -> None:
    (namespace,) = of_kind(kustomize("examples/explicit"), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = deployed("examples/explicit")["spec"]
    for container in (*spec["containers"], *spec["initContainers"]):
        assert "add" not in container["securityContext"]["capabilities"]
