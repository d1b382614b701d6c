"""The options of `misrule injector`."""

import pytest
from click.testing import CliRunner

from proxy.cli.injector import OPTIONS, injector, planned
from proxy.injector.life import BadOptions, plan
from proxy.injector.settings import Settings

DEFAULTS = {name.replace("-", "_"): default for name, _, default, _ in OPTIONS}


def test_the_defaults_are_those_of_the_settings() -> None:
    made = planned(DEFAULTS)
    assert made.settings == Settings()
    assert made.life == 90 * 86_400
    assert (made.native, made.listen) == ("auto", "[::]:8443")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("listen", "8443", "--listen: "),
        ("native_sidecar", "maybe", "--native-sidecar: expected auto, true or false"),
        ("certificate_life", "90d", "--certificate-life: expected a duration"),
        ("capture", "all", "--capture: expected none, inbound, outbound or both"),
        ("memory_limit", "64Mi", "--memory-request: 96Mi is above --memory-limit, 64Mi"),
        ("key", "tls.key", "--key: there is no --certificate"),
        ("service", "Bad_Name", "--service: expected a name"),
        ("image", "a b", "--image: expected an image"),
    ],
)
def test_options_that_cannot_be(option: str, value: str, says: str) -> None:
    with pytest.raises(BadOptions) as caught:
        plan({**DEFAULTS, option: value})
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(says)


def test_every_mistake_is_said_at_once() -> None:
    with pytest.raises(BadOptions) as caught:
        plan({**DEFAULTS, "listen": "x", "capture": "x", "cpu_limit": "x"})
    assert len(caught.value.lines) == 3


def test_the_help_names_every_option_and_its_variable() -> None:
    text = CliRunner().invoke(injector, ["--help"], terminal_width=200).output
    for name, _, _, _ in OPTIONS:
        assert f"--{name} " in text
        assert f"MISRULE_INJECTOR_{name.upper().replace('-', '_')}]" in text.replace("\n", "").replace(
            " ", ""
        )
