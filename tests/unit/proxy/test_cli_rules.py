"""``misrule rules``, ``stop`` and ``resume`` against a running proxy, and when there is none."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.remote import Admin
from rules.difference import compare, meaning
from tests.support.proxy import Proxy
from tests.support.wait import eventually
from tests.unit.proxy.test_cli import run

OF_FILE = """\
version: 1
rules:
  - name: slow
    match: {path: /slow}
    faults: [delay: 100ms]
  - {name: down, enabled: false, faults: [abort: 503]}
"""
OF_ADMIN = "version: 1\nrules:\n  - {name: ten, ttl: 1h, sample: {percent: 10}, faults: [abort: 500]}\n"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with a rules file, in a process of its own."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "rules.yaml").write_text(OF_FILE)
    running = Proxy(folder, "127.0.0.1:9", [folder / "rules.yaml"])
    yield running
    running.stop()


@pytest.fixture
def proxy(started: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The proxy as it was started; commands find it through the environment."""
    started.calm()
    monkeypatch.setenv("MISRULE_ADMIN", started.admin_address)
    return started


def write(folder: Path, text: str) -> str:
    """Write a rules file."""
    file = folder / "mine.yaml"
    file.write_text(text)
    return str(file)


def names(proxy: Proxy) -> list[str]:
    """The rules that the proxy has."""
    return [view["name"] for view in proxy.admin("GET", "/v1/rules")["rules"]]


def test_get_shows_what_runs(proxy: Proxy, tmp_path: Path) -> None:
    run("rules", "apply", write(tmp_path, OF_ADMIN))
    code, out, _ = run("rules", "get")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"version {proxy.version}, from ")
    assert [line.split()[:3] for line in lines[1:]] == [
        ["rule", "layer", "state"],
        ["slow", "file", "on"],
        ["down", "file", "disabled"],
        ["ten", "admin", "on"],
    ]
    assert " until 20" in lines[4]


def test_get_shows_where_a_schedule_stands(proxy: Proxy, tmp_path: Path) -> None:
    rule = "  - {{name: {name}, schedule: {{{schedule}}}, faults: [abort: 500]}}\n"
    schedules = {
        "open": "start_after: 1ms",
        "closes": "duration: 1h",
        "opens": "start_after: 1h",
        "over": "duration: 1ms",
    }
    text = "version: 1\nrules:\n" + "".join(rule.format(name=n, schedule=s) for n, s in schedules.items())
    run("rules", "apply", write(tmp_path, text))
    eventually(lambda: proxy.rule("over")["schedule"]["state"] == "ended", what="it ends")
    eventually(lambda: proxy.rule("open")["schedule"]["state"] == "active", what="it begins")
    _, out, _ = run("rules", "get")
    said = {line.split()[0]: " ".join(line.split()[2:6]) for line in out.splitlines()[4:]}
    assert said["open"].startswith("on, open 0 ")
    assert said["closes"].startswith("on, open until 20")
    assert said["opens"].startswith("on, opens 20")
    assert said["over"].startswith("on, ended 0 ")


def test_get_gives_machines_what_the_endpoint_says(proxy: Proxy) -> None:
    _, out, _ = run("rules", "get", "--json")
    assert json.loads(out)["version"] == proxy.version
    _, out, _ = run("rules", "get", "slow")
    assert json.loads(out)["rule"]["match"] == {"path": "/slow"}


def test_what_get_prints_as_document_can_be_applied(proxy: Proxy, tmp_path: Path) -> None:
    _, out, _ = run("rules", "get", "--document")
    assert run("rules", "diff", write(tmp_path, out))[0] == 0
    assert run("rules", "apply", write(tmp_path, out))[0] == 0
    assert [view["layer"] for view in proxy.admin("GET", "/v1/rules")["rules"]] == ["admin", "admin"]
    _, one, _ = run("rules", "get", "slow", "--document")
    assert [rule["name"] for rule in json.loads(one)["rules"]] == ["slow"]


