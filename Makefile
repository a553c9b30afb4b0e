# One command each, the same at home and in CI. Each sets up what it needs, once, and says what it does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STORE ?= store
# That share the tests of `make check-trust`: as many as there are cores.
PROCESSES ?= auto
# What tests need besides Python; where one is missing, what needs it is skipped, and the summary says so.
PROGRAMS := chromium:chromium chromedriver:chromium-driver strace:strace postgres:postgresql redis-server:redis-server
TRUST := tests/trust tests/machines tests/pipeline/boxed tests/pipeline/runs/test_together.py tests/ingest/test_session_memory.py \
	tests/flows/test_serving.py

.PHONY: demo test check-all check-trust bench docs up clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "neuroloom needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once, a few minutes; a later run starts at once)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) 2>/dev/null || { .ci/system-packages ensurepip:python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/neuroloom demo --store $(STORE)

up: $(READY)
	$(BIN)/neuroloom up --store $(STORE)

test: $(READY)
	@.ci/system-packages $(PROGRAMS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not trust"

check-all: test
	$(BIN)/python -m pytest -m slow

check-trust: $(READY)
	@.ci/system-packages $(PROGRAMS)
	NEUROLOOM_EXAMPLES=3000 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup $(TRUST)

bench: $(READY)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
