# Two commands matter: `make tables` and `make test`. `make` alone lists all.
SUITE ?= embedded
ARGS ?=
PYTHON ?= python3
BIN := .venv/bin
export PYTHONUNBUFFERED := 1

help: ## list the targets
	@echo "make TARGET [SUITE=embedded|small_real|paper] [ARGS='further overrides']"
	@grep -hE '^[a-z0-9_-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

setup: .venv/installed ## make .venv and install the project into it

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

tables: setup ## run all methods on all three tasks of SUITE and print the tables
	$(BIN)/python -m bench -m experiment=table1 suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench -m experiment=table2 suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench -m experiment=figure4 suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench.figures suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench.tables suite=$(SUITE) $(ARGS)

table1: setup ## perturbation AUC of SUITE (Table 1 of the paper)
	$(BIN)/python -m bench -m experiment=table1 suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench.tables task=perturbation suite=$(SUITE) $(ARGS)

table2: setup ## segmentation of SUITE (Table 2 of the paper)
	$(BIN)/python -m bench -m experiment=table2 suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench.tables task=segmentation suite=$(SUITE) $(ARGS)

figure4: setup ## token F1 over k of SUITE (Figure 4 of the paper), table and figure
	$(BIN)/python -m bench -m experiment=figure4 suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench.figures suite=$(SUITE) $(ARGS)
	$(BIN)/python -m bench.tables task=token_f1 suite=$(SUITE) $(ARGS)

sweep: setup ## any sweep: make sweep SUITE=... ARGS='task=segmentation method=lrp,rollout'
	$(BIN)/python -m bench -m suite=$(SUITE) $(ARGS)

train-embedded: setup ## train the two embedded checkpoints again
	$(BIN)/python -m bench.embedded.train

test: setup ## run the tests (with BENCH_DATA set, those on real data too)
	$(BIN)/python -m pytest -q

lint: setup ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove .venv, generated data and per-sample rows; tables stay
	rm -rf .venv data/embedded results/*/cells outputs multirun wandb .pytest_cache .ruff_cache *.egg-info

.PHONY: help setup tables table1 table2 figure4 sweep train-embedded test lint clean
