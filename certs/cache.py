"""The leaves that were minted: bounded, one mint at a time for each, off the event loop."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Final

from certs.authority import Authority
from certs.errors import CertError
from certs.flavour import SOUND, Flavour
from certs.mint import KeyType, Leaf, mint
from certs.names import canonical

MOST: Final = 1024  # leaves of about 3 KiB each
MOST_WAITING: Final = 4096  # mints that may be asked for and not yet be made

_Key = tuple[str, Flavour]


class LeafCache:
    """Leaves by name and flavour; the one that was used longest ago leaves first.

    It belongs to one event loop.  Without an ``executor`` it has one thread of its own, which ``close`` ends.
    ``clock`` gives seconds of the epoch.
    """

    def __init__(
        self,
        authority: Authority,
        most: int = MOST,
        executor: Executor | None = None,
        *,
        key: KeyType = "ecdsa",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.authority = authority
        self.minted = 0  # leaves made so far
        self._most = most
        self._executor = executor or ThreadPoolExecutor(1, "mint")
        self._owned = executor is None
        self._key_type: KeyType = key
        self._clock = clock
        self._leaves: OrderedDict[_Key, Leaf] = OrderedDict()
        self._closed = False
        self._era = 0  # counts what ``clear`` has ended
        self._minting: dict[_Key, asyncio.Future[Leaf]] = {}

    def __len__(self) -> int:
        return len(self._leaves)

    def leaves(self) -> list[Leaf]:
        """List what is held, longest unused first."""
        return list(self._leaves.values())

    def peek(self, name: str, flavour: Flavour = SOUND) -> Leaf | None:
        """Give a leaf that is at hand and not to be renewed yet; mints nothing.

        ``name`` in its canonical form is found at once; any other is made so.
        Raises CertError for what is no name.
        """
        leaf = self._leaves.get((name, flavour))
        if leaf is None:
            name = canonical(name)
            leaf = self._leaves.get((name, flavour))
        if leaf is None or self._clock() >= leaf.renew_at:
            return None
        self._leaves.move_to_end((name, flavour))
        return leaf

    async def get(self, name: str, flavour: Flavour = SOUND) -> Leaf:
        """Give a leaf, minted where there is none.

        Who asks for one that is being minted waits for it.  Raises CertError: for what is no name, when too
        many wait, and to all who wait for a mint that fails; the next one tries again.
        """
        key = (canonical(name), flavour)
        while True:
            leaf = self.peek(*key)
            if leaf is not None:
                return leaf
            era = self._era
            minting = self._minting.get(key)
            if minting is None:
                minting = self._start(key)
            try:
                leaf = await asyncio.shield(minting)  # one who gives up does not take it from the others
            except asyncio.CancelledError:
                if minting.cancelled():
                    raise CertError(f"no certificate for {key[0]}: minting has ended") from None
                raise
            if era == self._era:
                return leaf

    def _start(self, key: _Key) -> "asyncio.Future[Leaf]":
        if len(self._minting) >= MOST_WAITING:
            raise CertError(f"no certificate for {key[0]}: {MOST_WAITING} others are being minted")
        if self._closed:
            raise CertError(f"no certificate for {key[0]}: minting has ended")
        make = partial(mint, self.authority, *key, self._key_type, self._clock())
        minting = asyncio.get_running_loop().run_in_executor(self._executor, make)
        self._minting[key] = minting
        minting.add_done_callback(partial(self._minted, key, self._era))
        return minting

    def _minted(self, key: _Key, era: int, minting: "asyncio.Future[Leaf]") -> None:
        """Keep what was minted, unless all was forgotten meanwhile; a failure is told to those who wait."""
        failed = minting.cancelled() or minting.exception() is not None
        if era != self._era:
            return
        del self._minting[key]
        if failed:
            return
        self.minted += 1
        self._leaves[key] = minting.result()
        self._leaves.move_to_end(key)
        while len(self._leaves) > self._most:
            self._leaves.popitem(last=False)

    def clear(self) -> None:
        """Forget all, as after a rotation: nobody who asks from now on gets a leaf from before."""
        self._era += 1
        self._leaves.clear()
        self._minting.clear()

    def close(self) -> None:
        """Mint no more, and end the thread once the mint under way is done; who waits gets CertError."""
        self.clear()
        self._closed = True
        if self._owned:
            self._executor.shutdown(wait=False, cancel_futures=True)
