# make help lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check format protos wheel bench bench-search chaos clean

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# DeepSpeed compiles nothing at installation; its operators are not needed on the CPU.
INSTALL := DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= 2
# A thread for each process: more threads than cores wait for each other, up to twenty times as long.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS)
COUNT ?= 20

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create .venv and install everything (once; about 3 minutes)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not here: install Python 3.11, or name one with make PYTHON=..."; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): about 3 GB, 2 to 5 minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/aufleet doctor --only system
	@touch $@

demo: setup ## Faces, search, promotion, service and an answer, on this machine (KEEP=1, SHORT=1, FRESH=1)
	@$(BIN)/aufleet demo $(if $(KEEP),--keep) $(if $(SHORT),--short) $(if $(FRESH),--fresh)

test: setup ## Every test that needs no GPU
	@echo "Running the tests on $(WORKERS) processes: at most 20 minutes"
	@$(PYTEST) --dist loadfile --no-loadscope-reorder

check: setup ## Format, lint, types, room contracts and the fast tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(PYTEST) tests/unit tests/test_layout.py tests/test_protos.py

format: setup ## Write the format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

protos: setup ## Generate platform/aufleet/api and platform/aufleet/inference from protos/
	@$(BIN)/python -m grpc_tools.protoc -I protos --python_out=platform --pyi_out=platform \
		--grpc_python_out=platform $$(cd protos && find aufleet -name '*.proto' | sort)

wheel: setup ## Build dist/ for a cluster: the wheel and the pins
	@$(BIN)/python -m hatchling build -t wheel && cp constraints.txt dist/

bench: setup ## The benchmark programs; prints ratios measured in one run
	@failed=; for program in tests/benchmarks/*.py; do \
		echo "== $$program"; $(BIN)/python $$program; code=$$?; \
		[ $$code -ne 130 ] || exit 130; \
		[ $$code -eq 0 ] || failed="$$failed $$program"; \
	done; [ -z "$$failed" ] || { echo "missed a limit or failed:$$failed"; exit 1; }

bench-search: setup ## All eight networks x three folds in one search, and its report (an hour)
	@$(BIN)/aufleet store start
	@$(BIN)/aufleet data synth --name eight --subjects 18 --frames 24 --units AU1,AU2,AU12,AU25,AU26
	@$(BIN)/aufleet tune eight
	@$(BIN)/aufleet report eight --out search.html

chaos: setup ## The programs that break things while work runs (COUNT=20)
	@for program in tests/chaos/*.py; do echo "== $$program"; $(BIN)/python $$program --count $(COUNT) || exit 1; done

clean: ## Stop the local store and remove what demo and tests made
	@if test -x $(BIN)/aufleet; then $(BIN)/aufleet store stop; fi
	@rm -rf .aufleet .pytest_cache .ruff_cache build dist
