"""The one door through which rule sets come into force, whoever asks: files, admin endpoint, time.

A change is asked for, compiled aside in slices between turns of the loop, and committed: one after the
other, so that each is made against the set that it replaces.  ``install`` then is one assignment.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.history import Asker, History, Names, describe
from proxy.logs import Log
from proxy.memory import FewCollections
from proxy.metrics.reloads import Reloads
from rules.snapshot import Snapshot
from rules.store import ADMIN, NOT_KEPT, Change, Refusal, Store

SLICE: Final = 0.005  # seconds of compiling between two turns of the loop
RULES: Final = 10  # compiled before the clock is looked at
EXPIRE_AGAIN: Final = 1.0  # seconds until rules are ended whose end went wrong

# Who asks where nobody does: files that are others than they were, and time.
FILES: Final = Asker("files", call="reload")
TIME: Final = Asker("ttl", call="expire")

Ask = Callable[[Store, float], Change | Refusal | None]  # the store, unix time; None: nothing to change


@dataclass(frozen=True)
class Done:
    """A change that was made, or with a dry run would have been."""

    before: Snapshot
    after: Snapshot
    dry_run: bool = False

    @property
    def added(self) -> list[str]:
        """Rules that were not there before."""
        return [name for name in self.after.by_name if name not in self.before.by_name]

    @property
    def removed(self) -> list[str]:
        """Rules that are gone."""
        return [name for name in self.before.by_name if name not in self.after.by_name]

    @property
    def changed(self) -> list[str]:
        """Rules that are written differently now."""
        return [
            name
            for name, rule in self.after.by_name.items()
            if name in self.before.by_name and _differ(rule.rule, self.before.by_name[name].rule)
        ]


def _differ(one: object, other: object) -> bool:
    return one is not other and getattr(one, "written", None) != getattr(other, "written", None)


class Changes:
    """Makes changes of the rules, one at a time, and ends rules whose ``ttl`` has passed."""

    def __init__(
        self,
        store: Store,
        install: Callable[[Snapshot], None],
        log: Log,
        clock: Callable[[], float] = time.time,
        history: History | None = None,
    ) -> None:
        self.store = store
        self.history = history  # None: nobody could ask for it
        self.reloads = Reloads()
        self._install = install
        self._log = log
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._expiry: asyncio.TimerHandle | None = None
        self._expiring: asyncio.Task[None] | None = None

    async def make(
        self, layer: str, ask: Ask, dry_run: bool = False, asker: Asker = FILES
    ) -> Done | Refusal | None:
        """Make a change, in force when this returns; counts it under its layer unless it is a dry run.

        With a state directory it is on disk by then.  It leaves one audit line.  What ``ask`` raises
        (it found mistakes) goes to the caller, counted as a refusal is.
        """
        try:
            async with self._one_at_a_time:
                with FewCollections():
                    done = await self._make(layer, ask, dry_run, asker)
        except Exception:
            if not dry_run:
                self.reloads.count(layer, False)
            raise
        if not dry_run and done is not None:
            self.reloads.count(layer, isinstance(done, Done))
        return done

    async def _make(self, layer: str, ask: Ask, dry_run: bool, asker: Asker) -> Done | Refusal | None:
        change = ask(self.store, self._clock())
        if not isinstance(change, Change):
            return change
        await _compile(change)
        done = Done(self.store.snapshot, change.snapshot, dry_run)
        if dry_run:
            return done
        names = (done.added, done.changed, done.removed)
        if self.history is not None:
            if not done.before.version:
                names = self.history.since(change.layers)  # the one before was in force before a restart
            why = await self.history.keep(describe(done.after, change.layers, layer, asker, names))
            self.reloads.unwritten += bool(why)
            if why and self.history.lasting and layer == ADMIN and asker is not TIME:
                # Files and time are what they are, written down or not; a caller can be told.
                return Refusal(NOT_KEPT, f"{why}; nothing was changed", self.store.version)
        after = self.store.commit(change)
        if isinstance(after, Refusal):
            return after
        self._plan_expiry()  # first: what goes wrong in putting rules in force must not keep them for good
        self._install(after)
        self._audit(done, asker, names)
        return done

    def _audit(self, done: Done, asker: Asker, names: Names) -> None:
        if asker is FILES and not done.before.version:
            return  # that is the start, and nobody's change
        added, changed, removed = map(len, names)
        self._log.audit(
            "audit",
            who=asker.who,
            client=asker.client,
            call=asker.call,
            version_before=done.before.version,
            version_after=done.after.version,
            **asker.what,
            added=added,
            changed=changed,
            removed=removed,
        )

    def close(self) -> None:
        """Stop ending rules by their time."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._expiring is not None:
            self._expiring.cancel()

    def _plan_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        moment = self.store.next_expiry()
        if moment:
            # Unix time may be set back: what comes too early is planned once more.
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(max(0.0, moment - self._clock()) + 0.001, self._begin_expiry)

    def _begin_expiry(self) -> None:
        self._expiry = None
        self._expiring = asyncio.get_running_loop().create_task(self._expire())

    async def _expire(self) -> None:
        try:
            done = await self.make(ADMIN, lambda store, now: store.expire(now), asker=TIME)
        except Exception as error:  # a rule whose time is over must end, if later
            self._log.event("error", "internal_error", call=TIME.call, error=repr(error))
            if self._expiry is None:
                self._expiry = asyncio.get_running_loop().call_later(EXPIRE_AGAIN, self._begin_expiry)
            return
        if isinstance(done, Done):
            self._log.event("info", "rules_expired", rules=done.removed, version=done.after.version)
        elif self._expiry is None:
            self._plan_expiry()


async def _compile(change: Change) -> None:
    """Compile to the end, giving way to the loop every few milliseconds.

    Compiling makes many objects that stay: the collector would walk all of them again and again (a set of
    10,000 rules stood still for 400 ms in one such walk), and find nothing.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        until = time.perf_counter() + SLICE
        while not change.step(RULES):
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + SLICE
    finally:
        if collecting:
            gc.enable()
