"""One call and its reply, as views see them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from proxy.admin.problem import Refusal
from proxy.admin.seam import Proxy

BODY: Final = 1 << 20  # bytes
BODY_TIME: Final = 10.0  # seconds

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
        given = ",".join(self.request.headers.getall("If-Match", []))
        if not given or given.strip() == "*":
            return None
        # RFC 9110 section 13.1.1: one of the tags must match, and a weak one never does.
        tags = [tag.strip() for tag in given.split(",")]
        versions = [int(tag[1:-1]) for tag in tags if tag[:1] == tag[-1:] == '"' and tag[1:-1].isdecimal()]
        now = self.proxy.changes.store.version
        return now if now in versions else (versions[0] if versions else -1)

    def read(self, kind: type[T]) -> T:
        """Read the body as JSON of a type; raises Refusal."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise Refusal(422, "invalid-body", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(400, "invalid-json", str(error)) from None

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
    """Read the body, bounded in size and time; raises Refusal 413 or 408."""
    too_large = Refusal(
        413, "body-too-large", f"bodies are at most {BODY} bytes", headers={"Connection": "close"}
    )
    if (request.content_length or 0) > BODY:
        raise too_large
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
