# make run: set up and play the demo.  make test: set up and run what .ci/run runs.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := vpp forecasting dispatch grid_models adapters

.PHONY: setup run test slow lock

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Installing the locked packages into $(VENV) ..."
	@set -e; started=$$(date +%s); \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); then \
	  install="$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python"; \
	else \
	  echo "uv $(UV_VERSION) cannot be installed, going on with pip"; \
	  install="$(BIN)/python -m pip install --quiet --disable-pip-version-check"; \
	fi; \
	$$install --require-hashes -r requirements.lock; \
	$$install --no-deps --no-build-isolation --config-settings editable_mode=compat -e .; \
	echo "Packages installed in $$(( $$(date +%s) - started )) s"
	@touch $@

run: setup
	$(BIN)/vpp demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/mypy --config-file tests/mypy.ini --cache-dir .mypy_cache/tests tests benchmarks
	$(BIN)/pytest -q -n 2

slow: setup
	$(BIN)/pytest -q -m slow

lock:
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --all-extras --no-header --output-file requirements.lock
