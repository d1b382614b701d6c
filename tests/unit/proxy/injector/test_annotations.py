"""Annotations: each is read, and what cannot be read says what would be right."""

import json
from typing import Any

import pytest

from proxy.injector import review
from proxy.injector.annotations import ANNOTATIONS, OURS, Wishes, read_wishes
from proxy.injector.settings import Settings
from tests.house import ROOT
from tests.support import kubernetes
from tests.unit.proxy.test_cli import run


def read(**annotations: str) -> tuple[Wishes, list[str]]:
    warnings: list[str] = []
    given = {f"misrule.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return read_wishes(given, {}, Settings(), warnings), warnings


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("inject", "false", False),
        ("ports", "8080:3000", ((8080, 3000, "auto"),)),
        ("ports", " 8080:3000/http,5432:15432/tcp ", ((8080, 3000, "http"), (5432, 15432, "tcp"))),
        ("ports", "80:8080\n443:8080/http2", ((80, 8080, "auto"), (443, 8080, "http2"))),
        ("capture", "both", "both"),
        ("include_inbound_ports", "*", ()),
        ("include_inbound_ports", "80,443,80,8000-8010", ("80", "443", "8000-8010")),
        ("exclude_outbound_ports", "5671 5672", ("5671", "5672")),
        (
            "include_outbound_cidrs",
            "10.0.0.0/8,fd00::/8,192.0.2.1",
            ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32"),
        ),
        ("rules", "shop-rules.v2", "shop-rules.v2"),
        ("admin_port", "19905", 19905),
        ("cpu_request", "0.25", "0.25"),
        ("memory_limit", "1.5Gi", "1.5Gi"),
        (
            "image",
            "registry.example:5000/a/misrule:1@sha256:ab",
            "registry.example:5000/a/misrule:1@sha256:ab",
        ),
        ("native_sidecar", "false", False),
        ("run_as_user", "2102", 2102),
        ("run_as_user", "none", None),
    ],
)
def test_what_is_read(name: str, value: str, wanted: object) -> None:
    wishes, warnings = read(**{name: value})
    assert (getattr(wishes, name), warnings) == (wanted, [])
    assert wishes.asked


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("inject", "yes", 'expected true or false, got "yes"'),
        ("ports", "", "expected PROXY:APP such as 8080:3000"),
        ("ports", "8080", "expected PROXY:APP such as 8080:3000"),
        ("ports", "8080:http", 'a port is a number from 1 to 65535, got "http"'),
        ("ports", "0:3000", "a port is a number from 1 to 65535"),
        ("ports", "8080:70000", "a port is a number from 1 to 65535"),
        ("ports", "8080:3000/udp", "auto, http, http1, http2, tcp behind the slash"),
        ("ports", "8080:3000/", 'behind the slash, got ""'),
        ("ports", "8080:3000,8080:3001", "port 8080 is given twice"),
        ("ports", "8080:8080", "port 8080 is the proxy's and the application's"),
        ("ports", "8080:9090,9090:3000", "port 9090 is the proxy's and the application's"),
        ("capture", "inbuond", 'did you mean "inbound"?'),
        ("exclude_inbound_ports", "*", "a port is a number from 1 to 65535"),
        ("include_inbound_ports", "", "expected ports such as 8080,9000-9010 or *"),
        ("include_inbound_ports", "9010-9000", "ends before it begins"),
        ("include_inbound_ports", "9000-", "a port is a number from 1 to 65535"),
        ("include_outbound_cidrs", "10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("include_outbound_cidrs", "example.org", "expected networks such as 10.0.0.0/8,fd00::/8"),
        ("rules", "Shop_Rules", "expected the name of a ConfigMap"),
        ("rules", "default/shop", "expected the name of a ConfigMap"),
        ("health_port", "0", "a port is a number from 1 to 65535"),
        ("log_level", "warn", 'did you mean "warning"?'),
        ("cpu_limit", "lots", "expected an amount of CPU such as 50m or 0.5"),
        ("memory_limit", "1GB", "expected an amount of memory such as 96Mi or 1Gi"),
        ("image", "a b", "expected an image such as"),
        ("image_pull_policy", "always", 'did you mean "Always"?'),
        ("run_as_user", "0", "(never 0)"),
        ("run_as_user", "root", "expected a user number such as 1337, or none"),
        ("init_order", "middle", "expected last or first"),
        ("rule", "shop", "unknown annotation; did you mean misrule.dev/rules?"),
        ("zzz", "1", "unknown annotation; docs/kubernetes.md has all"),
    ],
)
def test_what_cannot_be_read_says_what_would_be_right(name: str, value: str, says: str) -> None:
    wishes, warnings = read(**{name: value})
    assert len(warnings) == 1
    assert warnings[0].startswith(f"misrule.dev/{name.replace('_', '-')}: ")
    assert says in warnings[0]
    if name in Wishes.__struct_fields__:  # as if it had not been given
        assert getattr(wishes, name) == getattr(read()[0], name)


def test_ours_are_no_wishes() -> None:
    wishes, warnings = read(status="{}", config="{}")
    assert (wishes.asked, warnings) == (False, [])


def test_every_annotation_is_a_wish_and_stands_on_the_page() -> None:
    assert {name.replace("-", "_") for name in ANNOTATIONS} <= set(Wishes.__struct_fields__)
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    assert [name for name in (*ANNOTATIONS, *OURS) if f"`misrule.dev/{name}`" not in page] == []


def arguments(**annotations: str) -> list[str]:
    """The arguments of the init container that captures."""
    given = {f"misrule.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    pod: dict[str, Any] = {
        "metadata": {"annotations": given},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    asked = review.read(json.dumps(kubernetes.review(pod)).encode())
    made = kubernetes.patched(pod, json.loads(review.answer(asked, Settings()).body))
    first, second = made["spec"]["initContainers"]
    assert (first["name"], second["name"]) == ("misrule-capture", "misrule")
    found: list[str] = first["args"]
    return found


def test_capture_never_takes_our_own_ports() -> None:
    found = arguments(capture="inbound", ports="8080:3000", health_port="9916", exclude_inbound_ports="22")
    assert "--own-ports=9905,9916,8080" in found
    assert "--exclude-inbound-ports=22" in found
    assert not [one for one in found if "outbound" in one]


def test_the_command_takes_what_the_init_container_gives_it() -> None:
    chosen = {
        f"{verb}_{direction}_{what}": given
        for verb in ("include", "exclude")
        for direction in ("inbound", "outbound")
        for what, given in (("ports", "80,8000-8010"), ("cidrs", "10.0.0.0/8"))
        if f"{verb}-{direction}-{what}" in ANNOTATIONS
    }
    for words in (arguments(capture="both", **chosen), arguments(capture="both", include_inbound_ports="*")):
        code, out, err = run(*words, "--dry-run", "--tool", "nft")
        assert (code, err) == (0, "")
        assert "redirect to :15106" in out
        assert "redirect to :15101" in out


def test_a_warning_is_one_line_that_a_header_can_carry() -> None:
    pod = {
        "metadata": {"annotations": {"misrule.dev/image": "a\r\nb: c " + "x" * 900}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    asked = review.read(json.dumps(kubernetes.review(pod)).encode())
    for text in json.loads(review.answer(asked, Settings()).body)["response"]["warnings"]:
        assert text.isprintable()
        assert len(text) <= 256
