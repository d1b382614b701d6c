"""The tour: requests without rules, with rules, while the rules change, and the proof that is left."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.cli.demo.change import Change, change_under_way
from proxy.cli.demo.proof import Proof, look_for_proof
from proxy.cli.demo.stage import Stage
from proxy.cli.demo.story import NEW, OLD, RULES, STEPS, Saws, check_step

Say = Callable[[str], None]


@dataclass
class Row:
    """One line of the table."""

    fault: str
    request: str
    without: str
    with_rule: str
    wrong: str

    def plain(self) -> dict[str, Any]:
        """Give it for machines."""
        return {
            "fault": self.fault,
            "request": self.request,
            "without": self.without,
            "with": self.with_rule,
            "ok": not self.wrong,
            "wrong": self.wrong,
        }


class Tour:
    """Plays the parts one after the other and keeps what was seen."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self.stage = stage
        self.say = say
        self.rows: list[Row] = []
        self.change = Change(wrong="not played")
        self.proof = Proof(wrong="not played")
        self._seen: dict[str, Saws] = {}

    @property
    def wrong(self) -> list[str]:
        """Every part that did not show what it should."""
        found = [f"{row.fault}: {row.wrong}" for row in self.rows if row.wrong]
        found += [f"change of rules: {self.change.wrong}"] if self.change.wrong else []
        return found + ([f"proof: {self.proof.wrong}"] if self.proof.wrong else [])

    def compare(self) -> None:
        """Send the same requests without rules and with them."""
        self.say(f"Sending {len(STEPS)} kinds of requests through the proxy, first without any rule ...")
        without = [step.look(self.stage) for step in STEPS]
        self.say(f"... then with the rules in {self.stage.rules} ...")
        self.stage.put_in_force(RULES)
        for step, before in zip(STEPS, without, strict=True):
            now = step.look(self.stage)
            self._seen[step.rule] = now
            wrong = check_step(step, before, now)
            self.rows.append(Row(step.fault, step.request, step.tell(before), step.tell(now), wrong))

    def change_rules(self) -> None:
        """Change the rules file while clients keep sending, and put it back."""
        self.change = change_under_way(self.stage)
        self.stage.put_in_force(RULES)

    def prove(self) -> None:
        """Look for what an injection leaves behind."""
        self.proof = look_for_proof(self.stage, self._seen["items-flaky"])

    def plain(self) -> dict[str, Any]:
        """Give all of it for machines."""
        change, proof = self.change, self.proof
        return {
            "ok": not self.wrong,
            "steps": [row.plain() for row in self.rows],
            "change": {
                "answers": {"old": change.answers[OLD], "new": change.answers[NEW]},
                "first_new_ms": round(change.first_new * 1000, 1),
                "last_old_ms": round(change.last_old * 1000, 1),
                "wrong": change.wrong,
            },
            "proof": {"header": proof.header, "log": proof.log, "metric": proof.metric, "wrong": proof.wrong},
        }
