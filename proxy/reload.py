"""Rule files that change come into force by themselves, and bad ones never do.

Directories are watched, not files: a rename replaces a file and would take the watch along.  What the watch
says is only that it is time to look; a look twice a second (80 µs) does the same where the watch sees nothing
(links that lead through other directories, network file systems, inotify used up).  Nothing is read before it
has been still for a moment, so that a file that is being written is not taken for whole.

Whatever is wrong (missing, empty, unreadable, mistakes) concerns the file layer as a whole: the last good
set stays, log, metrics and readiness say so, and the next look may find all well again.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from watchfiles import Change as FileChange
from watchfiles import awatch

from proxy.changes import Changes, Done
from proxy.logs import Log
from proxy.reader import read_documents
from proxy.rulefiles import SWAPPED, Contents, Listing, deleted, directories, is_rule_file, look, read_files
from rules.model import Place
from rules.params import BadValue
from rules.parse import RuleContext
from rules.store import Document, Refusal
from rules.text import Problem, RulesError

SETTLE: Final = 0.05  # seconds that files must be still before they are read
RESTLESS: Final = 20  # looks after which files that never become still are read all the same
POLL: Final = 0.5  # seconds between looks, also where a watch works: it may not see all
REWATCH: Final = 30.0  # seconds until a watch that failed is tried again
SET_UP: Final = 0.2  # seconds until a watch surely works
SHOWN: Final = 20  # problems in one log line

Stamps = dict[str, tuple[int, ...]]  # of the files that rules name; () where there is none
NOT_AS_READ: Final = (-1,)  # for what has changed since it was read: no look finds this stamp

Watch = Callable[[list[str], Callable[[str], bool], asyncio.Event], AsyncIterator[None]]


async def watch_directories(
    paths: list[str], concerns: Callable[[str], bool], stop: asyncio.Event
) -> AsyncIterator[None]:
    """Yield whenever something in the directories changed that concerns us, until ``stop`` is set."""

    def wanted(_change: FileChange, path: str) -> bool:
        return concerns(path)

    changes = awatch(*paths, watch_filter=wanted, debounce=200, step=100, stop_event=stop, recursive=False)
    async for _ in changes:
        yield


class Reloader:
    """Keeps the file layer as the files are.  ``start`` reads them first, then watches."""

    def __init__(
        self,
        paths: list[str],
        changes: Changes,
        log: Log,
        *,
        watch: Watch = watch_directories,
        settle: float = SETTLE,
        poll: float = POLL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._changes = changes
        self._log = log
        self._watch = watch
        self._settle = settle
        self._poll = poll
        self._clock = clock
        self._seen: Listing | None = Listing()  # what was looked at last; None: it must be read anew
        self._good = Listing()  # what is in force
        self._digest = b""  # of what was read last
        self._good_digest = b""
        self._bodies: Stamps = {}  # before the rules were read last, whether or not that went well
        self._good_bodies: Stamps = {}
        self._one_at_a_time = asyncio.Lock()
        self._wake = asyncio.Event()
        self._rewatch = asyncio.Event()
        self._watched: list[tuple[str, int]] = []
        self._blind_said = False
        self._tasks: list[asyncio.Task[None]] = []
        self._loading = True  # what is read is told later
        self._loaded: list[Done] = []

    async def start(self, tell: bool = True) -> None:
        """Read the rules for the first time and begin to watch; raises RulesError where they are not good.

        ``tell``: say so in the log at once; else ``tell_loaded`` does, when all else has started, too.
        """
        await self.load()
        if tell:
            self.tell_loaded()
        if self._paths:
            self._tasks = [asyncio.create_task(self._look_often()), asyncio.create_task(self._keep_watch())]

    async def load(self) -> None:
        """Read the rules for the first time; raises RulesError with every mistake."""
        listing = await asyncio.to_thread(look, self._paths)
        contents = await asyncio.to_thread(read_files, listing)
        problems = await self._bring_in_force(listing, contents)
        if problems:
            raise RulesError(problems)
        # What is written within one tick of the file system's clock has the same stamp: the first look reads
        # once more.  Later ones read what has been still for longer.
        self._seen = None
        self._changes.reloads.files_good(self._clock())

    def tell_loaded(self) -> None:
        """Say in the log what was read so far."""
        self._loading = False
        for done in self._loaded:
            self._tell(done)
        self._loaded = []

    async def reload(self) -> bool:
        """Read the files now, as SIGHUP asks: files that were deleted are let go.  True when all is well."""
        await self._look(asked=True)
        return self._changes.reloads.last_good

    async def close(self) -> None:
        """Stop watching."""
        self._rewatch.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _look_often(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._look()

    async def _look(self, asked: bool = False) -> None:
        """Look once, whatever that brings: no Task that does so may end by it."""
        try:
            await self._check(asked)
        except Exception as error:
            self._seen = None  # the next look reads anew: it may have been a want of memory
            self._digest = b""
            self._changes.reloads.files_bad([f"internal error: {error!r}"])
            self._log.event("error", "reload_failed", message=f"internal error: {error!r}")

    async def _check(self, asked: bool = False) -> None:
        """Look, and read what is new."""
        async with self._one_at_a_time:
            inodes, listing, bodies = await asyncio.to_thread(_glance, self._paths, list(self._bodies))
            if inodes != self._watched:
                self._rewatch.set()  # a directory was replaced, appeared or vanished
            if listing == self._seen and bodies == self._bodies and not asked:
                return
            listing = await self._still(listing)
            contents = await asyncio.to_thread(read_files, listing)
            if not asked:
                gone = tuple(deleted(self._good, listing))
                contents = Contents(contents.documents, contents.problems + gone)
            anew = asked or bodies != self._bodies
            self._seen, self._bodies = listing, bodies
            await self._take(listing, contents, anew)

    async def _still(self, listing: Listing) -> Listing:
        """Wait until two looks in a row find the same."""
        for _ in range(RESTLESS):
            await asyncio.sleep(self._settle)
            again = await asyncio.to_thread(look, self._paths)
            if again == listing:
                break
            listing = again
        return listing

    async def _take(self, listing: Listing, contents: Contents, anew: bool) -> None:
        """Bring what was read in force, unless it is what was read the last time."""
        digest = contents.digest
        good = digest == self._good_digest and self._bodies == self._good_bodies
        if digest == self._digest and not anew:
            if good:
                self._good = listing  # where ``..data`` points now: what is gone later is gone from there
            return
        self._digest = digest
        if good and not anew:
            self._good = listing
            self._well(None)
            return
        problems = await self._bring_in_force(listing, contents)
        if problems:
            self._bad(problems)

    async def _bring_in_force(self, listing: Listing, contents: Contents) -> list[Problem]:
        """Read, compile and install; gives what is wrong."""
        problems = list(contents.problems)
        if problems:
            self._changes.reloads.count("file", False)
            return problems
        try:
            read = await read_documents(contents.documents)
        except RulesError as error:
            self._changes.reloads.count("file", False)
            return error.problems
        documents = [
            Document(source, tuple(rules))
            for (source, _), rules in zip(contents.documents, read, strict=True)
        ]
        source = "files: " + (", ".join(self._paths) or "none")
        done = await self._changes.make(
            "file", lambda store, now: store.replace_files(documents, now, source)
        )
        if isinstance(done, Refusal):
            return [Problem(Place(""), "", text) for text in done.text.splitlines()]
        self._seen = self._good = listing
        self._digest = self._good_digest = contents.digest
        self._bodies = self._good_bodies = await asyncio.to_thread(_stamps_as_read, documents)
        self._well(done)
        return []

    def _well(self, done: Done | None) -> None:
        self._changes.reloads.files_good(self._clock())
        if done is None:
            message = "the rule files are good again, as they are in force"
            self._log.event("info", "rules_good_again", message=message, version=self._changes.store.version)
        elif self._loading:
            self._loaded.append(done)
        else:
            self._tell(done)

    def _tell(self, done: Done) -> None:
        self._log.event(
            "info",
            "rules_reloaded" if done.before.version else "rules_loaded",
            version=done.after.version,
            rules=len(done.after.by_name),
            added=len(done.added),
            changed=len(done.changed),
            removed=len(done.removed),
        )

    def _bad(self, problems: list[Problem]) -> None:
        texts = [str(problem) for problem in problems]
        self._changes.reloads.files_bad(texts)
        version = self._changes.store.version
        count = f"{len(texts)} problem{'s' if len(texts) != 1 else ''}"
        self._log.event(
            "error",
            "rules_reload_failed",
            message=f"the rule files have {count}; version {version} stays in force: {texts[0]}",
            version=version,
            problems=texts[:SHOWN],
        )

    def _concerns(self, path: str) -> bool:
        name = os.path.basename(path)
        return name == SWAPPED or is_rule_file(name) or any(os.path.basename(p) == name for p in self._paths)

    async def _keep_watch(self) -> None:
        while True:
            self._rewatch.clear()
            try:
                self._watched = await asyncio.to_thread(_inodes, self._paths)
                homes = [path for path, _ in self._watched]
                if not homes:
                    raise FileNotFoundError("there is no directory to watch")
                self._wake.set()  # what changed while nobody watched, and while the watch is being set up
                asyncio.get_running_loop().call_later(SET_UP, self._wake.set)
                async for _ in self._watch(homes, self._concerns, self._rewatch):
                    self._blind_said = False
                    self._wake.set()
            except Exception as error:  # watchfiles wraps what its watcher says in an ExceptionGroup
                self._go_blind(_reason(error))
                await self._wait_to_rewatch()

    def _go_blind(self, why: str) -> None:
        if not self._blind_said:
            self._blind_said = True
            self._log.event(
                "warning",
                "watching_by_polling",
                message=f"rule files cannot be watched ({why}): they are looked at every {self._poll} s",
            )

    async def _wait_to_rewatch(self) -> None:
        try:
            async with asyncio.timeout(REWATCH):
                await self._rewatch.wait()
        except TimeoutError:
            pass


def _reason(error: BaseException) -> str:
    """Say in one line what an error is, the first of several."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or repr(error)


