"""Run the tests of the rules against each mutant; ends with status 1 if one survives.

``python -m tests.mutation [words]``: only the mutants whose name holds one of the words.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutants import Mutant, all_mutants

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("proxy", "rules", "certs", "tests", "pyproject.toml")
TESTS = ("tests/faults", "tests/unit/rules")
FAILED = 1  # pytest's status when tests ran and one failed


def run_tests(mutant: Mutant | None) -> subprocess.CompletedProcess[str]:
    """Run the tests in a copy of the tree, with the mutant's file in place of its own."""
    with tempfile.TemporaryDirectory(prefix="misrule-mutation-") as folder:
        copy = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        if mutant is not None:
            (copy / mutant.file).write_text(mutant.text)
        near = [f"tests/faults/test_{Path(mutant.file).stem}.py"] if mutant else []
        paths = [path for path in (*near, *TESTS) if (copy / path).exists()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *paths]
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONSAFEPATH": "1"}
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def judge(mutant: Mutant) -> tuple[Mutant, str]:
    """What became of a mutant: the test that caught it, or "" where none did."""
    done = run_tests(mutant)
    if done.returncode not in (0, FAILED):
        raise RuntimeError(
            f"{mutant.name}: pytest could not run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
        )
    caught = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return mutant, (caught or ["?"])[0] if done.returncode == FAILED else ""


def main(words: list[str]) -> int:
    """Judge the mutants, print one line for each, and give the exit status."""
    healthy = run_tests(None)
    if healthy.returncode != 0:
        print(healthy.stdout[-3000:] + healthy.stderr[-1000:])
        print("the tests fail without any mutant")
        return 2
    mutants = [m for m in all_mutants(ROOT) if not words or any(word in m.name for word in words)]
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, caught in pool.map(judge, mutants):
            survivors += not caught
            print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}  {caught[:120]}", flush=True)
    print(f"{len(mutants)} mutants, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
