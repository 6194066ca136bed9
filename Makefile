# Every target does its own set-up: the first `make` of any kind makes .venv and installs into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
WORKERS ?= 2
PACKAGING := pyproject.toml setup.cfg

.PHONY: run test test-cuda gpu-check one-answer lint types docs links reliability bench clean help

help:            ## say what the targets do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

run: $(STAMPS)/run          ## the main job: ten tasks in sequence, six methods, a page to open
	@$(BIN)/weightspace run permuted-mnist --overwrite

test: $(STAMPS)/dev links   ## all tests, in two processes: WORKERS=1 for one
	@$(BIN)/python -m pytest -n $(WORKERS)

test-cuda: $(STAMPS)/cuda   ## the backend "cuda" on this machine's GPU; fails where there is none
	@WEIGHTSPACE_REQUIRE_CUDA=1 $(BIN)/python -m pytest tests/test_cuda_gpu.py \
		tests/test_cuda_device.py tests/test_cuda_resources.py tests/test_bench_cuda.py
	@WEIGHTSPACE_REQUIRE_CUDA=1 $(BIN)/python -m pytest tests/test_kernels.py \
		tests/test_kernel_corners.py tests/test_conv.py -k "cuda and not cuda-host"

# On a machine that has everything already: PYTHONPATH=tests python -m gpu_check --part 1
gpu-check: $(STAMPS)/cuda   ## right answers, then speed, on a GPU: every step with a limit, wrong kernels named
	@PYTHONPATH=tests $(BIN)/python -m gpu_check --part 1; PYTHONPATH=tests $(BIN)/python -m gpu_check --part 2

# As if this were an AVX2 machine, then with one thread, then code for each kind of CPU: an hour.
one-answer: $(STAMPS)/dev links  ## all tests on AVX2's code and on one thread, and the same bits for every CPU's
	@NUMBA_CPU_NAME=haswell $(BIN)/python -m pytest -n $(WORKERS)
	@NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)
	@WEIGHTSPACE_TEST_ALL_CPUS=1 $(BIN)/python -m pytest tests/test_one_answer.py

lint: $(STAMPS)/dev         ## ruff, in check mode
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMPS)/dev links  ## mypy over the namespace, pyright over that and the tests
	@cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p weightspace
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

docs: $(STAMPS)/docs         ## the site, in build/docs: open build/docs/docs/index.html; a warning is an error
	@$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees -b html . build/docs

# The folders are parts of the namespace `weightspace`; checkers and editors see that through links.
links:
	@mkdir -p build/types/weightspace
	@for part in kernels nnlite methods bench; do \
		ln -sfn ../../../$$part build/types/weightspace/$$part; done

# What is tried next follows from coverage where there is atheris, from a corpus where there is none.
reliability: $(STAMPS)/dev  ## kills, faults, fuzzing and a soak, long; RELIABILITY="fuzz --seed 1"
	@$(BIN)/python -m pip install -q atheris || echo "no atheris here: fuzzing by mutation alone"
	@PYTHONPATH=tests $(BIN)/python -m reliability $(RELIABILITY) \
		--results bench/results/reliability.jsonl

bench: $(STAMPS)/run        ## the quick benchmarks of this machine, and a page of them
	@$(BIN)/weightspace bench all --quick

$(STAMPS)/run: $(PACKAGING)
	@$(MAKE) --no-print-directory $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[cpu,demo,bench]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/docs: $(PACKAGING)
	@$(MAKE) --no-print-directory $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[docs]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(PACKAGING)
	@$(MAKE) --no-print-directory $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[cpu,demo,bench,analysis,distributed,dev]'
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/run

$(STAMPS)/cuda: $(PACKAGING)
	@$(MAKE) --no-print-directory $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[cpu,cuda,demo,bench,analysis,distributed,dev]'
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/dev $(STAMPS)/run

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

clean:           ## remove what make made, keep runs
	rm -rf $(VENV) $(STAMPS) build dist *.egg-info
