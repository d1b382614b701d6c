"""Whatever the rules and the request: index and match find what a plain loop over all rules finds."""

import ipaddress
import re
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compile import compile_rules
from rules.facts import GRPC, HTTP1, HTTP2, WEBSOCKET, Facts
from rules.model import Match, Rule, Text
from tests.support.builders import names, rule

# Small alphabets, so that rules and requests meet often.
SEGMENTS = ["", "a", "b", "ab", "{x}", "s.S", "M"]
LITERALS = ["/", "/a", "/a/", "/ab", "/b/a", "b", "a/b", "/s.S/M", "/s.S/", ""]
HOSTS = ["a", "b.a", "ab.a", "a.b", ""]
VALUES = ["1", "2", "12", "", "a b"]
PATTERNS = ["^/a", "^/a/[ab]*$", "b$", "a+b", "^/(a|b)/", "", "^a", "1", "^/a.b", "^[^/]"]
HEADERS = ["x-a", "x-b", "x-envoy-attempt-count"]
NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "::1/128", "0.0.0.0/0", "::/0"]
SOURCES = ["10.1.2.3", "10.2.0.1", "::ffff:10.1.0.1", "::1", "192.0.2.1", ""]


def texts(literals: list[str], with_template: bool = False) -> st.SearchStrategy[Text]:
    literal = st.sampled_from(literals)
    kinds = [
        st.builds(lambda value: Text("exact", value), literal),
        st.builds(lambda value: Text("prefix", value), literal),
        st.builds(lambda value: Text("suffix", value), literal),
        st.builds(lambda value: Text("regex", value), st.sampled_from(PATTERNS)),
        st.builds(lambda wanted: Text("present", wanted=wanted), st.booleans()),
    ]
    if with_template:
        segments = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3)
        kinds.append(segments.map(lambda parts: Text("template", "/" + "/".join(parts))))
    plain = st.one_of(kinds)
    return st.one_of(plain, plain, plain, plain.map(lambda one: Text("not", negated=one)))


def named(
    keys: list[str], values: st.SearchStrategy[Text]
) -> st.SearchStrategy[tuple[tuple[str, Text], ...]]:
    return st.dictionaries(st.sampled_from(keys), values, max_size=2).map(lambda found: tuple(found.items()))


def some(values: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


MATCHES = st.builds(
    Match,
    listener=some(["web", "web", "other"]) | st.just(()),
    upstream=st.just(()) | some(["u", "v"]),
    protocol=st.just(()) | some(["http1", "http2", "grpc", "websocket", "tcp"]),
    host=st.none() | texts(HOSTS),
    path=st.none() | texts(LITERALS, with_template=True),
    method=st.just(()) | some(["GET", "POST"]),
    query=st.just(()) | named(["q", "r"], texts(VALUES)),
    headers=st.just(()) | named(HEADERS[:2], texts(VALUES)),
    grpc_service=st.none() | texts(["s.S", "s"]),
    grpc_method=st.none() | texts(["M", "N"]),
    attempt=st.just(()) | st.lists(st.integers(1, 3), max_size=2).map(tuple),
    source=st.just(()) | some(NETWORKS),
    sni=st.none() | texts(HOSTS),
)
# Most rules with one or two parts, so that many match.
FEW_PARTS = st.one_of(
    st.builds(Match, path=texts(LITERALS, with_template=True)),
    st.builds(Match, host=texts(HOSTS)),
    st.builds(Match, headers=named(HEADERS[:2], texts(VALUES))),
    st.builds(Match, path=texts(LITERALS), host=texts(HOSTS)),
    st.builds(Match, grpc_service=texts(["s.S", "s"]), grpc_method=st.none() | texts(["M", "N"])),
    MATCHES,
)


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Rule]:
    matches = draw(st.lists(FEW_PARTS, max_size=25))
    return [
        rule(f"r{at}", match, priority=draw(st.integers(-1, 1)), enabled=draw(st.integers(0, 9)) > 0)
        for at, match in enumerate(matches)
    ]


@st.composite
def requests(draw: st.DrawFn) -> Facts:
    protocols = draw(st.sampled_from([HTTP1, HTTP2, HTTP2 | GRPC, HTTP2 | GRPC, HTTP1 | WEBSOCKET]))
    made = Facts("web", draw(st.sampled_from(SOURCES)), protocols)
    segments = draw(st.lists(st.sampled_from(["a", "b", "ab", "", "s.S", "M"]), min_size=1, max_size=3))
    made.path = ("/" + "/".join(segments)).encode()
    made.host = draw(st.sampled_from(HOSTS)).encode()
    made.method = draw(st.sampled_from([b"GET", b"POST", b"get"]))
    made.query = draw(st.sampled_from([b"", b"q=1", b"q=2&q=12", b"r=a%20b&q", b"r=a+b", b"%71=1"]))
    made.upstream = draw(st.sampled_from(["u", "v"]))
    made.sni = draw(st.none() | st.sampled_from(HOSTS).map(str.encode))
    values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3)
    for name, found in draw(st.dictionaries(st.sampled_from(HEADERS), values, max_size=3)).items():
        made.headers[name.encode()] = [value.encode() for value in found]
    return made


