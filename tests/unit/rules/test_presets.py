"""The presets: each file is read, holds one rule that is named like it, and does to a call what it says."""

from pathlib import Path

import pytest
from h2.events import DataReceived, PingReceived, RemoteSettingsChanged
from h2.settings import SettingCodes

from rules.parse import parse_rules
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

FOLDER = Path(__file__).parents[3] / "rules" / "presets"
FILES = sorted(FOLDER.glob("*.yaml"))
# https://github.com/grpc/grpc/blob/master/doc/negative-http2-interop-test-descriptions.md
CASES = {
    "goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams",
    "data_frame_padding", "no_df_padding_sanity",
}  # fmt: skip
BODY = message(bytes(314154))  # of 314159 bytes in all


def test_every_case_has_its_file() -> None:
    found = {path.stem for path in FILES if path.stem.startswith("http2-")}
    assert found == {f"http2-{case.replace('_', '-')}" for case in CASES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_one_rule_of_its_name(path: Path) -> None:
    (rule,) = parse_rules(path.read_bytes(), path.name)
    assert rule.name == path.stem
    assert rule.faults


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
