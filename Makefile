# Every target sets up what it needs. `make validate` is the main job, `make test` the checks.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready

.PHONY: help validate verify figures test test-slow lint docs bench paper clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Reinstalled only when the dependencies change. The package itself is installed in place.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,proof,cluster,export,compare,dev,docs]'
	@touch $@

validate: $(READY)  ## train with gates on the embedded digits, audit every pruning rule, write runs/<name>/
	$(RUN) -m training validate --preset digits

verify: $(READY)  ## check every mathematical claim
	$(RUN) -m dynamics verify

figures: $(READY)  ## draw all figures from the committed results
	$(RUN) -m figures

# Every command that a test starts would compile this package again where byte code is not kept.
test: $(READY)  ## the tests
	PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest

test-slow: $(READY)  ## the tests of whole commands: killed, interrupted, out of disk, in several processes
	PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -m slow tests

lint: $(READY)  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(READY)  ## the documentation, in build/docs/; fails on a warning or a dead link
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "documentation: build/docs/index.html"

bench: $(READY)  ## time ours against peers (quiet machine, please)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(RUN) -m benchmarks
	$(RUN) -m benchmarks.step
	$(RUN) -m benchmarks.shrunk
	$(RUN) -m benchmarks.kills

paper:  ## build paper/build/paper.pdf, where LaTeX is installed
	@command -v latexmk >/dev/null || { echo "make paper: LaTeX is not installed; on Debian: apt-get install --no-install-recommends latexmk lmodern texlive-latex-extra" >&2; exit 2; }
	@test -f paper/Makefile || { echo "make paper: the paper/Makefile is missing" >&2; exit 2; }
	$(MAKE) $(READY)
	$(MAKE) -C paper

clean:  ## remove the virtual environment and caches (never runs/ or data/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
