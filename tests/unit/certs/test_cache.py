"""Leaves at hand: minted once for all who ask, bounded, renewed, off the event loop."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from certs import cache as module
from certs.authority import Authority
from certs.cache import LeafCache
from certs.errors import CertError
from certs.flavour import SOUND, Flavour
from certs.mint import KeyType, Leaf, Usage, mint


class Mints:
    """Stands where the mint does: counts, can be held up, can fail."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Flavour]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def __call__(
        self,
        authority: Authority,
        name: str,
        flavour: Flavour = SOUND,
        key: KeyType = "ecdsa",
        now: float | None = None,
        usage: Usage = "server",
    ) -> Leaf:
        self.made.append((name, flavour))
        self.threads.add(threading.get_ident())
        assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure
        return mint(authority, name, flavour, key, now, usage)


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def mints(monkeypatch: pytest.MonkeyPatch) -> Mints:
    mints = Mints()
    monkeypatch.setattr(module, "mint", mints)
    return mints


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def leaves(authority: Authority, mints: Mints, clock: Clock) -> AsyncIterator[LeafCache]:
    cache = LeafCache(authority, 4, clock=clock)
    yield cache
    mints.gate.set()
    cache.close()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_who_ask_at_once_cost_one_mint(leaves: LeafCache, mints: Mints) -> None:
    mints.gate.clear()
    asking = [asyncio.ensure_future(leaves.get("shop.example")) for _ in range(50)]
    await turn()
    mints.gate.set()
    assert len({id(leaf) for leaf in await asyncio.gather(*asking)}) == 1
    assert mints.made == [("shop.example", SOUND)]
    assert mints.threads == mints.threads - {threading.get_ident()}


async def test_peek_mints_nothing(leaves: LeafCache, mints: Mints) -> None:
    assert leaves.peek("shop.example") is None
    assert mints.made == []
    leaf = await leaves.get("shop.example")
    assert leaves.peek("shop.example") is leaf
    assert leaves.peek("SHOP.example.") is leaf
    assert leaves.peek("shop.example", Flavour("expired")) is None


async def test_names_that_mean_the_same_are_one(leaves: LeafCache, mints: Mints) -> None:
    same = [await leaves.get(name) for name in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example.")]
    assert len({id(leaf) for leaf in same}) == 1
    assert len(mints.made) == 1


async def test_flavours_are_kept_apart(leaves: LeafCache) -> None:
    found = {kind: await leaves.get("shop.example", Flavour(kind)) for kind in ("", "expired", "self_signed")}
    assert [leaf.flavour.kind for leaf in found.values()] == list(found)
    assert len({leaf.serial for leaf in found.values()}) == 3


async def test_it_is_bounded_and_the_longest_unused_goes_first(leaves: LeafCache) -> None:
    for name in ("a.example", "b.example", "c.example", "d.example"):
        await leaves.get(name)
    leaves.peek("a.example")
    await leaves.get("e.example")
    assert [leaf.name[0] for leaf in leaves.leaves()] == ["c", "d", "a", "e"]
    for number in range(100):
        await leaves.get(f"n{number}.example")
        assert len(leaves) <= 4


@pytest.mark.parametrize(
    "flavour", [SOUND, Flavour("expires_in", 3600.0), Flavour("not_yet_valid"), Flavour("revoked")]
)
async def test_leaves_are_renewed_in_time(flavour: Flavour, leaves: LeafCache, clock: Clock) -> None:
    first = await leaves.get("shop.example", flavour)
    clock.now = first.renew_at - 1
    assert await leaves.get("shop.example", flavour) is first
    clock.now = first.renew_at
    assert leaves.peek("shop.example", flavour) is None
    second = await leaves.get("shop.example", flavour)
    assert second.serial != first.serial
    assert second.renew_at > clock.now


async def test_a_failure_reaches_all_and_is_forgotten(leaves: LeafCache, mints: Mints) -> None:
    mints.failure = CertError("no")
    mints.gate.clear()
    asking = [asyncio.ensure_future(leaves.get("shop.example")) for _ in range(5)]
    await turn()
    mints.gate.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in found] == ["no"] * 5
    assert len(mints.made) == 1
    mints.failure = None
    assert (await leaves.get("shop.example")).name == "shop.example"


