"""What the tour shows: the rules, and for each a request, what was seen, and what must have been seen.

Each step is done twice, without rules and with them.  ``check`` compares the two and gives "" or what
is wrong: the tour fails when a fault did not show as the real trouble would.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.cli.demo.client import Saw
from proxy.cli.demo.stage import Stage

DELAY: Final = 0.2  # seconds, as slow-hello says
PATIENCE: Final = 0.5  # seconds after which the client of a stalled answer gives up
RESET_AFTER: Final = 256 * 1024
CLOSE_AFTER: Final = 1024
DRAWS: Final = 1000
PERCENT: Final = 10
USERS: Final = 40
VISITS: Final = 5

NO_RULES: Final = "version: 1\nrules: []\n"
RULES: Final = """\
# The rules of the demo. Edit them while it runs: a change is in force as soon as you save.
version: 1
rules:
  - name: slow-hello
    match: {path: /hello}
    faults:
      - delay: 200ms

  - name: orders-down
    match: {path: /orders}
    faults:
      - abort: {status: 503, headers: {retry-after: "1"}, body: {json: {error: "orders are down"}}}

  - name: big-breaks
    match: {path: /big}
    faults:
      - reset: {at: response_body, after_bytes: 256KiB}

  - name: report-ends-early
    match: {path: /report}
    faults:
      - close: {at: response_body, after_bytes: 1KiB}

  - name: inventory-hangs
    match: {path: /inventory}
    faults:
      - stall: {for: 30s}

  - name: items-flaky                 # one request in ten
    match: {path: /items}
    sample: {percent: 10}
    faults:
      - abort: 503

  - name: gold-only                   # only who sends this header
    match:
      path: {prefix: /echo}
      headers: {x-user-tier: gold}
    faults:
      - abort: 429

  - name: cart-for-some               # 30 % of the users, always the same ones
    match: {path: /cart}
    sample: {percent: 30, sticky: "header:x-user-id"}
    faults:
      - abort: 500
