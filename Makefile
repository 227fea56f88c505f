# make setup   the environment, in .venv          make demo   the demo: from nothing to tables and figures
# make test    checks, in minutes                  make tiny   the smallest experiment, under a minute
# make claims   the experiment behind what the README claims, on many networks; up to forty minutes (docs/claims.md)
# make test-long         the checks that take longer: the demo, every page, kills, damage, a browser
# make test-slurm        the checks that need Slurm, on a cluster of one node that they start and stop
# make plan CONFIG=config.yaml       what an experiment costs before it runs, by table and in all
# make status CONFIG=config.yaml     which results of each table exist, are stale or are missing
# make report CONFIG=workflow/config/demo.yaml   one HTML file with tables, figures and every record (docs/report.md)
# make bench   how fast the parts are, as ratios with the limits that they are to reach; half an hour (docs/speed.md)
# make gpu-check   whether results are right on this machine's GPU, and how fast; six minutes (docs/speed.md)
# make docs   the pages of docs/ as HTML, in docs/_build/html, every link within them checked
# make accept-refactor   keep results after a change of code that changes no result (docs/reruns.md)
PYTHON ?= python3
# cuda: PyPI's wheels. cpu: PyTorch's own wheels without CUDA, a twelfth of the size.
TORCH ?= cuda

BIN := .venv/bin
RRL := $(BIN)/python -m rrl.cli

# For `make plan`, `make status` and `make report`: the config of the experiment.
CONFIG ?= config.yaml
report: CONFIG = workflow/config/demo.yaml

# For `make accept-refactor`: the code, and the environment, that made the results which are to be kept.
OLD ?= HEAD
OLD_PYTHON ?= $(BIN)/python

.PHONY: setup demo tiny claims test test-long test-slurm plan status report bench gpu-check docs accept-refactor

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml workflow/setup.sh
	@bash workflow/setup.sh "$(PYTHON)" "$(TORCH)"
	@touch $@

demo tiny claims: setup
	@$(RRL) run workflow/config/$@.yaml
	@for table in results/$@/table?.md; do cat $$table; echo; done
	@if [ $@ = claims ]; then $(RRL) claims; echo; fi
	@echo "To read them in a browser: make report CONFIG=workflow/config/$@.yaml"

plan status report: setup
	@$(RRL) $@ "$(CONFIG)"

# Of one thread; BENCH holds other options, for all: see python -m benchmarks --help.
bench: setup
	@$(BIN)/python -m benchmarks $(BENCH)

# Also without `make setup`, where a Python has PyTorch 2.11 or later: python -m benchmarks.gpu --help.
gpu-check: setup
	@$(BIN)/python -m benchmarks.gpu --out results/gpu-check

docs: setup
	@$(BIN)/python -m docs.reference
	@$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --builder html docs docs/_build/html
	@echo "Pages: docs/_build/html/index.html"

accept-refactor: setup
	@$(BIN)/python -m workflow.accept_refactor --old "$(OLD)" --old-python "$(OLD_PYTHON)"

# Snakemake and matplotlib keep caches; checks leave nothing outside the clone.
test test-long test-slurm: export XDG_CACHE_HOME := $(CURDIR)/.cache
test test-long test-slurm: export TORCHINDUCTOR_CACHE_DIR := $(CURDIR)/.cache/torchinductor
test test-long test-slurm: export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
test: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/mypy
	@$(BIN)/pytest --numprocesses=logical

# What its tests need beyond `make setup` is installed first, or named.
test-long: setup
	@bash tests/long/needs.sh
	@$(BIN)/pytest tests/long --numprocesses=logical

test-slurm: setup
	@$(BIN)/pytest tests/cluster
