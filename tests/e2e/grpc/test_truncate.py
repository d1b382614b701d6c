"""truncate: a call whose stream ends in the middle of a message, without a status."""

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_alike import HEAD, alike, framed
from tests.support.grpc_calls import Rpc, ask
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import rule


def test_each_client(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    """Twenty bytes: a message of ten, and five of the next one."""
    real.play = lambda upstream, asked: upstream.answer(asked, 200, *HEAD[1:], body=framed(10, 500)[:25])
    seen = call(Rpc(real.address, "StreamingOutputCall", kind="server", fresh=True))
    assert seen.code not in ("OK", "")
    shop_of_calls.proxy.put(rule("cut", {"truncate": "25B"}))
    sizes = ask({"sizes": [10, 500, 500]})
    alike(seen, call(Rpc(shop_of_calls.address, "StreamingOutputCall", (sizes,), "server")), whole=1)
    assert shop_of_calls.proxy.injections(rule="cut", fault="truncate") == 1
