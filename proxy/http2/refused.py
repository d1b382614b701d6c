"""The limits of a client's HTTP/2 connection, and the account of what was refused on it."""

from proxy import errors
from proxy.listener import Listener
from proxy.path import end
from proxy.wire.h2 import SERVER, H2Connection, H2Settings
from proxy.wire.h2_errors import ANSWERED, H2Error
from proxy.worker import Worker


def codec_for(listener: Listener) -> H2Connection:
    """Make the codec of a client's connection, with the limits of its listener."""
    settings = H2Settings(
        max_streams=listener.max_streams,
        max_header_list=listener.head_size,
        max_fields=listener.header_count,
        enable_connect_protocol=True,
    )
    return H2Connection(SERVER, settings)


def count_request(worker: Worker, listener: Listener, source: str, kind: str) -> None:
    """Account for a request that the codec has answered, or reset."""
    if kind in ANSWERED:
        end.refused(worker, listener, source, errors.refused_request(kind, 431, ""))
    else:
        worker.cells.failed(listener.name, "", kind)


def count_connection(worker: Worker, listener: Listener, source: str, error: H2Error) -> None:
    """Account for a connection that the codec has ended."""
    worker.cells.failed(listener.name, "", error.kind)
    worker.log.event(
        "info",
        "refused",
        message=error.text,
        kind=error.kind,
        code=error.code,
        listener=listener.name,
        client=source,
    )
