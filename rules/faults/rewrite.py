"""rewrite: a message arrives changed."""

from typing import ClassVar

from rules.actions import Action
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.message_actions import Rewrite
from rules.params import BadValue
from rules.phases import REQUEST_HEAD, RESPONSE_HEAD
from rules.records import Field, Record, Values
from rules.rewrite_params import REQUEST, RESPONSE


class RewriteFault(Fault):
    """The upstream gets another request than was sent, the client another answer; each is well-formed."""

    KIND: ClassVar[str] = "rewrite"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "request": Field(REQUEST, None, "what becomes of the request: headers, method, path, body"),
            "response": Field(RESPONSE, None, "what becomes of the upstream's answer: headers, status, body"),
        },
        human="a mapping such as {response: {status: 500}}",
    )

    def __init__(self, action: Rewrite) -> None:
        super().__init__(RESPONSE_HEAD if action.request is None else REQUEST_HEAD)
        self.action: Rewrite = action
        self.of_requests = True
        self.both = action.request is not None and action.response is not None

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        if values["request"] is None and values["response"] is None:
            raise BadValue("expected at least one of request, response")
        return RewriteFault(Rewrite(values["request"], values["response"]))

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Rewrite."""
        return self.action