"""
OLD: Final = "503"  # what orders-down answers, and what the tour changes it to while traffic flows
NEW: Final = "429"
EDITED: Final = RULES.replace(f"status: {OLD}, headers", f"status: {NEW}, headers")

Saws = list[Saw]


@dataclass(frozen=True)
class Step:
    """One line of the table."""

    rule: str
    fault: str
    request: str
    look: Callable[[Stage], Saws]
    tell: Callable[[Saws], str]
    check: Callable[[Saws, Saws], str]


def _get(path: str, timeout: float = 10.0) -> Callable[[Stage], Saws]:
    def look(stage: Stage) -> Saws:
        client = stage.client(timeout)
        client.request("GET", "/echo/warm-up")  # the connection's own time belongs to no request
        seen = client.request("GET", path)
        client.close()
        return [seen]

    return look


def _first(seen: Saws) -> str:
    return str(seen[0])


def _healthy(saw: Saw) -> bool:
    return saw.status == 200 and not saw.trouble and not saw.proof


def _check_delay(without: Saws, with_rule: Saws) -> str:
    before, now = without[0], with_rule[0]
    if now.status != 200 or now.body != before.body:
        return "the answer itself changed"
    if now.seconds < DELAY:
        return f"shorter than asked: {now.seconds * 1000:.1f} ms"
    return "" if now.seconds < DELAY + 0.5 else f"much longer than asked: {now.seconds * 1000:.1f} ms"


def _check_abort(without: Saws, with_rule: Saws) -> str:
    saw = with_rule[0]
    if saw.trouble or saw.status != 503:
        return f"wanted a whole 503, saw {saw}"
    if saw.headers.get("retry-after") != "1" or b"orders are down" not in saw.body:
        return "the rule's header or body is missing"
    return ""


def _check_cut(trouble: str, after: int) -> Callable[[Saws, Saws], str]:
    def check(without: Saws, with_rule: Saws) -> str:
        saw = with_rule[0]
        if saw.trouble != trouble or saw.status != 200:
            return f"wanted 200, then {trouble}; saw {saw}"
        if len(saw.body) != after or saw.body != without[0].body[:after]:
            return f"wanted exactly the first {after} bytes, saw {len(saw.body)}"
        return ""

    return check


def _check_stall(without: Saws, with_rule: Saws) -> str:
    saw = with_rule[0]
    return "" if saw.trouble == "time-out" and not saw.status else f"wanted silence, saw {saw}"


def _draw(stage: Stage) -> Saws:
    client = stage.client()
    seen = [client.request("GET", "/items") for _ in range(DRAWS)]
    client.close()
    return seen


def _tell_counts(seen: Saws) -> str:
    counts = Counter(saw.trouble or str(saw.status) for saw in seen)
    return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))


def _check_draw(without: Saws, with_rule: Saws) -> str:
    hit = sum(saw.status == 503 for saw in with_rule)
    wanted = DRAWS * PERCENT / 100
    bound = 5 * math.sqrt(wanted * (1 - PERCENT / 100))  # five standard deviations: one in 1.7 million
    if hit + sum(_healthy(saw) for saw in with_rule) != DRAWS:
        return "some answers were neither whole nor the fault"
    return "" if abs(hit - wanted) <= bound else f"wanted {wanted:.0f} ± {bound:.0f}, saw {hit}"


def _tiers(stage: Stage) -> Saws:
    client = stage.client()
    seen = [client.request("GET", "/echo", {"x-user-tier": tier}) for tier in ("gold", "silver")]
    seen.append(client.request("GET", "/echo"))
    client.close()
    return seen


def _tell_tiers(seen: Saws) -> str:
    return ", ".join(f"{who} {saw.trouble or saw.status}" for who, saw in zip(WHO, seen, strict=True))


WHO: Final = ("gold:", "silver:", "none:")


def _check_tiers(without: Saws, with_rule: Saws) -> str:
    statuses = [saw.status for saw in with_rule]
    return "" if statuses == [429, 200, 200] else f"wanted 429 for gold only, saw {_tell_tiers(with_rule)}"


def _visits(stage: Stage) -> Saws:
    """Each user comes several times, in turns."""
    client = stage.client()
    seen = [
        client.request("GET", "/cart", {"x-user-id": f"user-{user}"})
        for _ in range(VISITS)
        for user in range(USERS)
    ]
    client.close()
    return seen


def _hit_users(seen: Saws) -> list[set[int]]:
    """For each visit, the users that were hit."""
    return [
        {user for user in range(USERS) if seen[visit * USERS + user].status == 500} for visit in range(VISITS)
    ]


def _tell_visits(seen: Saws) -> str:
    hit = _hit_users(seen)
    same = "the same each time" if all(users == hit[0] for users in hit) else "NOT the same each time"
    return f"{len(hit[0])} of {USERS} users got 500" + (f", {same}" if hit[0] else "")


def _check_visits(without: Saws, with_rule: Saws) -> str:
    hit = _hit_users(with_rule)
    if any(users != hit[0] for users in hit):
        return "a user's verdict changed between visits"
    return "" if 0 < len(hit[0]) < USERS else f"{len(hit[0])} of {USERS} users were hit"


STEPS: Final[tuple[Step, ...]] = (
    Step("slow-hello", "delay 200ms", "GET /hello", _get("/hello"), _first, _check_delay),
    Step("orders-down", "abort 503", "GET /orders", _get("/orders"), _first, _check_abort),
    Step(
        "big-breaks",
        "reset after 256 KiB",
        "GET /big",
        _get("/big"),
        _first,
        _check_cut("reset", RESET_AFTER),
    ),
    Step(
        "report-ends-early",
        "close after 1 KiB",
        "GET /report",
        _get("/report"),
        _first,
        _check_cut("early end", CLOSE_AFTER),
    ),
    Step(
        "inventory-hangs",
        "stall",
        f"GET /inventory, client waits {PATIENCE * 1000:.0f} ms",
        _get("/inventory", PATIENCE),
        _first,
        _check_stall,
    ),
    Step("items-flaky", f"abort 503, {PERCENT} %", f"{DRAWS} x GET /items", _draw, _tell_counts, _check_draw),
    Step("gold-only", "abort 429, x-user-tier: gold", "3 x GET /echo", _tiers, _tell_tiers, _check_tiers),
    Step(
        "cart-for-some",
        "abort 500, 30 % sticky by user",
        f"{USERS} users x {VISITS} GET /cart",
        _visits,
        _tell_visits,
        _check_visits,
    ),
)


def check_step(step: Step, without: Saws, with_rule: Saws) -> str:
    """Give "" if the step showed what it should, else what is wrong."""
    if not all(_healthy(saw) for saw in without):
        return f"without the rule: {step.tell(without)}"
    wrong = step.check(without, with_rule)
    faulted = [saw for saw in with_rule if saw.status and not saw.trouble and saw.status != 200]
    if not wrong and any(f"rule={step.rule};" not in saw.proof for saw in faulted):
        return "an injected answer carries no x-misrule header"
    return wrong
