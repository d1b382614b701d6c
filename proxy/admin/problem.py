"""Errors of the admin endpoint: RFC 9457 problem documents, one shape for all.

A view raises ``Refusal``; whatever else goes wrong becomes one before it leaves.
"""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from rules.text import Problem

CONTENT_TYPE: Final = "application/problem+json"
PREFIX: Final = "urn:misrule:problem:"  # RFC 9457 section 3.1.1: a URI that need not be fetched


class Mistake(Struct, frozen=True):
    """One mistake in a document that was sent."""

    text: Annotated[str, Meta(description="The whole mistake on one line: source:line:column: path: message")]
    message: Annotated[str, Meta(description="What is wrong")]
    path: Annotated[str, Meta(description="The key, such as rules[3].match.path; empty for the document")]
    line: Annotated[int, Meta(ge=0, description="From 1; 0 where unknown")]
    column: Annotated[int, Meta(ge=0, description="From 1; 0 where unknown")]
    source: Annotated[str, Meta(description="The file, or where else the document came from")]


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """Why a call was refused (RFC 9457)."""

    type: Annotated[str, Meta(description="Names the kind of problem; stays the same between versions")]
    title: Annotated[str, Meta(description="The kind of problem in words")]
    status: Annotated[int, Meta(ge=400, le=599, description="The HTTP status")]
    detail: Annotated[str, Meta(description="What is wrong with this call")] = ""
    errors: Annotated[list[Mistake], Meta(description="Every mistake in the document that was sent")] = []
    version: Annotated[
        int | None, Meta(description="The version in force, where the one asked for is not")
    ] = None


class Refusal(Exception):
    """Raised by a view to answer with a problem document."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str = "",
        *,
        title: str = "",
        errors: list[Mistake] | None = None,
        version: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {kind}: {detail}")
        self.status = status
        self.headers = headers or {}
        self.document = ProblemDocument(
            PREFIX + kind, title or HTTPStatus(status).phrase, status, detail, errors or [], version
        )

    @property
    def body(self) -> bytes:
        """The problem document as JSON."""
        return msgspec.json.encode(self.document)


def invalid_rules(problems: list[Problem]) -> Refusal:
    """Make the answer to a document with mistakes: all of them, with their places."""
    return Refusal(
        422,
        "invalid-rules",
        f"{len(problems)} mistake{'s' if len(problems) != 1 else ''}; nothing was changed",
        title="The rules are not valid",
        errors=[mistake(problem) for problem in problems],
    )


def mistake(problem: Problem) -> Mistake:
    """Write one mistake as it is sent."""
    place = problem.place
    return Mistake(str(problem), problem.message, problem.path, place.line, place.column, place.source)
