"""What `helm template` makes of the chart: with its defaults, with every value set, and with wrong ones."""

import json
from typing import Any

import jsonschema
import pytest
import yaml

from proxy.cli.injector import injector, planned
from tests.support import kubernetes
from tests.support.manifests import DEPLOY, check_all, helm, load, of_kind, unique

Object = dict[str, Any]

CHART = DEPLOY / "helm" / "misrule"
DEFAULTS: Object = yaml.safe_load((CHART / "values.yaml").read_text())

# Every value, and each other than its default.
EVERY: Object = {
    "nameOverride": "chaos-tool",
    "fullnameOverride": "misrule-of-team-a",
    "image": {
        "repository": "registry.example/misrule",
        "tag": "1.2.3",
        "digest": "sha256:" + "0a" * 32,
        "pullPolicy": "Always",
    },
    "imagePullSecrets": [{"name": "registry"}],
    "replicaCount": 3,
    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
    "podAnnotations": {"example.org/a": "b"},
    "podLabels": {"team": "a"},
    "podSecurityContext": {
        "runAsNonRoot": False, "runAsUser": 2102, "runAsGroup": 2102, "fsGroup": 2102,
        "seccompProfile": {"type": "Localhost", "localhostProfile": "misrule.json"},
    },
    "securityContext": {
        "allowPrivilegeEscalation": True,
        "capabilities": {"drop": ["NET_RAW"]},
        "readOnlyRootFilesystem": False,
    },
    "nodeSelector": {"kubernetes.io/os": "other", "infra": "true"},
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "infra", "operator": "Exists"}]}]
            }
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "system-cluster-critical",
    "log": {"level": "debug", "format": "text"},
    "serviceAccount": {"create": False, "name": "injector", "annotations": {"example.org/role": "x"}},
    "webhook": {
        "failurePolicy": "Fail", "timeoutSeconds": 10, "reinvocationPolicy": "Never",
        "excludeNamespaces": ["kube-system"], "byNamespace": False, "byPod": False,
        "certificates": {
            "mode": "cert-manager", "life": "720h", "secretName": "tls", "caBundle": "Q0E=",
            "issuerRef": {"name": "corporate", "kind": "ClusterIssuer"},
        },
    },
    "sidecar": {
        "native": "true", "capture": "inbound", "runAsUser": "none", "logLevel": "debug", "accessLog": "all",
        "resources": {
            "requests": {"cpu": "75m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"},
        },
    },
    "podDisruptionBudget": {"enabled": False, "maxUnavailable": "50%"},
    "networkPolicy": {"enabled": False, "apiServerPorts": [16443]},
    "monitoring": {
        "podMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
        "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True, "labels": {"grafana_dashboard": "yes"}},
    },
}  # fmt: skip


def leaves(values: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """The values that are no mapping with keys of their own, by path."""
    if isinstance(values, dict) and values:
        return {k: v for key, one in values.items() for k, v in leaves(one, (*path, key)).items()}
    return {path: values}


def with_values(*path: str, to: object) -> Object:
    """All values set, but one to something else."""
    values: Object = json.loads(json.dumps(EVERY))
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return values


# The defaults, everything set, and what excludes each other, so that each template is rendered in each way.
VALUES: dict[str, Object] = {
    "defaults": {},
    "every value": EVERY,
    "an account": with_values("serviceAccount", "create", to=True),
    "by namespace": with_values("webhook", "byNamespace", to=True),
    "by pod": with_values("webhook", "byPod", to=True),
    "budget": with_values("podDisruptionBudget", "enabled", to=True),
    "policy": with_values("networkPolicy", "enabled", to=True),
    "a tag": with_values("image", "digest", to=""),
    "own": with_values("webhook", "certificates", "mode", to="own"),
    "files": with_values("webhook", "certificates", "mode", to="files"),
    "an issuer of its own": {"webhook": {"certificates": {"mode": "cert-manager"}}},
}


def rendered(name: str, release: str = "misrule") -> list[Object]:
    return load(helm(values=VALUES[name], release=release))


def test_every_value_is_set_to_something_else() -> None:
    ours, theirs = leaves(DEFAULTS), leaves(EVERY)
    assert [
        path
        for path, value in ours.items()
        if theirs.get(path, value) == value and path not in _parents(theirs)
    ] == []


def _parents(found: dict[tuple[str, ...], object]) -> set[tuple[str, ...]]:
    return {path[:end] for path in found for end in range(1, len(path))}


def test_the_schema_takes_both_and_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    for values in (DEFAULTS, EVERY):
        jsonschema.validate(values, schema)
    assert set(DEFAULTS) <= set(schema["properties"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("replicaCount",), "two"),
        (("webhook", "failurePolicy"), "Deny"),
        (("webhook", "certificates", "mode"), "self"),
        (("sidecar", "capture"), "all"),
        (("sidecar", "runAsUser"), 0),
        (("sidecar", "resources", "limits", "memory"), "lots"),
        (("image", "digest"), "latest"),
        (("imag",), {}),
        (("webhook", "certificates", "life"), "90d"),
    ],
    ids=str,
)
def test_wrong_values_are_refused(path: tuple[str, ...], value: object) -> None:
    assert path[-1] in helm(values=with_values(*path, to=value), fails=True)


