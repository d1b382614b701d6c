# The verbs.  Each one sets itself up: `make demo` in a fresh clone is enough.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# The command's own directory stays off the path, so that what PYTHONPATH says is what runs.
export PYTHONSAFEPATH := 1
SOURCES := PYTHONPATH=$(CURDIR)
NATIVE := PYTHONPATH=$(CURDIR)/build/native:$(CURDIR)
# Files of tests are shared out between two processes: most of the time tests wait.  `JOBS=0` runs them in one.
JOBS ?= 2
PYTEST = $(PY) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types format build bench fuzz mutation clean

help:
	@echo 'make demo      see faults injected into real traffic (a tour of a minute)'
	@echo 'make test      lint, types, import contracts, and the tests on both builds'
	@echo 'make lint      ruff, formatting, import contracts'
	@echo 'make types     mypy --strict'
	@echo 'make format    let ruff put the files in shape'
	@echo 'make build     compile the hot modules into build/native/ (needs gcc and python3-dev)'
	@echo 'make bench     compare with HAProxy, nginx, Envoy on this machine'
	@echo 'make fuzz      the property tests with many more examples'
	@echo 'make mutation  disable each fault, matcher and part of sample: a test must go red'
	@echo 'make setup     only make the virtual environment .venv, with misrule in .venv/bin'
	@echo 'make clean     remove what the other verbs made'

# ---- setting up: .venv is made again only when pyproject.toml changed ------------------------------

$(VENV)/run.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'misrule needs Python 3.11 or newer as $(PYTHON). Install it with: apt-get install -y python3'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo 'python3-venv is missing. Install it with: apt-get install -y python3-venv'; exit 1; }
	@echo 'setting up $(VENV)'
	@$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check 'setuptools>=77'
	@MISRULE_NATIVE=0 $(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e .
	@rm -f $(VENV)/dev.stamp
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@echo 'adding what tests and checks need to $(VENV)'
	@MISRULE_NATIVE=0 $(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

setup: $(VENV)/dev.stamp

# ---- running ----------------------------------------------------------------------------------------

demo: $(VENV)/run.stamp
	@$(SOURCES) $(PY) -m proxy demo $(ARGS)

# ---- checking ---------------------------------------------------------------------------------------

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(SOURCES) $(VENV)/bin/lint-imports

types: setup
	$(PY) -m mypy

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# The interpreted build first, then the same tests on the compiled one; pytest's summary comes last.  Compiling
# takes minutes of one core: it is done meanwhile, and what needs no quiet machine is tested first.
test: lint types
	@if why=$$($(PY) build_native.py --check); then \
	  mkdir -p build; $(PY) build_native.py > build/native.log 2>&1 & compiling=$$!; \
	  echo 'tests on the interpreted build; the other one is being compiled'; \
	  $(SOURCES) MISRULE_EXPECT=interpreted $(PYTEST) || { kill $$compiling; exit 1; }; \
	  wait $$compiling || { cat build/native.log; exit 1; }; \
	  echo 'tests on the compiled build' && $(NATIVE) MISRULE_EXPECT=compiled $(PYTEST); \
	else \
	  echo "the compiled build steps aside: $$why"; \
	  echo 'tests on the interpreted build' && $(SOURCES) MISRULE_EXPECT=interpreted $(PYTEST); \
	fi

fuzz: setup
	$(SOURCES) HYPOTHESIS_PROFILE=fuzz $(PY) -m pytest tests/property tests/wire --timeout 3600 $(ARGS)

mutation: setup
	$(SOURCES) $(PY) -m tests.mutation $(ARGS)

# ---- building and measuring -------------------------------------------------------------------------

build: setup
	$(PY) build_native.py

# Without a compiler the compiled subject steps aside, the others are measured.
bench: setup
	@$(PY) build_native.py || true
	$(SOURCES) $(PY) -m benchmarks $(ARGS)

clean:
	rm -rf build dist $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