def _glance(paths: list[str], bodies: list[str]) -> tuple[list[tuple[str, int]], Listing, Stamps]:
    """Look at everything once: the directories to watch, the rule files, the files that rules name."""
    return _inodes(paths), look(paths), _stamps(bodies)


def _inodes(paths: list[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for path in directories(paths):
        try:
            found.append((path, os.stat(path).st_ino))
        except OSError:
            continue
    return found


def _stamps(paths: list[str]) -> Stamps:
    return {path: found.stamp for path in paths for found in look([path]).files}


def _stamps_as_read(documents: list[Document]) -> Stamps:
    """Stamp the files that rules take answers from, which stand beside the rule file.

    Reading and compiling take a while: a file that has changed since then, and would look as if that had been
    read, gets a stamp by which the next look reads it.
    """
    read = {
        (document.source, path, sha256)
        for document in documents
        for rule in document.rules
        for path, sha256 in rule.files
    }
    where = {named: os.path.join(os.path.dirname(named[0]), named[1]) for named in read}
    stamps = _stamps(list(where.values()))  # first: what changes after it has another one
    return stamps | {path: NOT_AS_READ for named, path in where.items() if not _is_as_read(*named)}


def _is_as_read(source: str, path: str, sha256: str) -> bool:
    context = RuleContext(source, api=False)
    with suppress(BadValue):
        context.read_file(path)
    return context.files == [(path, sha256)]