# The reference: each part in the plainest way, with other tools than the engine's.


def fits(text: Text, values: list[str]) -> bool:
    if text.how == "not":
        assert text.negated is not None
        return not fits(text.negated, values)
    if text.how == "present":
        return bool(values) is text.wanted
    if text.how == "template":
        pattern = "/".join("[^/]+" if part == "{x}" else re.escape(part) for part in text.value.split("/"))
        return any(re.fullmatch(pattern, value) for value in values)
    if text.how == "regex":
        return any(re.search(text.value, value) for value in values)
    pattern = {"exact": r"\A%s\Z", "prefix": r"\A%s", "suffix": r"%s\Z"}[text.how]
    return any(re.search(pattern % re.escape(text.value), value) for value in values)


def inside(source: str, networks: tuple[str, ...]) -> bool:
    if not source:
        return False
    read = ipaddress.ip_address(source)
    if isinstance(read, ipaddress.IPv6Address) and read.ipv4_mapped:
        read = read.ipv4_mapped
    return any(read in ipaddress.ip_network(network) for network in networks)


def one(value: bytes | None) -> list[str]:
    return [value.decode()] if value else []


def texts_fit(match: Match, seen: Facts) -> bool:
    query = parse_qsl(seen.query.decode(), keep_blank_values=True)
    headers = {name.decode(): [value.decode() for value in values] for name, values in seen.headers.items()}
    called = re.fullmatch("/([^/]+)/([^/]+)", seen.path.decode())
    service, method = ([called[1]], [called[2]]) if called else ([], [])
    sni = [] if seen.sni is None else [seen.sni.decode()]
    asked = [
        (match.host, one(seen.host)),
        (match.path, one(seen.path)),
        (match.sni, sni),
        (match.grpc_service, service),
        (match.grpc_method, method),
        *((text, [value for key, value in query if key == name]) for name, text in match.query),
        *((text, headers.get(name, [])) for name, text in match.headers),
    ]
    return all(text is None or fits(text, values) for text, values in asked)


def fits_all(match: Match, seen: Facts) -> bool:
    speaks = {"http1": 1, "http2": 2, "grpc": 4, "websocket": 8, "tcp": 16}
    attempt = seen.headers.get(b"x-envoy-attempt-count", [b"1"])[0]
    number = int(attempt) if re.fullmatch(rb"[0-9]{1,9}", attempt) else 1
    wants_grpc = match.grpc_service is not None or match.grpc_method is not None
    return (
        (not match.listener or seen.listener in match.listener)
        and (not match.upstream or seen.upstream in match.upstream)
        and (not match.protocol or any(seen.protocols & speaks[name] for name in match.protocol))
        and (not match.method or seen.method.decode() in match.method)
        and (not match.attempt or number in match.attempt)
        and (not match.source or inside(seen.source, match.source))
        and (not wants_grpc or bool(seen.protocols & 4))
        and texts_fit(match, seen)
    )


@settings(max_examples=400, deadline=None)
@given(rule_sets(), st.lists(requests(), min_size=1, max_size=5))
def test_index_and_match_find_what_a_loop_finds(rules: list[Rule], seen: list[Facts]) -> None:
    compiled = compile_rules(rules, None, 1, 0.0, "test")
    index = compiled.index_for("web")
    ranked = sorted((one for one in rules if one.enabled), key=lambda one: -one.priority)
    for request in seen:
        expected = [one.name for one in ranked if fits_all(one.match, request)]
        found = index.candidates(request.host, request.path, request.headers)
        planned = None if found is None else compiled.plan(found, request, 1)
        assert names(planned) == expected
        if planned is not None:
            planned.release()


def test_the_loop_itself_tells_apart() -> None:
    seen = Facts("web", "10.1.2.3", HTTP1)
    seen.path, seen.host, seen.method = b"/a/b", b"b.a", b"GET"
    assert fits_all(Match(path=Text("template", "/a/{x}"), source=("10.0.0.0/8",)), seen)
    assert not fits_all(Match(path=Text("template", "/a")), seen)
    assert not fits_all(Match(host=Text("not", negated=Text("suffix", ".a"))), seen)
