# make setup        install everything into .venv (the other targets do it themselves)
# make demo         the main job on this machine: data, sweep, MLflow, promotion, detection
# make test         the tests that need nothing but Python
# make acceptance   the tests that start real servers and clusters
# make cluster-demo what docs/cluster.md tells, on three nodes in network namespaces
# make faults       everything that may happen to a cluster while a run trains on it, half an hour
# make soak         a sweep under thirty faults, drawn by a seed: make soak SEED=0, half an hour
# make deploy       the files in platform/deploy, from its lab.yaml
# make lint         ruff and mypy
# make fuzz         20 000 spoiled inputs for the readers of data sets, YAML, weights, checkpoints and ONNX

PYTHON ?= python3
BIN := .venv/bin

export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true
export DVC_NO_ANALYTICS = 1

.PHONY: setup demo test acceptance cluster-demo faults soak deploy lint fuzz lock
setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; ok = (3, 11) <= v < (3, 13); sys.exit(0 if ok else f"yolab needs Python 3.11 or 3.12 and $(PYTHON) is {v.major}.{v.minor}: say make setup PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip, sys' 2>/dev/null || { $(PYTHON) -c 'import sys; v = sys.version_info; print(f"This Python lacks ensurepip, so it can make no environment: install the package python{v.major}.{v.minor}-venv (Debian, Ubuntu: apt-get install python{v.major}.{v.minor}-venv)")' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not acceptance and not faults" --numprocesses 2

acceptance: setup
	$(BIN)/python -m pytest -m acceptance

cluster-demo: setup
	$(BIN)/python -m pytest tests/acceptance/test_guide.py --capture=no

faults: setup
	$(BIN)/python -m pytest -m faults --capture=no

SEED ?= 0

soak: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak $(SEED)

deploy: setup
	@PYTHONPATH=platform $(BIN)/python -m deploy

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.models.test_hostile_files 10000

demo: setup
	@$(BIN)/yolab data demo data/demo
	@$(BIN)/yolab data version data/demo --check
	@if test -d runs/demo; then $(BIN)/yolab sweep resume demo; else $(BIN)/yolab sweep demo --space demo --trials 4 --grace 6 --reduction 6; fi
	@$(BIN)/yolab promote demo --model demo-detector --min-ap50 0.7
	@$(BIN)/yolab predict data/demo/val2017 --most 4 --weights models:/demo-detector@champion --output runs/demo/pictures --overwrite
	@echo
	@echo 'Look at the runs:    $(BIN)/yolab ui'
	@echo 'Use the detector:    $(BIN)/yolab predict IMAGES --weights models:/demo-detector@champion'

# After a change of the dependencies in pyproject.toml; needs uv (pip install uv), because pip alone backtracks for minutes.
lock:
	uv pip compile pyproject.toml --extra cluster --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate --output-file requirements.lock
