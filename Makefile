# Everything that a person who uses or works on Luthier types. Needs Python 3.11 or newer and pip.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-long torture mutate lint docs site bench-extras bench-sweep bench-cluster bench-songs bench-separate bench-calibration bench-qualcomm bench-precision bench-tensorrt bench-coverage bench-engines lock sbom clean

# The environment is made once for each state of the lock files. PyTorch comes by itself, in the build
# that this machine's package index has; all else must be, byte for byte, what was locked. Last comes
# what that build of PyTorch asks for beside it: the GPU's libraries, or nothing.
# A user's packages alone are what `make demo` needs. All others are for work on Luthier: a superset, in
# the same versions, installed over them.
.venv/user: requirements-user.lock requirements-torch.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-torch.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements-user.lock
	$(BIN)/python -m pip install --quiet --requirement requirements-torch.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv/installed: .venv/user requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	touch $@

demo: .venv/user
	$(BIN)/python -m core recipe=s24_int8

test: .venv/installed
	$(BIN)/python -m pytest

# A quarter of an hour: clusters, every phone's compiler, and whatever else takes long.
test-long: .venv/installed
	$(BIN)/python -m pytest -m long

# Half an hour: kills, full disks, hostile files. Its figures are committed and shown in docs/security.md.
torture: .venv/installed
	$(BIN)/python -m tests.torture

# An hour: changes the code that judges and keeps, one place at a time, and sees whether a test notices.
mutate: .venv/installed
	$(BIN)/python -m tools.mutate

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.docs --check

docs: .venv/installed
	$(BIN)/python -m tools.docs

# The documentation as a site, with a search, that opens from the disk: build/site/index.html. Broken
# links end the build. Its tools are no part of Luthier, so they have an environment of their own.
site: .venv-site/installed
	.venv-site/bin/python -m tools.site

.venv-site/installed: requirements-site.lock
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --no-deps --require-hashes --requirement requirements-site.lock
	touch $@

# A quarter of an hour: every extra alone beside the base, in a fresh environment, and its recipe.
bench-extras: .venv/installed
	$(BIN)/python -m tools.bench_extras
	$(BIN)/python -m tools.docs

# Half an hour and more: what the S24's compiler and emulator make of the full-size HTDemucs.
bench-qualcomm: .venv/installed
	$(BIN)/python -m tools.bench_qualcomm
	$(BIN)/python -m tools.docs

# Two hours: size, quality and speed of every precision, and what calibrating costs.
bench-precision: .venv/installed
	$(BIN)/python -m tools.bench_precision
	$(BIN)/python -m tools.docs

# A quarter of an hour, with the extra `rtx`: the engines that TensorRT-RTX builds of HTDemucs.
bench-tensorrt: .venv/installed
	$(BIN)/python -m tools.bench_tensorrt
	$(BIN)/python -m tools.docs

# An hour: hundreds of small networks through every exporter, quantizer and runtime.
bench-coverage: .venv/installed
	$(BIN)/python -m tools.coverage
	$(BIN)/python -m tools.docs

# Ten minutes: every engine with the bundled model, timed in turn; those that are not installed say so.
bench-engines: .venv/installed
	$(BIN)/python -m tools.bench_engines
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

# Pins every package for every platform, by version and hash: what is pinned stays, what pyproject.toml
# asks for anew is added. `make lock UPGRADE=--upgrade` takes the newest of all. uv asks the public
# index, or the one that UV_DEFAULT_INDEX names; none is written into the lock.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/uv pip compile --config-file tools/lock.toml --quiet $(UPGRADE) \
		--universal --python-version 3.11 --generate-hashes --extra qualcomm --extra dev \
		--constraint requirements-torch.lock --no-emit-package torch \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
	sed -n 's/^\([a-z0-9][^ ]*==[^ ]*\).*/\1/p' requirements.lock > .venv-lock/pinned.txt
	.venv-lock/bin/uv pip compile --config-file tools/lock.toml --quiet \
		--universal --python-version 3.11 --generate-hashes --extra qualcomm --group pyproject.toml:build \
		--constraint requirements-torch.lock --constraint .venv-lock/pinned.txt --no-emit-package torch \
		--custom-compile-command "make lock" --output-file requirements-user.lock pyproject.toml
	.venv-lock/bin/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
		--group pyproject.toml:site --custom-compile-command "make lock" \
		--output-file requirements-site.lock
	rm -rf .venv-lock

# What is installed, with licences and the lock's hashes, as CycloneDX: sbom.cdx.json.
sbom: .venv/installed
	$(BIN)/python -m tools.sbom sbom.cdx.json

# Ten minutes: many songs in one process and on Ray, with what plays them killed in the middle.
bench-songs: .venv/installed
	$(BIN)/python -m tools.bench_songs

# Three minutes: just the stems of a song, against playing it alone, in turn.
bench-separate: .venv/installed
	$(BIN)/python -m tools.bench_separate

# What `make` itself made. Stems and reports in outputs/ may have taken hours: they stay.
clean:
	rm -rf .venv .venv-lock .venv-site build/site build/site-trees sbom.cdx.json
