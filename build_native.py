"""Compile the hot modules with mypyc, as one group, out of the same sources that run interpreted.

Two callers: ``setup.py`` (wheels, ``pip install .``) and ``make build``, which runs this file and
leaves a compiled copy of the packages in ``build/native/``.  That directory is put before the
sources with PYTHONPATH; compiled files never lie beside the sources.

``MISRULE_NATIVE=0`` forbids compiling, ``MISRULE_NATIVE=1`` insists on it (no compiler is then an
error).  Unset, it compiles where a C compiler and Python's headers are at hand.
"""

import argparse
import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent
PACKAGES: Final = ("proxy", "rules", "certs")
TARGET: Final = ROOT / "build" / "native"

# Everything that an exchange runs through.  One group: a virtual call costs 16 ns inside a group
# and 134 ns between two.
COMPILED: Final = (
    "proxy/path/*.py",
    "proxy/wire/*.py",
    "proxy/net/*.py",
    "proxy/http1/*.py",
    "proxy/http2/*.py",
    "proxy/captured.py",
    "proxy/listener.py",
    "proxy/forwarding.py",
    "proxy/greeting.py",
    "proxy/handshake.py",
    "proxy/renewal.py",
    "proxy/feigned.py",
    "proxy/tunnel.py",
    "proxy/parting.py",
    "proxy/errors.py",
    "proxy/exchange.py",
    "proxy/performer.py",
    "proxy/alterations.py",
    "proxy/altered.py",
    "proxy/deadlines.py",
    "proxy/copies.py",
    "proxy/gathering.py",
    "proxy/slow_heads.py",
    "proxy/corruption.py",
    "proxy/gates.py",
    "proxy/pacing.py",
    "proxy/row.py",
    "proxy/shaping.py",
    "proxy/consulting.py",
    "proxy/limiting.py",
    "proxy/farewell.py",
    "proxy/worker.py",
    "proxy/metrics/calls.py",
    "proxy/metrics/cells.py",
    "rules/breakers/*.py",
    "rules/phases.py",
    "rules/facts.py",
    "rules/actions.py",
    "rules/body_actions.py",
    "rules/message_actions.py",
    "rules/way_actions.py",
    "rules/fault.py",
    "rules/draw.py",
    "rules/normal.py",
    "rules/correlation.py",
    "rules/reading.py",
    "rules/matchers.py",
    "rules/conditions.py",
    "rules/compiled.py",
    "rules/index.py",
    "rules/keys.py",
    "rules/limits.py",
    "rules/opening.py",
    "rules/sample.py",
    "rules/plan.py",
    "rules/snapshot.py",
    "rules/done.py",
    "rules/faults/*.py",
)

# Everything else stays interpreted; the first pattern that fits gives the reason.
INTERPRETED: Final[dict[str, str]] = {
    "*/__init__.py": "package docstrings and tables: nothing runs there per exchange",
    "proxy/__main__.py": "the entry point: `python -m` runs it as a script",
    "proxy/cli/*": "runs once, for people; click's decorators do not compile",
    "proxy/app.py": "the composition root: runs at start and stop",
    "proxy/upstreams.py": "runs at start",
    "proxy/history.py": "keeps versions of rules; coroutines",
    "proxy/state.py": "writes versions of rules to disk, in a thread",
    "proxy/life.py": "signals and the drain; coroutines",
    "proxy/listeners.py": "runs at start",
    "proxy/config/*": "read once at start; msgspec.Struct needs a metaclass",
    "proxy/dns/*": "looks names up, once per TTL; coroutines of aiodns",
    "proxy/health/*": "asks upstreams how they are, from Tasks; no exchange passes here",
    "proxy/netfilter/*": "runs once, before the proxy, for the kernel's rules",
    "proxy/admin/*": "aiohttp's coroutines; no exchange passes here",
    "proxy/injector/*": "patches pods when they are made; no exchange passes here",
    "proxy/reload.py": "waits for files; no exchange passes here",
    "proxy/changes.py": "puts rule sets in force; coroutines",
    "proxy/schedules.py": "runs at the edges of windows",
    "proxy/identities.py": "chooses certificates, once per handshake; coroutines, and OpenSSL does the work",
    "proxy/reader.py": "reads large rule sets in a helper process",
    "proxy/rulefiles.py": "looks at files, in a thread",
    "proxy/rewriting.py": "writes the messages that a rule changes; no other exchange passes here",
    "proxy/codings.py": "unpacks the bodies that a rule changes; zlib does the work",
    "proxy/events.py": "feeds those who watch; coroutines",
    "proxy/logs.py": "formats text off the un-faulted path",
    "proxy/log_writer.py": "waits for who reads lines, in a thread",
    "proxy/metrics/catalogue.py": "a table, read at scrape",
    "proxy/memory.py": "asks the collector for quiet while a rule set is built",
    "proxy/metrics/reloads.py": "counts changes of rules, not exchanges",
    "proxy/metrics/exposition.py": "runs at scrape; subclasses prometheus-client's types",
    "proxy/metrics/families.py": "runs at scrape; subclasses prometheus-client's types",
    "proxy/metrics/injecting.py": "runs at scrape; counts reviews, not exchanges",
    "rules/text.py": "reads documents; dataclasses",
    "rules/yaml_reader.py": "reads documents; subclasses PyYAML's types",
    "rules/places.py": "finds places in documents, where there are errors",
    "rules/params.py": "parses values when a rule is read",
    "rules/records.py": "parses values when a rule is read",
    "rules/*_params.py": "parses values when a rule is read",
    "rules/json_path.py": "reads the bodies that a rule changes; the scanner of json does the work",
    "rules/fault_param.py": "parses values when a rule is read",
    "rules/contradictions.py": "runs when a rule is read",
    "rules/fault_fields.py": "parses values when a rule is read",
    "rules/answers.py": "makes answers when a rule is read",
    "rules/breaker_answers.py": "makes answers when a rule is read",
    "rules/parse.py": "runs when a rule is read",
    "rules/schema.py": "runs when somebody asks for the schema",
    "rules/model.py": "frozen dataclasses: mypyc makes them slower, and a field typed object breaks it",
    "rules/compile.py": "runs when a rule set changes",
    "rules/indexing.py": "runs when a rule set changes",
    "rules/store.py": "runs when a rule set changes",
    "rules/explain.py": "answers people",
    "rules/schedule.py": "runs at the edges of windows",
    "rules/cron.py": "runs at the edges of windows",
    "rules/difference.py": "answers people",
    "certs/*": "mints certificates; OpenSSL does the work",
}