def test_files_without_a_secret_are_refused() -> None:
    assert "secretName" in helm(values={"webhook": {"certificates": {"mode": "files"}}}, fails=True)


@pytest.mark.parametrize("version", kubernetes.versions())
def test_all_of_it_is_valid(version: str) -> None:
    check_all(unique(thing for name in VALUES for thing in everything(name)), version)


RENDERED: dict[str, list[Object]] = {}


def everything(name: str) -> list[Object]:
    """What a set of values gives; rendered once."""
    if name not in RENDERED:
        RENDERED[name] = rendered(name)
    return RENDERED[name]


@pytest.mark.parametrize("name", VALUES)
def test_it_fits_together(name: str) -> None:
    """Arguments are taken, selectors select, and what it may use is what it uses."""
    things = everything(name)
    (deployment,), (service,) = of_kind(things, "Deployment"), of_kind(things, "Service")
    template = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    command, *arguments = template["spec"]["containers"][0]["args"]
    assert command == "injector"
    made = planned(injector.make_context("injector", arguments).params)
    if not made.certificate:
        assert made.service == service["metadata"]["name"]
        (role,), (cluster_role,) = of_kind(things, "Role"), of_kind(things, "ClusterRole")
        assert role["rules"][0]["resourceNames"] == [made.secret]
        assert cluster_role["rules"][0]["resourceNames"] == [made.webhook]
    for configuration in of_kind(things, "MutatingWebhookConfiguration"):
        for hook in configuration["webhooks"]:
            assert hook["clientConfig"]["service"]["name"] == service["metadata"]["name"]
            assert hook["clientConfig"]["service"]["namespace"] == "chaos"
            assert "chaos" in hook["namespaceSelector"]["matchExpressions"][1]["values"]
    for certificate in of_kind(things, "Certificate"):
        assert certificate["spec"]["dnsNames"] == [f"{service['metadata']['name']}.chaos.svc"]
        (volume,) = template["spec"]["volumes"]
        assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]


def test_the_defaults_are_those_of_the_command() -> None:
    """Whoever installs the chart, the overlay or runs the command gets the same sidecars."""
    (deployment,) = of_kind(everything("defaults"), "Deployment")
    _, *arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    bare = planned(injector.make_context("injector", []).params)
    made = planned(injector.make_context("injector", arguments).params)
    assert made.settings == bare.settings
    assert (made.service, made.secret, made.webhook, made.life) == (
        bare.service,
        bare.secret,
        bare.webhook,
        bare.life,
    )


@pytest.mark.parametrize(
    ("release", "values", "wanted"),
    [
        ("misrule", {}, "misrule-injector"),
        ("chaos", {}, "chaos-misrule"),
        ("chaos", {"fullnameOverride": "mine"}, "mine"),
        ("chaos", {"nameOverride": "tool"}, "chaos-tool"),
        ("a-very-long-name-of-a-release-that-helm-just-takes-53", {}, None),
    ],
)
def test_names(release: str, values: Object, wanted: str | None) -> None:
    (service,) = of_kind(load(helm(values=values, release=release)), "Service")
    name = service["metadata"]["name"]
    assert len(name) <= 63
    assert name == (wanted or name)


def test_a_user_of_openshift_s_is_written_as_a_number() -> None:
    """Numbers of a values file are floats to Helm."""
    text = helm(values={"sidecar": {"runAsUser": 1000720000}})
    assert "--run-as-user=1000720000\n" in text


def test_the_chart_has_the_version_of_the_program() -> None:
    from proxy import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == __version__
