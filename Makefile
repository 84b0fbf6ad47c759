# The two commands are `make demo` and `make test`; the rest is here for developers.
# Everything is done by meson and ninja underneath; each flavour has its own folder.

PREFIX ?= /usr/local
EXAMPLE ?= orders
# What a demo runs on: embedded (SQLite, local log) or real (PostgreSQL, Kafka)
SERVERS ?= embedded
PYTHON ?= /usr/bin/python3
PYTEST = $(PYTHON) -m pytest -q
RELEASE = build
UNIT = meson test --print-errorlogs --no-rebuild -q -C

.PHONY: all packages demo test bench fuzz drill soak install format tidy unit asan fault tsan coverage \
	dev clean integration

all: packages
	@test -f $(RELEASE)/build.ninja || meson setup $(RELEASE) --prefix=$(PREFIX) > $(RELEASE).log || \
		(cat $(RELEASE).log; exit 1)
	@rm -f $(RELEASE).log
	@ninja -C $(RELEASE) --quiet
	@$(PYTHON) tools/tidy.py

# Installs what is missing when root, and otherwise names it in one line to copy.
packages:
	@tools/packages build

demo: all
	@tools/packages demo
	@examples/run $(EXAMPLE) --servers $(SERVERS)

test: all
	@tools/packages test
	@tools/test

bench: all
	@tools/packages bench
	@tests/bench/run

fuzz:
	@tools/packages fuzz
	@tests/fuzz/run

drill: all
	@tools/packages test
	@SLUICE_KILL_ROUNDS=500 $(PYTEST) tests/integration/test_kill_rounds.py
	@SLUICE_FLEET_SECONDS=1800 SLUICE_FLEET_KAFKA_SECONDS=600 $(PYTEST) -s tests/integration/test_fleet.py
	@SLUICE_DRILL_BUGS=all $(PYTEST) tests/seeded_bugs/test_drill_bugs.py
	@SLUICE_EXAMPLE_BUGS=all $(PYTEST) -n 3 tests/seeded_bugs/test_example_bugs.py
	@SLUICE_DRILL_SECONDS=$${SLUICE_DRILL_SECONDS:-1800} \
		SLUICE_DRILL_SEED=$${SLUICE_DRILL_SEED:-$$(date +%s)} $(PYTEST) -s tests/integration/test_drill.py

soak:
	@tools/packages test
	@tools/flavour dev relay_simulation consumer_simulation
	@build-dev/tests/simulation/relay_simulation 50000000
	@build-dev/tests/simulation/consumer_simulation 50000000

dev asan fault tsan coverage:
	@tools/packages test
	@tools/flavour $@

unit: dev

install: all
	@meson configure $(RELEASE) -Dprefix=$(abspath $(PREFIX)) && ninja -C $(RELEASE) --quiet
	meson install -C $(RELEASE) --no-rebuild

format:
	@tools/packages format
	clang-format-19 -i $$(git ls-files '*.c' '*.h')

tidy:
	@$(PYTHON) tools/tidy.py

clean:
	rm -rf build build-*
