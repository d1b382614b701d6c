"""What a fault may ask of the proxy for messages as a whole: the rest of the list in ``rules.actions``."""

from typing import Final

from mypy_extensions import mypyc_attr

from rules.actions import Action
from rules.body_actions import Drip
from rules.json_path import Step

MOST: Final = 1 << 20  # bytes of a body that is held so that a fault can act on all of it

# Why a message was left alone that a fault was chosen for: the label `reason` of a metric, and a log line.
TOO_LARGE: Final = "too_large"  # a body of more than MOST bytes, as it came or unpacked
TOO_SLOW: Final = "too_slow"  # a body that was not complete in time
STREAMING: Final = "streaming"  # a call of several messages, a stream of events
NO_BODY: Final = "no_body"  # a message that cannot have a body
NOT_JSON: Final = "not_json"
NO_PLACE: Final = "no_place"  # a JSON path that leads nowhere
CODING: Final = "unknown_coding"  # a content-encoding other than gzip and deflate
BAD_CODING: Final = "bad_coding"  # content that is not what content-encoding says
PARTIAL: Final = "partial"  # a part of a body (206)
GRPC_BODY: Final = "grpc_body"  # messages of a gRPC call
TUNNEL: Final = "tunnel"  # a change that would take a switch of protocols apart
HEAD_REQUEST: Final = "head_request"  # another method for HEAD, whose answer has no body
BAD_HEAD: Final = "bad_head"  # what would come of it is no valid head


class JsonEdit:
    """One value in a JSON text, by its path, and what to put there (JSON, as it is written)."""

    __slots__ = ("steps", "value")

    def __init__(self, steps: list[Step], value: str) -> None:
        self.steps: list[Step] = steps
        self.value: str = value


class BodyEdit:
    """What becomes of a body: another one, or the same with other values and more behind it.

    ``kind`` is the content-type that ``replace`` brings, b"": that of the message stays.
    """

    __slots__ = ("append", "json", "kind", "replace")

    def __init__(self, replace: bytes | None, kind: bytes, json: list[JsonEdit], append: bytes) -> None:
        self.replace: bytes | None = replace
        self.kind: bytes = kind
        self.json: list[JsonEdit] = json
        self.append: bytes = append


class MessageEdit:
    """What becomes of one message.  Names are lower-case; ``set`` takes the place of all lines of its names.

    ``status`` 0, ``method`` and ``path`` b"": as they came.  A path without a query leaves that as it came.
    """

    __slots__ = ("add", "body", "method", "path", "remove", "set", "status")

    def __init__(self) -> None:
        self.set: list[tuple[bytes, bytes]] = []
        self.add: list[tuple[bytes, bytes]] = []
        self.remove: list[bytes] = []
        self.status: int = 0
        self.method: bytes = b""
        self.path: bytes = b""
        self.body: BodyEdit | None = None


@mypyc_attr(allow_interpreted_subclasses=True)
class MessageAction(Action):
    """One that acts on a message before its head goes on, and may have to wait for all of its body."""

    __slots__ = ()


class Rewrite(MessageAction):
    """Change the request, the answer, or each."""

    __slots__ = ("request", "response")

    def __init__(self, request: MessageEdit | None, response: MessageEdit | None) -> None:
        self.request: MessageEdit | None = request
        self.response: MessageEdit | None = response


class Duplicate(MessageAction):
    """Send the request ``times`` times in all; the client gets the answer to the first."""

    __slots__ = ("times",)

    def __init__(self, times: int) -> None:
        self.times: int = times


class DripHead(MessageAction):
    """Let the head of the phase's message pass in pieces."""

    __slots__ = ("drip",)

    def __init__(self, drip: Drip) -> None:
        self.drip: Drip = drip
