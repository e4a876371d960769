# Two commands matter: `make tables` and `make test`. `make` alone lists all.
SUITE ?= embedded
PROTOCOL ?= paper
ARGS ?=
# Of make finetune: a choice of conf/dataset with splits train, val and test.
dataset ?= movies
# Where cells are computed (basic: one after the other here; local: processes of this machine; slurm: a cluster),
# the launcher's own settings (LAUNCHER_ARGS='hydra.launcher.partition=gpu') and the jobs that share a cell.
LAUNCHER ?= basic
LAUNCHER_ARGS ?=
SHARDS ?= 1
EXPERIMENTS ?= table1 table2 figure4 ablation_perturbation ablation_segmentation
# In which all methods compete.
TASKS ?= perturbation,faithfulness
TEXT_TASKS ?= faithfulness_texts,plausibility
PYTHON ?= python3
# The versions to install; CONSTRAINTS= takes the newest that pyproject.toml admits.
CONSTRAINTS ?= bench/constraints.txt
BIN := .venv/bin
RUN = $(BIN)/python -m bench -m hydra/launcher=$(LAUNCHER) $(LAUNCHER_ARGS) $(SHARDED)
SHARDED = $(if $(filter-out 1,$(SHARDS)),shards=$(SHARDS) 'shard=range(0,$(SHARDS))')
CHOICE = suite=$(SUITE) protocol=$(PROTOCOL) $(ARGS)
export PYTHONUNBUFFERED := 1

help: ## list the targets
	@echo "make TARGET [SUITE=embedded|small_real|paper] [PROTOCOL=paper|clean] [ARGS='further overrides']"
	@echo "            [LAUNCHER=basic|local|slurm] [LAUNCHER_ARGS='hydra.launcher.…=…'] [SHARDS=1]"
	@grep -hE '^[a-z0-9_-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

setup: .venv/installed ## make .venv and install the project into it

.venv/installed: pyproject.toml setup.py $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv: minutes the first time, as PyTorch is large"
	$(BIN)/python -m pip install --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS)) --editable '.[dev]'
	@touch $@

constraints: setup ## choose and pin the newest versions again: bench/constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m tests.constraints

quick: setup ## one table of embedded data, in about a minute
	$(BIN)/python -m bench.quick $(ARGS)

docs: setup ## build the documentation site: site/index.html; a dead link is an error
	$(BIN)/python -m mkdocs build --strict --quiet

tables: table1 table2 figure4 ablation ## run and print the three tables and the ablation of SUITE

table1: setup ## perturbation AUC of SUITE (Table 1 of the paper), table and figure
	$(RUN) experiment=table1 $(CHOICE)
	$(BIN)/python -m bench.figures figure=perturbation $(CHOICE)
	$(BIN)/python -m bench.tables table=perturbation $(CHOICE)

table2: setup ## segmentation of SUITE (Table 2 of the paper)
	$(RUN) experiment=table2 $(CHOICE)
	$(BIN)/python -m bench.tables table=segmentation $(CHOICE)

figure4: setup ## token F1 over k of SUITE (Figure 4 of the paper), table and figure
	$(RUN) experiment=figure4 $(CHOICE)
	$(BIN)/python -m bench.figures figure=token_f1 $(CHOICE)
	$(BIN)/python -m bench.tables table=token_f1 $(CHOICE)

ablation: setup ## what the parts of transformer attribution are worth, on SUITE
	$(RUN) experiment=ablation_perturbation $(CHOICE)
	$(RUN) experiment=ablation_segmentation $(CHOICE)
	$(BIN)/python -m bench.tables table=ablation $(CHOICE)

faithfulness: setup ## what the model says while patches (and words of texts) are removed: SRG, AOPC, ERASER's
	$(call scored,faithfulness)
	$(call scored,faithfulness_texts)

localisation: setup ## does the relevance lie on the annotated object? pointing game, energy, rank accuracy, ROC AUC
	$(RUN) experiment=localisation $(CHOICE)
	$(BIN)/python -m bench.tables table=localisation $(CHOICE)

plausibility: setup ## texts: token F1, AUPRC and IOU F1 against rationales, and tau to leave-one-out
	$(call scored,plausibility)

robustness: setup ## does the map stay when the image hardly changes? and what maps look like: Gini, entropy, ties
	$(RUN) experiment=robustness $(CHOICE)
	$(BIN)/python -m bench.tables table=robustness $(CHOICE)

sanity: setup ## does the map depend on the class (random logit) and on what the model learned (randomised parameters)?
	$(RUN) experiment=sanity $(CHOICE)
	$(BIN)/python -m bench.tables table=sanity $(CHOICE)

orders: setup ## what the sign of maps and the order of equally relevant patches are worth: SRG by |R|, and both orders of ties
	$(RUN) experiment=orders $(CHOICE)
	$(BIN)/python -m bench.tables table=orders $(CHOICE)

fill_study: setup ## metric x fill x unit on 50 images: how far the order of methods depends on what replaces a unit
	$(RUN) experiment=fill_study $(CHOICE)
	$(BIN)/python -m bench.tables table=fill_study limit=50 $(CHOICE)
	$(BIN)/python -m bench.tables.fills $(CHOICE)

agreement: setup ## how far the methods agree whose maps of the test images are kept (after make table1; ARGS='task=...')
	$(BIN)/python -m bench.agreement $(CHOICE)

compete: setup ## all methods for images in TASKS, dear ones on fewer samples, and their tables (TASKS=perturbation,sanity)
	$(call competing,,$(TASKS))

compete-texts: setup ## all methods for texts in TEXT_TASKS, dear ones on fewer samples, and their tables
	$(call competing,_texts,$(TEXT_TASKS))

