# Every target stands on .venv/.ready, which host/make_venv.py makes from pyproject.toml. `make` alone prints the targets.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
export MICROPYTHON
BIN := .venv/bin
FLASH_OPTIONS ?=

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 16

.venv/.ready: pyproject.toml host/make_venv.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null || \
		{ echo "mpota: Python 3.11 or newer is needed; install it and say 'make PYTHON=path ...'." >&2; exit 1; }
	@$(PYTHON) host/make_venv.py
	@touch $@

demo: .venv/.ready ## the main job, on two real firmwares and a virtual ESP32, in under a minute; LAYOUT=... for others
	@$(BIN)/python -m mpota_host.demo $(filter-out esp32,$(LAYOUT))

# A file of tests stays in one process, in the order of tests/suite/order.py; more than four only take memory. A process
# that dies ends the run: pytest-xdist loses its way where it puts another in its place.
WHOLE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --coverage

test: .venv/.ready ## all tests, on CPython and on the MicroPython unix port; ONLY="tests/core/test_frame.py -k WORD" for some
	@echo "tests on CPython:"
	@$(BIN)/python -m pytest -q $(or $(ONLY),$(WHOLE)); one=$$?; \
	echo "shared tests on the MicroPython unix port:"; \
	$(BIN)/python tests/run_unix.py $(ONLY) && exit $$one

check: .venv/.ready ## ruff and mypy; writes nothing
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "mpota: some files are not formatted; 'make fix' does it." >&2; exit 1; }
	@echo "types of host/, strictly; of device/, against the ESP32 stubs:"
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file .venv/stubs/mypy.ini device

fix: .venv/.ready ## format the code and repair what ruff can repair
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format .

bench: .venv/.ready ## sizes, memory and speed beside their peers, as a table and as JSON
	@$(BIN)/python -m mpota_host.bench

cut: .venv/.ready ## cut the power everywhere in an update's life; the map of it comes to build/cut.html
	@$(BIN)/mpota cut --page build/cut.html

board: .venv/.ready ## start a virtual ESP32 and print its port for mpremote, ampy and push
	@mkdir -p build
	@$(BIN)/mpota board --layout esp32

flash: .venv/.ready ## put mpota on the board at PORT=... (more options in FLASH_OPTIONS=...)
	@test -n "$(PORT)" || { echo "mpota: say which board, for example 'make flash PORT=/dev/ttyUSB0'." >&2; exit 2; }
	@$(BIN)/mpota flash --port $(PORT) $(FLASH_OPTIONS)

clean: ## remove .venv, build and every cache
	@rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test check fix bench cut board flash clean
