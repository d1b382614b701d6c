"""Takes a breaker of ours and an original through the same traces, and compares them step by step."""

import subprocess
from dataclasses import dataclass, field
from random import Random

from rules.breakers.figures import STATES, Figures
from rules.breakers.keeper import Breakers, Pass
from tests.unit.rules.breakers.traces import ASK, END, trace

STEPS = 60


@dataclass
class Run:
    """A trace as our breaker took it: the lines for the original, and what it must answer."""

    lines: list[str]
    wanted: list[str] = field(default_factory=list)


def run_ours(figures: Figures, header: str, dice: Random, start: int, drops: bool) -> Run:
    """Take ours through a trace, and write down what happens; without ``drops`` what is given up fails."""
    breakers = Breakers("oracle", figures)
    run = Run([f"trace {header} {start}"])
    now = start
    under_way: list[Pass] = []
    steps = trace(figures, dice, STEPS)
    steps[0].wait = 0  # ours begins with its first call
    for step in steps:
        now += step.wait
        admitted = "-"
        if step.what == ASK:
            passed = breakers.admit(b"", now)
            admitted = "0" if passed is None else "1"
            if passed is not None:
                under_way.append(passed)
            run.lines.append(f"ask {step.wait}")
        elif not under_way:
            now -= step.wait
            continue
        else:
            which = step.which % len(under_way)
            passed = under_way.pop(which)
            if step.what == END or not drops:
                failed = step.failed or step.what != END
                passed.judge(now, failed, step.slow)
                how = f"{'bad' if failed else 'ok'} {'slow' if step.slow else 'fast'}"
                run.lines.append(f"end {step.wait} {which} {how}")
            else:
                passed.drop(now)
                run.lines.append(f"drop {step.wait} {which}")
        run.wanted.append(f"{admitted} {STATES[breakers.keys[b''].state] if breakers.keys else 'closed'}")
    return run


def compare(runs: list[Run], command: list[str]) -> None:
    """Let the original take the same traces, and find the first step where it says something else."""
    lines = [line for run in runs for line in run.lines]
    met = {wanted for run in runs for wanted in run.wanted}
    assert met >= {"0 open", "1 half_open", "0 half_open", "- closed", "- open"}  # the traces go everywhere
    done = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    assert len(said) == sum(len(run.wanted) for run in runs), done.stderr[-3000:]
    at = 0
    for number, run in enumerate(runs):
        theirs = said[at : at + len(run.wanted)]
        at += len(run.wanted)
        for step, (ours, their) in enumerate(zip(run.wanted, theirs, strict=True)):
            story = "\n".join(run.lines[: step + 2])
            assert ours == their, f"trace {number}, step {step}: ours {ours}, theirs {their}\n{story}"
