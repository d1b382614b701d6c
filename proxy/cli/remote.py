"""The admin endpoint as commands see it: one call at a time over http.client.

Everything that can go wrong becomes ``Failed`` with one line that says what and what to try.
"""

import http.client
import json
import socket
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from proxy.cli.exits import Failed, reason

ADMIN: Final = "127.0.0.1:9905"
TIMEOUT: Final = 30.0  # seconds; a set of 10,000 rules is compiled in less

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Refused(Failed):
    """The endpoint answered with an error."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(*lines)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


class Answer:
    """What the endpoint said: the status, the value (JSON) and the entity tag without quotes."""

    def __init__(self, status: int, value: Any, etag: str) -> None:
        self.status = status
        self.value = value
        self.etag = etag


class Admin:
    """The admin endpoint of a running proxy."""

    def __init__(self, address: str = ADMIN, token_file: str = "") -> None:
        given = address.removeprefix("http://").rstrip("/")
        # `:9905`, as `misrule run` takes it, is every address of this machine: loopback is one of them.
        self.address = f"127.0.0.1{given}" if given.startswith(":") else given
        self._token = _read_token(token_file)

    def call(
        self,
        method: str,
        path: str,
        value: object = None,
        *,
        data: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Call once; ``value`` is sent as JSON, ``data`` as it is.

        Raises Failed when nobody answers, Refused for an answer of 400 or more.
        """
        sent = dict(headers or {})
        body = data or None
        if value is not None:
            body = json.dumps(value).encode()
            sent["content-type"] = "application/json"
        if self._token:
            sent["authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(self._unreachable(error)) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(response.status, *_problem_lines(response.status, response.reason, text))
        etag = (response.headers.get("etag") or "").removeprefix("W/").strip('"')
        return Answer(response.status, _value(text), etag)

    def _connection(self) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return _UnixConnection(self.address.removeprefix("unix:"))
        # Without a port http.client would ask whatever serves port 80.
        if not self.address.rpartition(":")[2].isdecimal():
            raise click.UsageError(f"--admin: {self.address!r} is not host:port")
        return http.client.HTTPConnection(self.address, timeout=TIMEOUT)

    def _unreachable(self, error: Exception) -> str:
        why = reason(error) if isinstance(error, OSError) else f"no HTTP answer ({type(error).__name__})"
        return (
            f"admin not reachable at {self.address}: {why} (is misrule running with --admin {self.address}?)"
        )


def _read_token(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "not ASCII text"
        raise Failed(f"cannot read the token file {path}: {why}") from error


def _value(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode("utf-8", "replace")


def _problem_lines(status: int, phrase: str, text: bytes) -> list[str]:
    """Read an RFC 9457 problem document: the detail, then one line for each of its errors."""
    value = _value(text)
    if not isinstance(value, dict):
        return [f"the admin endpoint answered {status} {phrase}"]
    if status == 401:
        return [
            "the admin endpoint wants its token: give --token-file (MISRULE_ADMIN_TOKEN_FILE), the right one"
        ]
    title = str(value.get("title") or phrase)
    detail = str(value.get("detail") or "")
    lines = [f"{status} {title}: {detail}" if detail and detail != title else f"{status} {title}"]
    for item in value.get("errors") or []:
        lines.append(str(item.get("text") or item) if isinstance(item, dict) else str(item))
    return lines


def admin_options(command: _Command) -> _Command:
    """Add --admin and --token-file; the command gets ``admin: Admin``."""

    @wraps(command)
    def with_admin(*args: Any, admin: str, token_file: str, **values: Any) -> Any:
        return command(*args, admin=Admin(admin, token_file), **values)

    for option in (
        click.option(
            "--token-file",
            envvar="MISRULE_ADMIN_TOKEN_FILE",
            default="",
            metavar="FILE",
            help="File with the bearer token of the admin endpoint.",
        ),
        click.option(
            "--admin",
            envvar="MISRULE_ADMIN",
            default=ADMIN,
            show_default=True,
            metavar="ADDRESS",
            help="Admin endpoint of the running proxy: host:port or unix:/path.",
        ),
    ):
        with_admin = option(with_admin)
    return with_admin  # type: ignore[return-value]


def json_option(command: _Command) -> _Command:
    """Add --json; the command gets ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)
