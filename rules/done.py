"""What rules have done to something that outlives a snapshot."""

from rules.compiled import CompiledRule
from rules.plan import Chosen
from rules.snapshot import Plan, Snapshot


class Done:
    """The faults that have acted on what outlives a snapshot, a tunnel: each plan after the first knows them.

    So a change of some rules does not repeat what the others did.
    """

    def __init__(self) -> None:
        self._acted: list[Chosen] = []
        self._lasting: list[Chosen] = []  # of plans that were replaced

    def note(self, plan: Plan) -> None:
        """Take in what has acted of a plan that is to be replaced."""
        for chosen in plan.chosen:
            if chosen.acted:
                self._acted.append(chosen)

    def forget_changed(self, snapshot: Snapshot) -> None:
        """Forget what was done by rules that do not act in this snapshot, are others there, or act anew."""
        kept: list[Chosen] = []
        for chosen in self._acted:
            now = snapshot.by_name.get(chosen.rule.name)
            if (
                now is not None
                and now.state.awake
                and now.same_as(chosen.rule)
                and now.since() == chosen.since
            ):
                kept.append(chosen)
        self._acted = kept

    def release(self, plan: Plan) -> None:
        """End a plan that is to be replaced, but for what goes on: it holds its place until ``end``."""
        for chosen in plan.chosen:
            if chosen.fault.shapes and chosen.acted:
                self._lasting.append(chosen)
        for chosen in self._lasting:
            if chosen in plan.chosen:
                plan.chosen.remove(chosen)
        plan.release()
        ended = [chosen for chosen in self._lasting if not self.has(chosen.rule, chosen.number)]
        for chosen in ended:
            self._lasting.remove(chosen)
            chosen.give_back()

    def end(self) -> None:
        """Give back what was held."""
        for chosen in self._lasting:
            chosen.give_back()

    def has(self, rule: CompiledRule, number: int) -> bool:
        """Whether this fault of the rule, by its place, has acted; changed rules were forgotten before."""
        for chosen in self._acted:
            if chosen.number == number and chosen.rule.name == rule.name:
                return True
        return False
