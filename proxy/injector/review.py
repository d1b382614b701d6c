"""One admission review: bytes in, bytes out (Kubernetes API reference, ``admission.k8s.io/v1``).

What is no review is refused with a reason; a review is always allowed, whatever its pod is.
"""

import base64
from typing import Any, Final

import msgspec

from proxy.injector.patch import Verdict, decide
from proxy.injector.pods import API, KIND, Pod, Request, Review, Version
from proxy.injector.settings import Settings

MOST_WARNINGS: Final = 10  # the API server cuts what is more than 4096 characters in all
LONGEST: Final = 256  # of one warning, in characters: longer ones are cut by kubectl

_reader: Final = msgspec.json.Decoder(Review)
_encode: Final = msgspec.json.Encoder().encode


class NoReview(Exception):
    """What came is no admission review; the message says what would be one."""


class Outcome(msgspec.Struct):
    """The answer to a review, and what the log says of it."""

    body: bytes
    request: Request
    verdict: Verdict


def read(data: bytes) -> Request:
    """Read a review; raises NoReview."""
    try:
        review = _reader.decode(data)
    except msgspec.ValidationError as error:
        raise NoReview(f"this is no {KIND}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoReview(f"the body is no JSON: {error}") from None
    if review.kind != KIND or review.apiVersion != API:
        found = f"{review.apiVersion or 'no apiVersion'}, {review.kind or 'no kind'}"
        raise NoReview(f"expected {API}, {KIND}; got {found} (admissionReviewVersions: [v1])")
    if review.request is None:
        raise NoReview(f"this {KIND} has no request")
    if not review.request.uid:
        raise NoReview("request.uid is empty")
    return review.request


def answer(request: Request, settings: Settings) -> Outcome:
    """Answer a review.  Never denies."""
    verdict = _verdict(request, settings)
    response: dict[str, Any] = {"uid": request.uid, "allowed": True}
    if verdict.operations:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(_encode(verdict.operations)).decode("ascii")
    if verdict.warnings:
        response["warnings"] = [_cut(text) for text in verdict.warnings[:MOST_WARNINGS]]
    body = _encode({"apiVersion": API, "kind": KIND, "response": response})
    return Outcome(body, request, verdict)


def _verdict(request: Request, settings: Settings) -> Verdict:
    kind = request.kind or Version()
    if (kind.group, kind.kind) != ("", "Pod") or request.subResource:
        what = f"{kind.kind or 'nothing'}{f'/{request.subResource}' if request.subResource else ''}"
        warning = f"misrule was asked about {what}; its webhook is for pods"
        return Verdict([], f"it is no pod but {what}", [warning])
    if request.operation != "CREATE":
        return Verdict([], f"a pod is patched when it is created, not at {request.operation}", [])
    try:
        pod = msgspec.convert(request.object, Pod)
    except msgspec.ValidationError as error:
        return Verdict([], f"its pod cannot be read: {error}", [f"misrule left this pod as it is: {error}"])
    return decide(pod, settings)


def _cut(text: str) -> str:
    """Make a warning fit: one line, of printable characters (RFC 9110 headers carry it to the client)."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
