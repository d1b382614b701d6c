"""The presets: each file tells itself and holds rules that are named like it; HTTP/2's do what they say."""

import pytest
from h2.events import DataReceived, PingReceived, RemoteSettingsChanged
from h2.settings import SettingCodes

from rules.model import Rule
from rules.parse import parse_rules
from rules.presets import FOLDER, Preset, located, missing, names, preset, presets
from tests.house import ROOT
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

ALL = presets()
PROTOCOLS = ("dns", "tls", "http1", "http2", "grpc", "websocket", "tcp")
# https://github.com/grpc/grpc/blob/master/doc/negative-http2-interop-test-descriptions.md
CASES = {
    "goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams",
    "data_frame_padding", "no_df_padding_sanity",
}  # fmt: skip
BODY = message(bytes(314154))  # of 314159 bytes in all


def test_every_case_has_its_file() -> None:
    found = {name for name in names() if name.startswith("http2-")}
    assert found == {f"http2-{case.replace('_', '-')}" for case in CASES}


def rules_of(one: Preset) -> list[Rule]:
    return parse_rules(one.text.encode(), one.path)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_file_tells_itself(one: Preset) -> None:
    first, second, *rest = one.text.splitlines()
    assert first == f"# {one.rehearses}."
    assert len(one.rehearses) <= 75
    assert second == f"# Protocols: {', '.join(one.protocols)}"
    assert [name for name in PROTOCOLS if name in one.protocols] == list(one.protocols)
    assert rest[0].startswith("# ")


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_its_rules_are_named_like_it(one: Preset) -> None:
    rules = rules_of(one)
    assert [rule.name == one.name or rule.name.startswith(f"{one.name}-") for rule in rules] == [True] * len(
        rules
    )
    assert all(rule.faults and rule.description for rule in rules)
    assert len({rule.name for rule in rules}) == len(rules)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_it_names_the_protocols_that_its_rules_match(one: Preset) -> None:
    """Where each rule names protocols; gRPC calls and WebSockets come by HTTP/1.1 or HTTP/2."""
    matched = [rule.written.get("match", {}).get("protocol") for rule in rules_of(one)]
    if all(matched):
        named = {name for names in matched for name in names}
        assert named - {"websocket"} <= set(one.protocols) | {"http2"}
        assert set(one.protocols) - {"grpc", "websocket"} <= named


@pytest.mark.parametrize("name", names())
def test_each_is_run_by_a_test_with_a_real_client(name: str) -> None:
    word = name.removeprefix("http2-")
    tests = [
        ROOT / "tests/e2e" / file
        for file in ("test_presets.py", "test_tcp_databases.py", "grpc/test_presets.py")
    ]
    assert any(f'"{word}"' in file.read_text() for file in tests)


def test_names_and_paths() -> None:
    assert preset("retry-storm").path == located("preset:retry-storm")
    assert located("preset:retry-storm") == str(FOLDER / "retry-storm.yaml")
    assert located("rules/preset.yaml") == "rules/preset.yaml"
    assert missing("preset:retry-storm") == missing("retry-storm") == ""
    assert missing("preset:retri-storm") == 'there is no preset "retri-storm"; did you mean "retry-storm"?'
    assert missing("preset:../../x").endswith("`misrule presets` lists them")
    with pytest.raises(ValueError, match='there is no preset "x"'):
        preset("x")


async def called(name: str) -> tuple[Http2Stage, Peer, int]:
    """Make a call under a preset: a large answer, then OK."""
    _, _, rules = (FOLDER / f"http2-{name}.yaml").read_text().partition("\nrules:\n")
    on = Http2Stage(rules)
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    server.head(1, GRPC_OK)
    for start in range(0, len(BODY), 16000):
        if server.sync().reset(1) is None:
            server.say(1, BODY[start : start + 16000])
            client.sync()
    if server.sync().reset(1) is None:
        server.done(1)
    return on, client.sync(), sid


@pytest.mark.parametrize(
    ("name", "size"),
    [("rst-after-header", 0), ("rst-during-data", 157079), ("rst-after-data", len(BODY))],
)
async def test_resets(name: str, size: int) -> None:
    on, client, sid = await called(name)
    assert client.fields(sid)[":status"] == "200"
    assert len(client.body(sid)) == size
    on.timers.advance(0.02)  # a client is given the time to read what comes before the reset
    assert client.sync().reset(sid) == 0


def whole(client: Peer, sid: int) -> bool:
    return client.body(sid) == BODY and client.fields(sid)["grpc-status"] == "0" and client.ended(sid)


async def test_goaway() -> None:
    on, client, sid = await called("goaway")
    assert whole(client, sid)
    assert client.goaways() == [(1, 0, b"")]
    on.sweep(1)
    assert client.transport.ended
    second = on.peer()
    second.call(b"x")
    assert second.goaways() == []


async def test_ping() -> None:
    _, client, sid = await called("ping")
    assert whole(client, sid)
    kinds = [type(event).__name__ for event in client.events]
    places = [place for place, kind in enumerate(kinds) if kind == "PingReceived"]
    head, last = kinds.index("ResponseReceived"), kinds.index("StreamEnded")
    assert len(client.came(PingReceived)) == 4
    assert (places[1] < head, places[2] > head, places[3] > last) == (True, True, True)


async def test_max_streams() -> None:
    _, client, sid = await called("max-streams")
    assert whole(client, sid)
    changed = client.came(RemoteSettingsChanged)[-1].changed_settings
    assert changed[SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 1


@pytest.mark.parametrize(("name", "padding"), [("data-frame-padding", 256), ("no-df-padding-sanity", 0)])
async def test_padding(name: str, padding: int) -> None:
    _, client, sid = await called(name)
    assert whole(client, sid)
    frames = [event for event in client.came(DataReceived, sid) if event.data]
    assert {len(event.data) for event in frames} == {5, len(BODY) % 5}
    assert {event.flow_controlled_length - len(event.data) for event in frames} == {padding}
