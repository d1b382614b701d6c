"""What callers of a breaker get to see while it does not let them through."""

from typing import Final

from rules.actions import Answer
from rules.answers import build_answer
from rules.breakers import figures as of
from rules.breakers.breaker import IS_OPEN, NO_TRIAL_LEFT, OVERFLOW, VERDICTS
from rules.breakers.figures import OPEN, Figures
from rules.params import BadValue
from rules.records import Values

_TEXT: Final[list[tuple[bytes, bytes]]] = [(b"content-type", b"text/plain")]
_OVERFLOW: Final = Answer(
    503,
    [(b"x-envoy-overloaded", b"true"), *_TEXT],
    b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
)
_SHED: Final = Answer(503, [], b"")
_NO_HOST: Final = Answer(503, _TEXT, b"no healthy upstream")

# What the library's exception says, open and half open; a service that lets it through answers with it.
_MESSAGES: Final[dict[int, tuple[int, str, str]]] = {
    of.HYSTRIX: (503, "Hystrix circuit short-circuited and is OPEN", ""),
    of.RESILIENCE4J: (
        503,
        "CircuitBreaker '{name}' is OPEN and does not permit further calls",
        "CircuitBreaker '{name}' is HALF_OPEN and does not permit further calls",
    ),
    of.GOBREAKER: (503, "circuit breaker is open", "too many requests"),
    of.POLLY: (503, "The circuit is now open and is not allowing calls.", ""),
    of.SENTINEL: (429, "Blocked by Sentinel (flow limiting)", ""),
}


def read_answers(values: Values, figures: Figures) -> list[Answer]:
    """Make what callers get, by what the breaker says (its first place, admitted, is never used)."""
    written = values["response"]
    if written is not None:
        try:
            return [build_answer(written, 503)] * len(VERDICTS)
        except BadValue as bad:
            raise BadValue([trouble.under("response") for trouble in bad.troubles]) from None
    if figures.profile == of.ADMISSION:
        return [_SHED] * len(VERDICTS)
    answers = [_OVERFLOW] * len(VERDICTS)
    if figures.profile in (of.ENVOY, of.ISTIO):
        if figures.force != OPEN:  # forced, it is its threshold that is exceeded
            answers[IS_OPEN] = _NO_HOST
        return answers
    status, is_open, no_trial_left = _MESSAGES[figures.profile]
    answers[IS_OPEN] = _said(status, is_open, values["name"])
    answers[NO_TRIAL_LEFT] = _said(status, no_trial_left or is_open, values["name"])
    answers[OVERFLOW] = answers[IS_OPEN]
    return answers


def _said(status: int, message: str, name: str) -> Answer:
    return Answer(status, _TEXT, message.replace("{name}", name).encode())