plan: setup ## what a sweep of SUITE needs, before it runs: passes, maps, hours, memory, disk, jobs (ARGS='rate=1000')
	$(BIN)/python -m bench.plan $(CHOICE)

comma := ,
# Cells of all methods in some tasks; for each task a table of the cheap ones, and one with the dear ones on their samples.
define competing
$(foreach cost,cheap dear dearest,$(RUN) experiment=compete_$(cost)$(1) task=$(2) $(CHOICE)$(newline))
$(foreach task,$(subst $(comma), ,$(2)),$(foreach cost,cheap dear dearest,\
	$(BIN)/python -m bench.tables table=$(task) experiment=compete_$(cost)$(1) $(CHOICE)$(newline)))
endef

define newline


endef

# Cells, figure and table of a task whose experiment has its name.
define scored
$(RUN) experiment=$(1) $(CHOICE)
$(BIN)/python -m bench.figures figure=$(1) $(CHOICE)
$(BIN)/python -m bench.tables table=$(1) $(CHOICE)
endef

report: setup ## one page to look at, of the finished cells of SUITE: results/SUITE/report/index.html
	$(BIN)/python -m bench.report $(CHOICE)

run: setup ## any cells: make run SUITE=... ARGS='task=segmentation method=lrp,rollout'
	$(RUN) $(CHOICE)

# make -j submits all experiments to a cluster at once.
sweep: setup ## all cells of the paper's tables, no tables (EXPERIMENTS='table1 faithfulness', LAUNCHER=slurm, SHARDS=8)
	$(MAKE) --keep-going --no-print-directory $(SWEEPS)

SWEEPS = $(EXPERIMENTS:%=sweep-%)
$(SWEEPS): sweep-%: setup
	$(RUN) experiment=$* $(CHOICE)

finetune-movies: setup ## fine-tune the paper's text classifier on ERASER movies (ARGS='start=... output=...')
	$(BIN)/python -m bench.finetune dataset=movies $(ARGS)

finetune: setup ## the same recipe on other texts (dataset=fever, multirc, boolq, …; ARGS='start=... output=...')
	$(BIN)/python -m bench.finetune dataset=$(dataset) $(ARGS)

eraser: setup ## what there is of ERASER below DATA=root, and floors (GOLDEN=folder: the scorer; ARGS=out=results/eraser)
	$(BIN)/python -m bench.eraser data=$(DATA) $(if $(GOLDEN),golden=$(GOLDEN)) $(ARGS)

models: setup ## check the model families and write results/models.md
	$(BIN)/python -m tests.families

verify: setup ## compare with stored numbers of the authors' code, into results/verification.md (GOLDEN=folder DATA=root)
	$(BIN)/python -m bench.verify golden=$(GOLDEN) $(if $(DATA),data=$(DATA)) out=results/verification.md

compare-packages: .venv-packages/installed ## compare our metrics with Quantus and captum, in an environment of its own
	.venv-packages/bin/python -m tests.packages --output results/packages.md

.venv-packages/installed: tests/packages/requirements.txt
	test -x .venv-packages/bin/python || $(PYTHON) -m venv .venv-packages
	.venv-packages/bin/python -m pip install --disable-pip-version-check --requirement tests/packages/requirements.txt
	@touch $@

speed: setup ## measure the speed, fail beyond the bounds (REFERENCE=checkout adds the reference; ARGS)
	$(BIN)/python -m tests.speed $(if $(REFERENCE),--reference $(REFERENCE)) $(ARGS)

gpu: ## check maps, deviations and speed on a GPU, without setup: PYTHON has torch, wheels/ and data/ the rest (ARGS)
	$(PYTHON) -m tests.speed.gpu $(ARGS)

precision: setup ## measure how far maps in float32 and in mixed precision are from float64 (ARGS='--data ROOT --images 96')
	$(BIN)/python -m tests.speed.precision $(ARGS)

profile: setup ## name the five most expensive operations (ARGS='--method LRP --batch 1')
	$(BIN)/python -m tests.speed.profile $(ARGS)

train-embedded: setup ## train the two embedded checkpoints again
	$(BIN)/python -m bench.embedded.train

test: setup ## run the tests (with BENCH_DATA set, those on real data too)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

browser-test: setup ## test the pages in a real browser (Debian: apt-get install chromium)
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ echo "no Chromium on PATH; on Debian: apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest -q -m slow tests/views/test_browser.py tests/board/test_board_browser.py

test-slow: setup ## run the tests that take longer
	$(BIN)/python -m pytest -q -m slow

test-cpus: setup ## run the numerical tests as on other processors (ARGS='--kind haswell --threads 1 tests/runner/test_cell.py')
	$(BIN)/python -m tests.cpus $(ARGS)

slurm-test: setup ## bring up a Slurm on this machine, sweep there, end jobs, compare the tables (needs root)
	$(BIN)/python -m tests.slurm

board-check: setup ## check what is committed of the board, as far as its files tell (ARGS=FILE.json)
	$(BIN)/python -m bench.board --check --files-only $(ARGS)

lint: setup ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove .venv, generated data and per-sample rows; tables stay
	rm -rf .venv .venv-packages site build data/embedded results/*/cells results/*/report outputs multirun wandb .pytest_cache .ruff_cache *.egg-info

.PHONY: help setup constraints quick docs tables table1 table2 figure4 ablation faithfulness localisation plausibility \
	robustness sanity orders fill_study agreement compete compete-texts plan report run sweep $(SWEEPS) finetune \
	finetune-movies eraser models verify compare-packages speed gpu precision profile train-embedded test test-slow \
	test-cpus browser-test slurm-test board-check lint clean
