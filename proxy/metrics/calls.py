"""gRPC calls counted by service, method and the status that the client saw.

Names come from the path, which is the client's choice: a listener has cells for the first so many of them,
and one more for all others.  A call looks its cells up once; a request head that comes again keeps them.
"""

from typing import Final

from rules.reading import grpc_names

MOST_CALLS: Final = 500  # pairs of service and method of a listener with cells of their own
LONGEST_NAME: Final = 200  # bytes of a service, or of a method, that may be such a pair's

# What stands in ``statuses`` besides gRPC's own numbers: the last two, by their negative places.
NO_STATUS: Final = -1
BAD_STATUS: Final = -2
_KNOWN: Final = 17  # gRPC's statuses are 0 to 16
_PRINTABLE: Final = frozenset(range(0x21, 0x7F))


class CallCells:
    """What became of the calls of one method; ``statuses`` is indexed by status, NO_STATUS and BAD_STATUS."""

    __slots__ = ("method", "service", "statuses", "table")

    def __init__(self, table: "CallTable", service: str, method: str) -> None:
        self.table: CallTable = table
        self.service: str = service
        self.method: str = method
        self.statuses: list[int] = [0] * (_KNOWN + 2)


class CallTable:
    """The calls of one listener; ``other`` has those that get no cells of their own."""

    __slots__ = ("by_path", "other")

    def __init__(self) -> None:
        self.by_path: dict[bytes, CallCells] = {}
        self.other: CallCells = CallCells(self, "", "")

    def find(self, path: bytes) -> CallCells:
        """Give the cells of a path, ``/service/method``; made at its first call while there is room."""
        cells = self.by_path.get(path)
        if cells is not None:
            return cells
        names = grpc_names(path)
        if names is None or len(self.by_path) >= MOST_CALLS or not (_fit(names[0]) and _fit(names[1])):
            return self.other
        cells = CallCells(self, names[0].decode(), names[1].decode())
        self.by_path[path] = cells
        return cells


def _fit(name: bytes) -> bool:
    """Tell whether a name may be a label: printable ASCII of a decent length."""
    return len(name) <= LONGEST_NAME and _PRINTABLE.issuperset(name)


def status_of(value: bytes | None) -> int:
    """Read the grpc-status of trailers: 0 to 16, NO_STATUS where there is none, else BAD_STATUS."""
    if value is None:
        return NO_STATUS
    if value == b"0":
        return 0
    if len(value) > 2 or not value.isdigit():
        return BAD_STATUS
    status = int(value)
    return status if status < _KNOWN else BAD_STATUS
