# Everything that a person who uses or works on Luthier types. Needs Python 3.11 or newer and pip.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test lint docs lock clean

# The environment is made once for each state of the lock file.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/installed
	$(BIN)/python -m core recipe=s24_int8

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.docs --check

docs: .venv/installed
	$(BIN)/python -m tools.docs

# Takes the newest versions that pyproject.toml allows and pins them.
lock: .venv/installed
	$(BIN)/python -m piptools compile --quiet --no-header --no-emit-index-url --no-emit-find-links \
		--strip-extras --extra qualcomm --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv outputs
