"""PostgreSQL and Redis behind TCP mode: their clients see what they see in real trouble."""

import gc
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from tests.support.databases import Postgres, Redis, redis_client
from tests.support.presets import written
from tests.support.proxy import Proxy, rule
from tests.support.wait import eventually

psycopg = pytest.importorskip("psycopg")
sqlalchemy = pytest.importorskip("sqlalchemy")
pytest.importorskip("redis")
MATCH = {"match": {"protocol": ["tcp"]}}


def _before(server: Postgres | Redis, folder: Any) -> Proxy:
    listener = {"protocol": "tcp", "timeouts": {"drain": "1s"}}
    return Proxy(
        folder, server.address, listener=listener, upstream_options={"protocol": "tcp"}, access="all"
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def _postgres_front(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = _before(postgres, tmp_path_factory.mktemp("postgres"))
    yield proxy
    proxy.stop()


@pytest.fixture
def database(_postgres_front: Proxy) -> Iterator[Proxy]:
    _postgres_front.calm()
    yield _postgres_front
    _postgres_front.calm()


def url(address: str, **options: str) -> str:
    asked = "&".join(f"{name}={value}" for name, value in options.items())
    return f"postgresql+psycopg://postgres@{address}/postgres?sslmode=disable&{asked}"


def engine(address: str, **options: Any) -> Any:
    given = {"pool_size": 10, "max_overflow": 0, "pool_timeout": 0.5, **options}
    return sqlalchemy.create_engine(url(address), **given)


def scalar(connection: Any, statement: str) -> Any:
    return connection.execute(sqlalchemy.text(statement)).scalar()


def said(error: BaseException) -> tuple[str, str]:
    """Give the kind of an error and its words, less what differs from one server to another."""
    cause = getattr(error, "orig", None) or error
    text = re.sub(r"\d{4,5}", "PORT", str(cause))
    return f"{type(error).__name__}/{type(cause).__name__}", text


def raised(work: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(Exception) as caught:
        work()
    return said(caught.value)


def test_a_pool_works_through_it(database: Proxy) -> None:
    pool = engine(database.address)
    with pool.begin() as connection:
        assert scalar(connection, "select sum(n) from generate_series(1, 100000) n") == 5000050000
        assert len(scalar(connection, "select repeat('x', 5000000)")) == 5_000_000
    with ThreadPoolExecutor(10) as threads:
        work = [threads.submit(_ask, pool, number) for number in range(100)]
        assert [one.result() for one in work] == list(range(100))
    pool.dispose()
    eventually(
        lambda: database.metric("misrule_upstream_connections_open") == 0, what="the pool's end passes"
    )


def _ask(pool: Any, number: int) -> object:
    with pool.connect() as connection:
        return scalar(connection, f"select {number}")


def _exhausted(pool: Any, release: Callable[[], object]) -> tuple[str, str]:
    """Have ten queries hang, see what the eleventh user of the pool gets, release, and expect all answers."""
    with ThreadPoolExecutor(10) as threads:
        hanging = [threads.submit(_count, pool) for _ in range(10)]
        eventually(lambda: pool.pool.checkedout() == 10, what="the pool is empty")
        found = raised(lambda: _ask(pool, 11))
        assert not any(one.done() for one in hanging)
        release()
        assert [one.result(20) for one in hanging] == [0] * 10
    assert _ask(pool, 11) == 11
    return found


def _count(pool: Any) -> object:
    with pool.connect() as connection:
        return scalar(connection, "select count(*) from work")


def test_an_exhausted_pool_times_out_as_with_an_exhausted_database(
    database: Proxy, postgres: Postgres
) -> None:
    """Really: a migration holds a lock that every query waits for.  Ours: answers stall."""
    with psycopg.connect(f"postgresql://postgres@{postgres.address}/postgres", autocommit=True) as admin:
        admin.execute("create table if not exists work (n int)")
    real_pool, our_pool = engine(postgres.address), engine(database.address)
    for pool in (real_pool, our_pool):  # so that both have their connections before the trouble begins
        held = [pool.connect() for _ in range(10)]
        for one in held:
            one.close()
    with psycopg.connect(f"postgresql://postgres@{postgres.address}/postgres") as migration:
        migration.execute("lock table work in access exclusive mode")
        real = _exhausted(real_pool, migration.rollback)
    database.put(rule("slow", {"stall": {"at": "response_body"}}, **MATCH))
    ours = _exhausted(our_pool, database.put)
    assert ours == real
    assert ours[0] == "TimeoutError/TimeoutError"
    assert "QueuePool limit of size 10 overflow 0 reached, connection timed out" in ours[1]
    real_pool.dispose()
    our_pool.dispose()


def _no_room(address: str, mode: str) -> tuple[str, str]:
    """Give what a client sees that connects where no connection is left."""
    return raised(lambda: psycopg.connect(f"postgresql://postgres@{address}/postgres?sslmode={mode}"))


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_no_connection_is_left_as_in_a_full_server(database: Proxy, postgres: Postgres, mode: str) -> None:
    """Really: all of max_connections are taken.  Ours: a limit, half of whose places were taken before."""
    with ExitStack() as taken:
        while (made := _connected(postgres.address)) is not None:
            taken.callback(made.close)
        real = _no_room(postgres.address, mode)
    assert real[1].endswith("FATAL:  sorry, too many clients already")
    held = engine(database.address, pool_size=10)
    half = [eventually(held.connect) for _ in range(5)]
    database.put(rule("full", {"limit": {"connections": 10, "reply": "postgres"}}, **MATCH))
    rest = [held.connect() for _ in range(5)]
    assert _no_room(database.address, mode) == real
    with pytest.raises(sqlalchemy.exc.TimeoutError, match="QueuePool limit of size 10 overflow 0 reached"):
        held.connect()
    assert database.injections(rule="full", fault="limit") == 1
    for one in (*half, *rest):
        one.close()
    held.dispose()
    again = eventually(lambda: _connected(database.address), what="places are free again")
    again.close()


def _connected(address: str) -> Any:
    """Connect; None where that fails."""
    try:
        return psycopg.connect(f"postgresql://postgres@{address}/postgres?sslmode=disable")
    except psycopg.OperationalError:
        return None


def test_a_server_that_is_killed(database: Proxy, postgres: Postgres) -> None:
    """Really: the process behind the connection is killed.  Ours: close, on a connection that is open."""

    def broken(address: str, trouble: Callable[[int], object], well: Callable[[], object]) -> list[object]:
        pool = engine(address)
        with pool.connect() as connection:
            trouble(scalar(connection, "select pg_backend_pid()"))
            seen: list[object] = [raised(lambda: scalar(connection, "select 1")), connection.invalidated]
        well()
        eventually(lambda: _works(pool), 20.0, "the pool connects anew")
        pool.dispose()
        return seen

    def begun() -> int:
        return sum("ready to accept connections" in line for line in postgres.process.log)

    # The server ends all sessions when it sees that one was killed, also those that come before it sees it.
    times = begun()
    real = broken(
        postgres.address,
        lambda pid: os.kill(pid, signal.SIGKILL),
        lambda: eventually(lambda: begun() > times, 20.0, "the server has begun anew"),
    )
    ours = broken(database.address, lambda _: database.put(rule("end", {"close": {}}, **MATCH)), database.put)
    assert ours == real
    assert "server closed the connection unexpectedly" in str(ours)
    database.calm(clean=False)


def _works(pool: Any) -> bool:
    try:
        return _ask(pool, 1) == 1
    except sqlalchemy.exc.OperationalError:
        return False


def test_a_reset_in_the_middle_of_a_session(database: Proxy) -> None:
    pool = engine(database.address)
    with pool.connect() as connection:
        assert scalar(connection, "select 1") == 1
        database.put(rule("cut", {"reset": {}}, **MATCH))
        kind, text = raised(lambda: scalar(connection, "select 1"))
        assert kind == "OperationalError/OperationalError"
        assert "server closed the connection unexpectedly" in text  # libpq's words for ECONNRESET, too
        assert connection.invalidated
        database.put()
    assert _ask(pool, 1) == 1
    pool.dispose()


def test_a_reset_in_the_middle_of_an_answer(database: Proxy) -> None:
    pool = engine(database.address)
    with pool.connect() as connection:
        scalar(connection, "select 1")
        database.put(rule("cut", {"reset": {"at": "response_body", "after_bytes": "100KiB"}}, **MATCH))
        kind, _ = raised(lambda: scalar(connection, "select repeat('x', 1000000)"))
        assert kind == "OperationalError/OperationalError"
    assert database.injections(rule="cut") == 1
    pool.dispose()


def test_a_server_that_has_vanished(database: Proxy, postgres: Postgres) -> None:
    """Really: its processes stand still, so that only the kernel answers.  Ours: bytes stop both ways."""

    def connect(address: str) -> object:
        return psycopg.connect(f"postgresql://postgres@{address}/postgres?sslmode=disable&connect_timeout=2")

    postgres.freeze()
    try:
        real = raised(lambda: connect(postgres.address))
    finally:
        postgres.thaw()
    database.put(rule("gone", {"stall": {}}, **MATCH))
    assert raised(lambda: connect(database.address)) == real
    assert real[0] == "ConnectionTimeout/ConnectionTimeout"


def test_the_preset_slow_database(database: Proxy) -> None:
    database.put(*written("slow-database"))
    begun = time.monotonic()
    with psycopg.connect(f"postgresql://postgres@{database.address}/postgres?sslmode=disable") as session:
        assert time.monotonic() - begun >= 0.5
        begun = time.monotonic()
        assert session.execute("select repeat('x', 16384)").fetchone() == ("x" * 16_384,)
        assert time.monotonic() - begun >= 0.8


@pytest.mark.parametrize(
    ("name", "least", "words"),
    [
        ("exhausted-pool", 1.0, "server closed the connection"),
        ("too-many-connections", 0.0, "too many clients"),
    ],
)
def test_the_presets_without_a_free_connection(database: Proxy, name: str, least: float, words: str) -> None:
    """Ten sessions take what there is; the eleventh does not come about until one of them is closed."""
    address = f"postgresql://postgres@{database.address}/postgres?sslmode=disable"
    gc.collect()  # psycopg closes what did not come about when its error is forgotten
    eventually(lambda: database.metric("misrule_connections_open") == 0, 20.0, "other tests' have ended")
    database.put(*written(name))
    with ExitStack() as sessions:
        held = [sessions.enter_context(psycopg.connect(address)) for _ in range(10)]
        begun = time.monotonic()
        kind, text = raised(lambda: psycopg.connect(address))
        assert (kind, words in text) == ("OperationalError/OperationalError", True), text
        assert time.monotonic() - begun >= least
        held[0].close()
        assert eventually(lambda: _connects(address), 20.0)


def _connects(address: str) -> bool:
    try:
        psycopg.connect(address).close()
    except psycopg.OperationalError:
        return False
    return True


# --- Redis


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Redis, Proxy]]:
    with ExitStack() as running:
        server = Redis()
        running.callback(server.stop)
        proxy = _before(server, tmp_path_factory.mktemp("redis"))
        running.callback(proxy.stop)
        yield server, proxy


@pytest.fixture
def cache(caches: tuple[Redis, Proxy]) -> Iterator[Proxy]:
    caches[1].calm()
    yield caches[1]
    caches[1].calm()


def test_redis_works_through_it(cache: Proxy) -> None:
    with redis_client(cache.address) as one:
        one.set("big", b"x" * 3_000_000)
        assert one.get("big") == b"x" * 3_000_000
        pipe = one.pipeline(transaction=False)
        for number in range(2000):
            pipe.set(f"k{number}", number).get(f"k{number}")
        assert pipe.execute()[1::2] == [b"%d" % number for number in range(2000)]


def test_redis_that_hangs_up(cache: Proxy, caches: tuple[Redis, Proxy]) -> None:
    """Really: CLIENT KILL, while a command waits for its answer.  Ours: close."""
    seen = []
    for address in (caches[0].address, cache.address):
        with (
            redis_client(address, 20.0) as one,
            redis_client(caches[0].address) as other,
            ThreadPoolExecutor(1) as thread,
        ):
            waiting = thread.submit(raised, partial(one.blpop, "nothing", 15))
            eventually(partial(_one_waits, other), what="it waits")
            if address == cache.address:
                cache.put(rule("end", {"close": {}}, **MATCH))
            else:
                other.client_kill_filter(_type="normal", skipme=True)
            seen.append(waiting.result(10))
            cache.put()
            assert one.ping()
    assert seen[0] == seen[1]
    assert seen[0][0] == "ConnectionError/ConnectionError"


def _one_waits(other: Any) -> bool:
    return bool(other.info("clients")["blocked_clients"] == 1)


@pytest.mark.parametrize("fault", [{"reset": {}}, {"reset": {"at": "response_body", "after_bytes": "1000B"}}])
def test_redis_that_resets(cache: Proxy, fault: dict[str, Any]) -> None:
    with redis_client(cache.address) as one:
        one.set("page", b"x" * 100_000)
        cache.put(rule("cut", fault, **MATCH))
        kind, text = raised(lambda: one.get("page"))
        assert kind == "ConnectionError/ConnectionError"
        assert "Connection reset by peer" in text
        cache.put()
        assert one.get("page") == b"x" * 100_000


@pytest.mark.parametrize("when", ["open", "new"])
def test_redis_that_has_vanished(cache: Proxy, caches: tuple[Redis, Proxy], when: str) -> None:
    """Half-open: the connection stands, and nothing comes or goes.  Really: the process stands still."""
    seen = []
    for address in (caches[0].address, cache.address):
        with redis_client(address) as one:
            if when == "open":
                one.ping()
            if address == cache.address:
                cache.put(rule("gone", {"stall": {}}, **MATCH))
            else:
                caches[0].freeze()
            try:
                seen.append(raised(one.ping))
            finally:
                caches[0].thaw()
                cache.put()
            assert one.ping()
    assert seen[0] == seen[1]
    assert seen[0][0] == "TimeoutError/TimeoutError"


def test_the_preset_black_hole(cache: Proxy) -> None:
    with redis_client(cache.address) as client:
        client.ping()
        cache.put(*written("black-hole"))
        assert raised(client.ping)[0] == "TimeoutError/TimeoutError"


def test_the_preset_connection_resets(cache: Proxy) -> None:
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(redis_client(cache.address, 20.0)) for _ in range(10)]
        for client in clients:
            client.ping()
        cache.put(*written("connection-resets"))
        seen = [_outcome(client.ping) for client in clients]
        assert sorted(set(seen)) == ["", "ConnectionError"]
        assert seen.count("ConnectionError") == 2


def _outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return ""