def test_a_rule_that_is_not_there_is_one_line(proxy: Proxy) -> None:
    code, out, err = run("rules", "get", "none")
    assert (code, out) == (1, "")
    assert err == 'misrule: 404 Not Found: there is no rule "none"\n'


def test_apply_replaces_the_admin_layer(proxy: Proxy, tmp_path: Path) -> None:
    code, out, _ = run("rules", "apply", write(tmp_path, OF_ADMIN))
    assert (code, out) == (0, f"+ ten\nversion {proxy.version} is in force\n")
    code, out, _ = run("rules", "apply", write(tmp_path, OF_ADMIN.replace("10}", "20}")))
    assert out.startswith("~ ten\n")
    _, out, _ = run("rules", "apply", "-", "--json", input="version: 1\nrules: []\n")
    assert json.loads(out)["removed"] == ["ten"]
    assert names(proxy) == ["slow", "down"]


def test_a_dry_run_changes_nothing(proxy: Proxy, tmp_path: Path) -> None:
    before = proxy.version
    code, out, _ = run("rules", "apply", write(tmp_path, OF_ADMIN), "--dry-run")
    assert (code, out) == (0, f"+ ten\nversion {before} is in force, nothing was changed\n")
    assert proxy.version == before
    _, out, _ = run("rules", "apply", "-", "--dry-run", input="version: 1\nrules: []\n")
    assert out.startswith("nothing changes\n")


def test_a_lost_race_is_refused(proxy: Proxy, tmp_path: Path) -> None:
    file, version = write(tmp_path, OF_ADMIN), str(proxy.version)
    assert run("rules", "apply", file, "--if-match", version)[0] == 0
    code, _, err = run("rules", "apply", file, "--if-match", version)
    assert code == 1
    assert err.startswith("misrule: 412 ")
    assert "version" in err
    assert run("rules", "delete", "ten", "--if-match", version)[0] == 1
    assert run("rules", "delete", "ten", "--if-match", str(proxy.version))[0] == 0


