"""The end of a stream behind what waits for the peer's window: nothing is dropped, all is bounded."""

import pytest

from tests.support.h2_stage import Http2Stage, Peer

WINDOW = 65_535


def rule(at: str, side: str) -> str:
    fault = f"reset: {{at: {at}, after_bytes: 80000B, code: INTERNAL_ERROR, side: {side}}}"
    return f"  - {{name: r, faults: [{fault}]}}\n"


async def uploading(side: str) -> tuple[Http2Stage, Peer, int]:
    """Reset an upload that has sent more than its upstream lets in; gives the upstream, and its stream."""
    on = Http2Stage("")
    client = on.peer()
    client.ask()
    server = await on.both(client)
    server.head(1, [(":status", "204")], end=True)
    server.credit = False
    on.change_rules(rule("request_body", side))
    sid = client.ask(end=False)
    for _ in range(6):
        if client.sync().reset(sid) is None and not client.ended(sid):
            client.say(sid, bytes(15_000))
            server.sync()
    if side == "client":
        assert client.sync().reset(sid) == 2
    else:
        assert client.sync().fields(sid)[":status"] == "502"
    assert (len(server.body(3)), server.reset(3)) == (WINDOW, None)
    return on, server, 3


CODES = [("client", 8), ("upstream", 2)]


@pytest.mark.parametrize(("side", "code"), CODES)
async def test_what_passed_arrives_before_the_reset(side: str, code: int) -> None:
    _, server, sid = await uploading(side)
    server.h2.acknowledge_received_data(WINDOW, sid)
    server.sync()
    assert (len(server.body(sid)), server.reset(sid)) == (80_000, code)


@pytest.mark.parametrize(("side", "code"), CODES)
async def test_an_upstream_that_takes_nothing_is_not_waited_for(side: str, code: int) -> None:
    on, server, sid = await uploading(side)
    on.sweep(4)
    assert server.sync().reset(sid) is None
    on.sweep(2)
    assert (len(server.sync().body(sid)), server.reset(sid)) == (WINDOW, code)


@pytest.mark.parametrize("late", [False, True])
async def test_an_upstream_that_ends_the_stream_itself(late: bool) -> None:
    """Whatever it still says on it harms nobody."""
    on, server, sid = await uploading("client")
    if late:
        server.head(sid, [(":status", "200")])
        server.say(sid, b"too late")
    server.h2.reset_stream(sid)
    server.sync()
    on.sweep(6)
    assert server.sync().reset(sid) is None
    client = on.peer()
    client.ask()
    assert len((await on.both(client)).requests()) == 3


async def test_a_client_that_reads_nothing_is_not_waited_for() -> None:
    on = Http2Stage(rule("response_body", "client"))
    client = on.peer(credit=False)
    sid = client.ask()
    server = await on.both(client)
    server.head(1, [(":status", "200")])
    for _ in range(6):
        if server.sync().reset(1) is None:
            server.say(1, bytes(16_000))
    assert (len(client.sync().body(sid)), client.reset(sid)) == (WINDOW, None)
    on.sweep(6)
    assert client.sync().reset(sid) == 2
