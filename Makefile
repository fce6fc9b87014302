# Every target makes .venv and installs tlbench first if that is not yet done.
#   make bench SUITE=few_shot_vision      run a suite and write its leaderboard
#   make test                             run the tests

SUITE  ?= few_shot_vision
PRESET ?=
ARGS   ?=
# The first interpreter that is new enough; name another with `make PYTHON=/path/to/python3.12 ...`
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN   := .venv/bin
READY := .venv/.tlbench-ready
# One thread a process: equal arithmetic gives equal bytes, and two processes share two cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help bench report test check perf clean
.DELETE_ON_ERROR:

help: ## this list
	@echo "make TARGET [SUITE=$(SUITE)] [PRESET=lite] [ARGS='--workers 2'] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

bench: $(READY) ## run SUITE (or go on where it stopped) and write its leaderboard
	$(BIN)/tlbench run $(SUITE) $(if $(PRESET),--preset $(PRESET)) $(ARGS)

report: $(READY) ## write the report of SUITE again from what is stored
	$(BIN)/tlbench report $(SUITE) $(if $(PRESET),--preset $(PRESET)) $(ARGS)

test: $(READY) ## every test; ARGS go to pytest
	@$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q $(ARGS)

check: $(READY) ## style, types and the layers of the architecture
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(ONE_THREAD) $(BIN)/python -m pytest -q tests/test_layers.py

perf: $(READY) ## measure speed against plain loops, into results/perf; ARGS go to tests/perf/yardstick.py (a whole grid: grid.py)
	@$(BIN)/python tests/perf/yardstick.py $(ARGS)
	@$(ONE_THREAD) $(BIN)/python tests/perf/lanes.py
	@$(ONE_THREAD) $(BIN)/python tests/perf/report.py
	@$(ONE_THREAD) $(BIN)/python tests/perf/inference.py

clean: ## remove caches and build leavings; results and .venv stay
	rm -rf .pytest_cache .ruff_cache .mypy_cache build dist *.egg-info
	find tlbench tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "tlbench needs Python 3.11 or newer, and none was found;" \
		"install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tlbench needs Python 3.11 or newer;" \
		"'$(PYTHON)' is not; name another: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "installing tlbench into .venv (once; torch is large)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,text]' -c constraints.txt
	@touch $@