def test_mistakes_of_a_set_are_shown_where_they_stand(proxy: Proxy, tmp_path: Path) -> None:
    file = write(tmp_path, "version: 1\nrules:\n  - {name: A, faults: [delay: 100]}\n")
    before = proxy.version
    code, out, err = run("rules", "apply", file)
    assert (code, out) == (1, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [f"{file}:3:12", f"{file}:3:31"]
    assert proxy.version == before


def test_delete_takes_out_what_apply_put_in(proxy: Proxy, tmp_path: Path) -> None:
    run("rules", "apply", write(tmp_path, OF_ADMIN))
    _, out, _ = run("rules", "delete", "ten", "--dry-run")
    assert out.startswith("- ten\n")
    code, out, _ = run("rules", "delete", "ten")
    assert (code, out) == (0, f"- ten\nversion {proxy.version} is in force\n")


def test_a_files_rule_cannot_be_deleted(proxy: Proxy) -> None:
    code, _, err = run("rules", "delete", "slow")
    assert code == 1
    assert "409 " in err
    assert "cannot be deleted from here" in err


def test_diff_compares_by_meaning(proxy: Proxy, tmp_path: Path) -> None:
    same = OF_FILE.replace("delay: 100ms", "delay: {fixed: 0.1s, at: request_head}").replace(
        "{path: /slow}", "{path: {exact: /slow}}"
    )
    code, out, _ = run("rules", "diff", write(tmp_path, same))
    assert code == 0
    assert out.startswith("no difference between ")


def test_diff_shows_what_differs(proxy: Proxy, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "version: 1\nrules:\n  - {name: new, faults: [abort: 500]}\n"
        + OF_FILE.split("rules:\n")[1].replace("100ms", "2s").split("  - {")[0],
    )
    code, out, _ = run("rules", "diff", file)
    assert code == 1
    lines = out.splitlines()
    assert lines[:2] == [f"--- running, version {proxy.version}", f"+++ {file}"]
    assert [line for line in lines if line.startswith("@@")] == [
        "@@ down: only running @@",
        "@@ new: only in the file @@",
        "@@ slow: changed @@",
    ]
    assert '-      "delay": "100ms"' in lines
    assert '+      "delay": "2s"' in lines
    _, out, _ = run("rules", "diff", file, "--json")
    found = json.loads(out)
    assert [rule["name"] for rule in found["added"] + found["removed"]] == ["new", "down"]
    assert [rule["name"] for rule in found["changed"]] == ["slow"]


def test_diff_can_look_at_one_layer(proxy: Proxy, tmp_path: Path) -> None:
    run("rules", "apply", write(tmp_path, OF_ADMIN))
    assert run("rules", "diff", write(tmp_path, OF_ADMIN), "--layer", "admin")[0] == 0
    assert run("rules", "diff", write(tmp_path, OF_FILE), "--layer", "file")[0] == 0
    assert run("rules", "diff", write(tmp_path, OF_FILE))[0] == 1


def test_diff_of_a_set_with_mistakes_shows_them(proxy: Proxy, tmp_path: Path) -> None:
    file = write(tmp_path, "version: 1\nrules: 7\n")
    code, out, err = run("rules", "diff", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"{file}:2:8: rules: ")


def test_the_order_is_part_of_the_meaning() -> None:
    rules: list[dict[str, Any]] = [{"name": name, "faults": [{"abort": 500}]} for name in ("a", "b")]
    found = compare(rules[::-1], rules)
    assert found.plain() == {"added": [], "removed": [], "changed": [], "order_differs": True}
    assert list(found.lines("x", "y")) == ["--- x", "+++ y", "@@ order @@", "-a, b", "+b, a"]
    assert not compare(rules, rules)


def test_what_differs_in_meaning_is_no_equal() -> None:
    rule: dict[str, Any] = {"name": "a", "faults": [{"delay": {"fixed": "1s", "sample": {"percent": 5}}}]}
    for other in (
        {"faults": [{"delay": "1s"}]},
        {"faults": [{"delay": {"fixed": "1s", "sample": {"percent": 6}}}]},
        {"faults": [{"delay": {"fixed": "2s", "sample": {"percent": 5}}}]},
        {"enabled": False},
        {"ttl": "1h"},
        {"sample": {"percent": 5}},
        {"match": {"path": "/x"}},
    ):
        assert meaning(rule | other) != meaning(rule)
    assert meaning(rule | {"enabled": True, "priority": 0}) == meaning(rule)


def test_explain_asks_the_running_proxy(proxy: Proxy) -> None:
    code, out, _ = run("explain", "http://any/slow")
    assert code == 0
    assert "slow  fires     1. delay at request_head" in out
    assert run("explain", "/", "--listener", "none")[0] == 1
    run("stop")
    assert run("explain", "/")[2] == "stopped: nothing of this is done until `misrule resume`\n"


def test_the_red_button(proxy: Proxy) -> None:
    code, out, _ = run("stop")
    assert (code, out) == (0, "stopped: no fault is injected until `misrule resume`\n")
    assert proxy.admin("GET", "/v1/rules")["stopped"]
    assert "stopped: nothing is injected" in run("rules", "get")[1]
    _, out, _ = run("resume", "--json")
    assert json.loads(out) == {"stopped": False, "version": proxy.version}


def test_history_and_rollback(proxy: Proxy, tmp_path: Path) -> None:
    run("rules", "apply", write(tmp_path, OF_ADMIN))
    first = proxy.version
    run("rules", "apply", write(tmp_path, OF_ADMIN.replace("percent: 10", "percent: 20")))
    code, out, _ = run("rules", "history", "--limit", "2")
    assert code == 0
    header, newest, before, about = out.splitlines()
    assert header.split() == ["version", "made", "by", "source", "rules", "sha256"]
    assert newest.startswith(f"{first + 1}* ")
    assert "admin: PUT /v1/rules  +0 ~1 -0" in newest
    assert before.startswith(f"{first} ")
    assert about == "* in force; without state_dir, a restart forgets all this"
    code, out, _ = run("rules", "history", str(first + 1))
    assert code == 0
    assert f"--- version {first}\n+++ version {first + 1}\n@@ ten: changed @@\n" in out
    assert '-    "percent": 10\n+    "percent": 20\n' in out
    code, out, _ = run("rules", "rollback", str(first), "--dry-run")
    said = f"~ ten\nversion {first + 1} is in force, nothing was changed\n"
    assert (code, out) == (0, said)
    code, out, _ = run("rules", "rollback", str(first), "--if-match", str(first + 1))
    assert (code, out) == (0, f"~ ten\nversion {first + 2} is in force\n")
    assert proxy.rule("ten")["rule"]["sample"] == {"percent": 10}
    code, _, err = run("rules", "rollback", "999")
    assert code == 1
    assert err.startswith("misrule: 404 Not Found: version 999 is not kept; those that are: 1 to ")
    shown = json.loads(run("rules", "history", "--json")[1])
    assert shown["version"] == first + 2


@pytest.mark.parametrize(
    "words",
    [["rules", "get"], ["rules", "delete", "x"], ["stop"], ["resume"], ["drain"], ["explain", "/"]],
    ids=" ".join,
)
def test_an_admin_endpoint_that_is_not_there_is_one_line(words: list[str]) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = run(*words, "--admin", address)
    assert (code, out) == (1, "")
    why = f"connection refused (is misrule running with --admin {address}?)"
    assert err == f"misrule: admin not reachable at {address}: {why}\n"


def test_a_unix_socket_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    code, _, err = run("stop", "--admin", f"unix:{tmp_path}/none")
    assert code == 1
    assert "no such file or directory" in err


def test_files_that_cannot_be_read_are_one_line(proxy: Proxy, tmp_path: Path) -> None:
    for words in (["apply", f"{tmp_path}/none"], ["diff", f"{tmp_path}/none"]):
        code, _, err = run("rules", *words)
        assert (code, err) == (1, f"misrule: cannot read {tmp_path}/none: no such file or directory\n")
    code, _, err = run("stop", "--token-file", f"{tmp_path}/none")
    assert (code, err) == (
        1,
        f"misrule: cannot read the token file {tmp_path}/none: no such file or directory\n",
    )


class Server(threading.Thread):
    """Answers one request with these bytes and keeps what it was asked."""

    def __init__(self, answer: bytes, path: str = "") -> None:
        super().__init__(daemon=True)
        self.asked = b""
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._socket.bind(path or ("127.0.0.1", 0))
        self._socket.listen()
        self.address = f"unix:{path}" if path else f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        """Serve once."""
        with self._socket, self._socket.accept()[0] as peer:
            self.asked = peer.recv(65536)
            peer.sendall(self._answer)


def test_the_token_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret\n")
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    monkeypatch.setenv("MISRULE_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    assert run("stop", "--admin", f"http://{server.address}/")[0] == 0
    server.join(5)
    assert b"authorization: bearer secret\r\n" in server.asked.lower()


def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    server = Server(b'HTTP/1.1 200 OK\r\netag: "7"\r\ncontent-length: 2\r\n\r\n{}', str(tmp_path / "s"))
    answer = Admin(server.address).call("GET", "/")
    assert (answer.status, answer.value, answer.etag) == (200, {}, "7")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"hello\r\n\r\n", "no HTTP answer (BadStatusLine)"),
        (
            b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\n<>",
            "the admin endpoint answered 502 Bad Gateway",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n" + b'{"title":"No","detail":"because"}', "403 No: because"),
        (
            b"HTTP/1.1 401 Unauthorized\r\n\r\n" + b'{"title":"No token"}',
            "wants its token: give --token-file",
        ),
    ],
)
def test_answers_that_are_none_are_one_line(answer: bytes, line: str) -> None:
    code, _, err = run("stop", "--admin", Server(answer).address)
    assert code == 1
    assert line in err
    assert len(err.splitlines()) == 1