async def test_one_who_gives_up_takes_it_from_nobody(leaves: LeafCache, mints: Mints) -> None:
    mints.gate.clear()
    first, second = (asyncio.ensure_future(leaves.get("shop.example")) for _ in range(2))
    await turn()
    first.cancel()
    await turn()
    mints.gate.set()
    assert (await second).name == "shop.example"
    assert first.cancelled()
    assert len(mints.made) == 1


async def test_a_failure_that_nobody_waits_for_is_quiet(leaves: LeafCache, mints: Mints) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    mints.failure = CertError("no")
    mints.gate.clear()
    asking = asyncio.ensure_future(leaves.get("shop.example"))
    await turn()
    asking.cancel()
    await turn()
    mints.gate.set()
    mints.failure = None
    await leaves.get("other.example")  # behind it in the same thread
    gc.collect()
    assert told == []


async def test_clear_forgets_also_what_is_being_minted(leaves: LeafCache, mints: Mints) -> None:
    """Who asked before a rotation and gets an answer after it gets one of the new authority."""
    mints.gate.clear()
    asking = asyncio.ensure_future(leaves.get("shop.example"))
    await turn()
    leaves.clear()
    mints.gate.set()
    leaf = await asking
    assert len(mints.made) == 2
    assert leaves.leaves() == [leaf]


async def test_closing_ends_those_who_wait(leaves: LeafCache, mints: Mints) -> None:
    mints.gate.clear()
    first, second = (asyncio.ensure_future(leaves.get(name)) for name in ("a.example", "b.example"))
    await turn()
    leaves.close()
    with pytest.raises(CertError, match=r"b\.example: minting has ended"):
        await second
    mints.gate.set()
    with pytest.raises(CertError, match=r"a\.example: minting has ended"):
        await first


async def test_no_name_is_refused_at_once(leaves: LeafCache, mints: Mints) -> None:
    with pytest.raises(CertError, match="is neither a host name"):
        await leaves.get("no name")
    with pytest.raises(CertError, match="is neither a host name"):
        leaves.peek("no name")
    assert mints.made == []


async def test_too_many_who_wait_are_refused(
    leaves: LeafCache, mints: Mints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    mints.gate.clear()
    asking = [asyncio.ensure_future(leaves.get(name)) for name in ("a.example", "b.example")]
    await turn()
    with pytest.raises(CertError, match="2 others are being minted"):
        await leaves.get("c.example")
    mints.gate.set()
    await asyncio.gather(*asking)
    await leaves.get("c.example")


async def test_an_executor_of_the_caller_is_used_and_kept(authority: Authority) -> None:
    with ThreadPoolExecutor(1, "callers") as pool:
        cache = LeafCache(authority, executor=pool)
        await cache.get("shop.example")
        cache.close()
        assert pool.submit(threading.current_thread).result().name.startswith("callers")


async def test_the_event_loop_runs_on_while_minting(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """RSA keys, the slowest: of a second of minting the loop must not miss most; the stall is printed."""
    own = Authority.create(None)
    cache = LeafCache(own, key="rsa")
    done = asyncio.ensure_future(cache.get("shop.example"))
    begun = last = time.perf_counter()
    worst, turns = 0.0, 0
    while not done.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        worst, last, turns = max(worst, now - last), now, turns + 1
    await done
    cache.close()
    with capsys.disabled():
        print(f"\nminted in {(last - begun) * 1e3:.0f} ms; longest stall {worst * 1e3:.1f} ms")
    assert turns > 10
