# Two commands matter: `make demo` and `make test`. Both create .venv first and require only Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo baselines three-baselines test lint types unit bench format site serve lighthouse zensical clean

help:  ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "apsite needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/installed  ## Evaluate the embedded pruned network and build the site with the result
	$(BIN)/apsite demo

SERIES ?= resnet18 vgg16
DATA_DIR ?=
# The survey's results have the keys of ResNet18 and VGG16, and no run replaces them by itself: see the guide.
RECORDS ?= $(if $(filter resnet8,$(SERIES)),evaluations,.apsite/evaluations)
baselines: $(VENV)/installed  ## Make the baselines (requires a GPU; SERIES=resnet8 or criteria runs on a CPU), resumable
	$(BIN)/apsite baselines $(SERIES:%=baselines/%.toml) --output $(RECORDS) $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(if $(filter resnet8,$(SERIES)),--test-data embedded)

DENSE ?= baselines/resnet8/LWM_Han2015Learning_R8_CIFAR10_dense.safetensors
THREE ?= L1_Li2017Pruning_R8_CIFAR10_S_75 LWM_Han2015Learning_R8_CIFAR10_US_99 LAMP_Lee2021Layer_R8_CIFAR10_US_99
three-baselines: $(VENV)/installed  ## Three baselines from a dense ResNet8 (DENSE=...), in half an hour on 2 cores, resumable
	$(BIN)/apsite baselines baselines/resnet8.toml --dense $(DENSE) $(THREE:%=--model %) --checkpoints .apsite/three --output .apsite/three/evaluations $(if $(DATA_DIR),--data-dir $(DATA_DIR)) --test-data embedded

test: lint types unit  ## Lint, types and the tests, without the slow ones

lint: $(VENV)/installed  ## Style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed  ## Static types
	$(BIN)/mypy

unit: $(VENV)/installed  ## Tests alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --dist loadfile

ROWS ?= demo,hofmn,filters,fab,resnet18,passes,ray,catalogue
bench: $(VENV)/installed  ## Compare the speed with other software; ROWS=..., see `python -m benchmarks --help`
	for rows in $$(echo $(ROWS) | tr , ' '); do $(BIN)/python -m benchmarks --rows $$rows $(BENCH) || exit 1; done

format: $(VENV)/installed  ## Fix the style automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

site: $(VENV)/installed  ## Build the site into build/
	$(BIN)/apsite build

serve: site  ## Build the site and serve it on http://127.0.0.1:8000
	$(BIN)/apsite serve

PROFILE ?= mobile
lighthouse: site  ## Lighthouse scores of the built site (needs npx and Chromium); PROFILE=mobile or desktop
	$(BIN)/python scripts/lighthouse.py build/site --profile $(PROFILE)

zensical: site  ## Build the same pages with the newest Zensical, in a separate environment
	$(PYTHON) -m venv build/zensical
	build/zensical/bin/python -m pip install --quiet --disable-pip-version-check --no-compile zensical
	PATH=$(CURDIR)/build/zensical/bin:$$PATH $(BIN)/python -m pytest -m slow tests/integration/test_other_generator.py

clean:  ## Remove what the commands above have made
	rm -rf $(VENV) build demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
