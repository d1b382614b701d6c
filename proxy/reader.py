"""Reading rule documents without stalling traffic: small ones here, large ones in a helper process.

YAML takes 30 to 100 µs of Python per rule and holds the loop all the while; a thread would not help.
So a large set is read by ``python -m proxy.reader``: it gets the documents on its standard input, finds
every mistake with its place, and gives back plain values.  What is left for the loop is to build the rules
from values known to be good, a few at a time.
"""

import asyncio
import os
import sys
import time
from dataclasses import replace
from typing import Any, Final

import msgspec

from proxy.memory import FewCollections
from rules.model import Place, Rule
from rules.parse import parse_rule, parse_rules
from rules.text import Problem, RulesError, looks_like_json

LARGE: Final = 64 << 10  # bytes of JSON, of all documents together, from which on the helper reads
YAML: Final = 4  # a byte of YAML counts so many times: it takes 1 to 2 ms a KiB, JSON less than half of one
PATIENCE: Final = 30.0  # seconds that the helper may take
SLICE: Final = 0.005  # seconds of building rules between two turns of the loop

Documents = tuple[tuple[str, bytes], ...]  # (source, text)


class Read(msgspec.Struct, array_like=True):
    """What the helper gives back for one document: rules as plain values with their places, or problems."""

    rules: list[tuple[Any, int, int]] = []
    problems: list[tuple[int, int, str, str]] = []  # line, column, path, message


class HelperFailed(Exception):
    """The helper could not be started or died."""


async def read_documents(documents: Documents, api: bool = False, large: int = LARGE) -> list[list[Rule]]:
    """Read documents to rules, in order; raises RulesError with the problems of all of them.

    ``api``: they came over the admin endpoint, see ``rules.parse``.  The loop is not held for longer than a
    few milliseconds at a time.
    """
    if sum(len(data) * (1 if looks_like_json(data) else YAML) for _, data in documents) < large:
        return read_here(documents, api)
    with FewCollections():
        return await _read_large(documents, api)


async def _read_large(documents: Documents, api: bool) -> list[list[Rule]]:
    try:
        found = await _read_in_helper(documents, api)
    except HelperFailed:
        # No process to be had (limits, memory): a thread at least shares the interpreter fairly.
        return await asyncio.to_thread(read_here, documents, api)
    pairs = [(read, source) for read, (source, _) in zip(found, documents, strict=True)]
    problems = [
        Problem(Place(source, line, column), path, message)
        for read, source in pairs
        for line, column, path, message in read.problems
    ]
    if problems:
        raise RulesError(problems)
    return [await _build(read, source, api) for read, source in pairs]


def read_here(documents: Documents, api: bool = False) -> list[list[Rule]]:
    """Read documents at once, in this thread."""
    read: list[list[Rule]] = []
    problems: list[Problem] = []
    for source, data in documents:
        try:
            read.append(parse_rules(data, source, api))
        except RulesError as error:
            problems += error.problems
    if problems:
        raise RulesError(problems)
    return read


async def _build(read: Read, source: str, api: bool) -> list[Rule]:
    """Build rules from values that the helper found good, giving way to the loop in between."""
    rules: list[Rule] = []
    until = time.perf_counter() + SLICE
    for value, line, column in read.rules:
        rules.append(replace(parse_rule(value, source, api), place=Place(source, line, column)))
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE
    return rules


async def _read_in_helper(documents: Documents, api: bool) -> list[Read]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    pipe = asyncio.subprocess.PIPE
    try:
        helper = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy.reader", stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
    except OSError as error:
        raise HelperFailed(str(error)) from error
    # A name that is not UTF-8 is of no use to the helper: the problems get theirs back here.
    sent = [(source.encode("utf-8", "replace"), data) for source, data in documents]
    try:
        async with asyncio.timeout(PATIENCE):
            output, noise = await helper.communicate(msgspec.msgpack.encode((api, sent)))
    except TimeoutError:
        too_long = f"reading took more than {PATIENCE:.0f} seconds"
        raise RulesError([Problem(Place(documents[0][0]), "", too_long)]) from None
    finally:
        if helper.returncode is None:
            helper.kill()
            await helper.wait()
    if helper.returncode != 0:
        raise HelperFailed(noise.decode(errors="replace").strip()[-500:])
    return msgspec.msgpack.decode(output, type=list[Read])


def _read_one(source: str, data: bytes, api: bool) -> Read:
    try:
        rules = parse_rules(data, source, api)
    except RulesError as error:
        return Read(problems=[(p.place.line, p.place.column, p.path, p.message) for p in error.problems])
    return Read(rules=[(rule.written, rule.place.line, rule.place.column) for rule in rules])


def main() -> None:
    """Be the helper: documents from standard input, what was read to standard output."""
    os.nice(10)  # traffic comes first, also on one core
    api, documents = msgspec.msgpack.decode(
        sys.stdin.buffer.read(), type=tuple[bool, list[tuple[bytes, bytes]]]
    )
    read = [_read_one(source.decode(), data, api) for source, data in documents]
    sys.stdout.buffer.write(msgspec.msgpack.encode(read))


if __name__ == "__main__":
    main()