# mypyc type-checks what it compiles.  `make types` is the strict gate; here only what decides the
# compiled code counts, so a build environment without the dependencies gives the same result.
MYPY_OPTIONS: Final = ("--config-file=", "--ignore-missing-imports", "--follow-imports=silent")


def sources() -> list[str]:
    """Every module of the packages, as a path from the root of the tree."""
    found = (p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
    return sorted(p.relative_to(ROOT).as_posix() for p in found)


def reason_interpreted(source: str) -> str:
    """Why a module stays interpreted, "" where nothing says that it does."""
    return next((why for pattern, why in INTERPRETED.items() if fnmatch.fnmatch(source, pattern)), "")


def compiled_sources() -> list[str]:
    """The modules of the compiled group."""
    wanted = (s for s in sources() if any(fnmatch.fnmatch(s, pattern) for pattern in COMPILED))
    return [source for source in wanted if not source.endswith("/__init__.py")]


def obstacle() -> str:
    """What stands in the way of compiling, "" where nothing does.  Tries the compiler, not only its name."""
    if os.environ.get("MISRULE_NATIVE") == "0":
        return "MISRULE_NATIVE=0 forbids it"
    if sys.implementation.name != "cpython":
        return f"mypyc makes extensions for CPython, this is {sys.implementation.name}"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    command = str(compiler).split()
    if shutil.which(command[0]) is None:
        return f"no C compiler ({command[0]}); on Debian: apt-get install -y gcc python3-dev"
    include = sysconfig.get_path("include")
    probe = [*command, "-I", include, "-fsyntax-only", "-x", "c", "-"]
    tried = subprocess.run(probe, input=b"#include <Python.h>\n", capture_output=True, check=False)
    if tried.returncode != 0:
        return f"no Python.h in {include}; on Debian: apt-get install -y python3-dev"
    return ""


def extensions() -> list[Any]:
    """The extensions to build, [] for a pure build; relative to the current directory."""
    why_not = obstacle()
    if why_not:
        if os.environ.get("MISRULE_NATIVE") == "1":
            sys.exit(f"MISRULE_NATIVE=1, but this build cannot compile: {why_not}")
        print(f"misrule: pure build: {why_not}", file=sys.stderr)
        return []
    from mypyc.build import mypycify  # only a compiling build has it

    return mypycify(
        [*MYPY_OPTIONS, *compiled_sources()], opt_level="3", debug_level="0", group_name="misrule"
    )


def copy_sources() -> None:
    """Bring ``build/native/`` in step with the sources; an unchanged file keeps its time stamp."""
    wanted, compiled = set(sources()), set(compiled_sources())
    for old in [p for package in PACKAGES for p in (TARGET / package).rglob("*") if p.is_file()]:
        name = old.relative_to(TARGET).as_posix()
        module = name.split(".")[0] + ".py"
        stale = {
            ".py": module not in wanted,
            ".so": module not in compiled,
            ".yaml": not (ROOT / name).exists(),  # a directory of presets lists what is in it
        }
        if stale.get(old.suffix, False):
            old.unlink()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if not path.is_file() or path.suffix in {".pyc", ".so"}:
                continue
            copy = TARGET / path.relative_to(ROOT)
            if not copy.exists() or copy.read_bytes() != path.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)


def fingerprint() -> str:
    """What the compiled files depend on: every source (types cross modules), this file, the Python."""
    digest = hashlib.sha256(sys.version.encode())
    for name in [*sources(), "build_native.py", "pyproject.toml"]:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()


def build_in_place() -> None:
    """Make ``build/native/`` current: copied sources and the compiled group beside them."""
    stamp = TARGET / "stamp"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        stamp.touch()  # newer than every source, also one that was only touched
        return
    stamp.unlink(missing_ok=True)
    copy_sources()
    print(f"compiling {len(compiled_sources())} modules with mypyc into build/native/", flush=True)
    here = "import build_native, setuptools; "
    call = "setuptools.setup(name='misrule', packages=[], ext_modules=build_native.extensions())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "MISRULE_NATIVE": "1"}
    script = [sys.executable, "-c", here + call, "-q", "build_ext", "--inplace"]
    done = subprocess.run(script, cwd=TARGET, env=environment, check=False)
    if done.returncode != 0:
        sys.exit("compiling failed: see above")
    stamp.write_text(wanted)


def main() -> None:
    """``python build_native.py [--check]``: build, or only say whether it could be done."""
    parser = argparse.ArgumentParser(description="Compile the hot modules into build/native/.")
    parser.add_argument("--check", action="store_true", help="say what stands in the way, and build nothing")
    why_not = obstacle()
    if parser.parse_args().check or why_not:
        print(why_not or "the compiled build can be made")
        sys.exit(1 if why_not else 0)
    build_in_place()


if __name__ == "__main__":
    main()
