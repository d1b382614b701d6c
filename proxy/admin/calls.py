"""One call and its reply, as views see them."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from aiohttp.http import HttpVersion11
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from proxy.admin.problem import Refusal, mistake
from proxy.admin.seam import Proxy
from proxy.history import SOURCE
from rules.text import RulesError
from rules.text import read as read_text

BODY: Final = 1 << 20  # bytes
BODY_TIME: Final = 10.0  # seconds
SAFETY: Final = {  # headers of every answer
    "Server": "misrule",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

_TAG: Final = re.compile(r'"(0|[1-9][0-9]{0,14})"')  # an entity tag that a version can have

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


@dataclass
class Reply:
    """An answer that is whole."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A call that passed the guard."""

    proxy: Proxy
    request: BaseRequest
    params: dict[str, str]  # from the path
    body: bytes = b""
    who: str = ""
    peer: str = ""

    def flag(self, name: str) -> bool:
        """Read a query parameter that is true or false; raises Refusal for any other word."""
        value = self.request.rel_url.query.get(name, "false").lower()
        if value not in ("true", "false"):
            raise Refusal(400, "invalid-parameter", f"{name} is true or false, not {value[:40]!r}")
        return value == "true"

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Read a query parameter that is a whole number; raises Refusal."""
        text = self.request.rel_url.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
            raise Refusal(400, "invalid-parameter", f"{name} is a number from {low} to {high}")
        return int(text)

    @property
    def expected(self) -> int | None:
        """The version that ``If-Match`` asks for; None: any, -1: none can be right."""
        given = self._condition("If-Match")
        if given in ("", "*"):
            return None
        # RFC 9110 section 13.1.1: one of the tags must match as it is written, and a weak one never does.
        tags = [tag.strip() for tag in given.split(",")]
        now = self.proxy.changes.store.version
        if f'"{now}"' in tags:
            return now
        versions = [int(found[1]) for tag in tags if (found := _TAG.fullmatch(tag))]
        return versions[0] if versions else -1

    @property
    def only_there(self) -> bool:
        """``If-Match: *``: only what is there may be changed (RFC 9110 section 13.1.1)."""
        return self._condition("If-Match") == "*"

    @property
    def only_new(self) -> bool:
        """``If-None-Match: *``: only what is not there may be made (section 13.1.2); raises Refusal."""
        given = self._condition("If-None-Match")
        if given not in ("", "*"):
            text = "If-None-Match of a change is *, for what is not there yet; If-Match takes a version"
            raise Refusal(400, "invalid-header", text)
        return given == "*"

    def _condition(self, name: str) -> str:
        given = self.request.headers.getall(name, None)
        if given is None:
            return ""
        text = ",".join(given).strip()
        if not text:  # such as a shell writes it whose variable has no value: it must not mean any version
            raise Refusal(400, "invalid-header", f"{name} is empty; leave it out, or give a value")
        return text

    def read(self, kind: type[T]) -> T:
        """Read the body as JSON of a type; raises Refusal."""
        try:
            value = msgspec.json.decode(self.body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise Refusal(422, "invalid-body", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(400, "invalid-json", str(error)) from None
        self._check_keys()
        return value

    def _check_keys(self) -> None:
        """Refuse a key that is given twice, of which the decoder has silently taken the last."""
        try:
            if self.body:
                read_text(self.body, SOURCE).document.check()
        except RulesError as error:
            found = error.problems
            raise Refusal(422, "invalid-body", str(found[0]), errors=list(map(mistake, found))) from None

    def audit(self, before: int, after: int, **what: Any) -> None:
        """Leave the one line that each change leaves."""
        self.proxy.worker.log.audit(
            "audit",
            who=self.who,
            client=self.peer,
            call=f"{self.request.method} {self.request.path}",
            version_before=before,
            version_after=after,
            **what,
        )


View = Callable[[Call], Awaitable[Reply | StreamResponse]]


def reply(value: object, status: int = 200, version: int | None = None, **headers: str) -> Reply:
    """Answer with a value as JSON; ``version`` becomes the entity tag."""
    if version is not None:
        headers["ETag"] = f'"{version}"'
    return Reply(_encode(value), status, headers=headers)


async def read_body(request: BaseRequest) -> bytes:
    """Read the body, bounded in size and time; raises Refusal 413, 417 or 408."""
    too_large = Refusal(
        413, "body-too-large", f"bodies are at most {BODY} bytes", headers={"Connection": "close"}
    )
    if (request.content_length or 0) > BODY:
        raise too_large
    _meet_expectation(request)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIME):
            while piece := await request.content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > BODY:
                    raise too_large
    except TimeoutError:
        raise Refusal(
            408,
            "body-too-slow",
            f"the body took more than {BODY_TIME:.0f} s",
            headers={"Connection": "close"},
        ) from None
    return b"".join(pieces)


def _meet_expectation(request: BaseRequest) -> None:
    """Tell a client that waits with its body to send it (RFC 9110 section 10.1.1); raises Refusal 417.

    HTTP/1.0 has no such thing, and a request without a body nothing to wait for.
    """
    given = ",".join(request.headers.getall("Expect", [])).strip().lower()
    if not given or request.version < HttpVersion11:
        return
    if given != "100-continue":
        text = "the only expectation that is met is 100-continue"
        raise Refusal(417, "expectation", text, headers={"Connection": "close"})
    if request.body_exists and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
