# Everything that a person who uses or works on Luthier types. Needs Python 3.11 or newer and pip.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test lint docs bench-sweep bench-cluster bench-songs bench-calibration bench-qualcomm bench-precision lock clean

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

# Half an hour and more: what the S24's compiler and emulator make of the full-size HTDemucs.
bench-qualcomm: .venv/installed
	$(BIN)/python -m tools.bench_qualcomm
	$(BIN)/python -m tools.docs

# Half an hour and more: size, quality and speed of every precision, and what calibrating costs.
bench-precision: .venv/installed
	$(BIN)/python -m tools.bench_precision
	$(BIN)/python -m tools.docs

# Ten minutes: calibrating the full-size HTDemucs, and ONNX Runtime's own loop over the same windows.
bench-calibration: .venv/installed
	$(BIN)/python -m tools.bench_calibration

# Half an hour: a sweep against its points one by one, killed in the middle, and searched.
bench-sweep: .venv/installed
	$(BIN)/python -m tools.bench_sweep

# Five minutes: a sweep over three machines that share a store at S3, one of which dies.
bench-cluster: .venv/installed
	$(BIN)/python -m tools.bench_cluster

# Pins the newest versions that pyproject.toml allows; torch is held at the version it is tested with.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0 '.[qualcomm,dev]'
	.venv-lock/bin/python -m pip freeze --exclude luthier | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock

# Ten minutes: many songs in one process and on Ray, with what plays them killed in the middle.
bench-songs: .venv/installed
	$(BIN)/python -m tools.bench_songs

clean:
	rm -rf .venv .venv-lock outputs
