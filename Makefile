# `make demo` and `make test` need Python 3.11 or later and make; they set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.stamp
# Importing torch takes twice as long where compiled files may not be kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check "uv==$$(sed -n 's/^uv==//p' constraints.txt)"
	$(VENV)/bin/uv pip install -q --python $(VENV)/bin/python -c constraints.txt -e . --group dev
	touch $@

demo: $(STAMP)
	$(VENV)/bin/sfbench demo --store results/demo

test: $(STAMP)
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadgroup

clean:
	rm -rf $(VENV) build dist
