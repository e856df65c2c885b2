# Everything a newcomer or CI calls. `make run` and `make test` set up what they need, once.

VENV := .venv
# The distribution's own where it is new enough: bcc is made for it, and it is built with care for speed.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
FUZZ_SECONDS ?= 60
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
MEMBERS := core bpf $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
COMPILED := $(patsubst %/setup.py,%,$(wildcard $(addsuffix /setup.py,$(MEMBERS))))
TYPED := $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pxd')
HOT := $(TYPED) $(TYPED:.pxd=.py) $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pyx') $(addsuffix /setup.py,$(COMPILED))
PLAIN_TESTS := core/tests plugins/http1 plugins/http2 plugins/sink_log bpf/tests/test_record.py plugins/source_pcap

RUN_PACKAGES := python3-venv python3-bpfcc
TEST_PACKAGES := curl haproxy nginx-light nghttp2-client nghttp2-server procps tcpdump wrk
BENCH_PACKAGES := httpry tshark

.PHONY: run test lint bench fuzz compile clean

# The first start does not wait for the compiler.
run: BESIDE := --beside
run: $(VENV)/.compiled
	@$(SUDO) $(VENV)/bin/rover run $(ARGS)

test: $(VENV)/.test $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m pytest $(ARGS)
	ROVER_PLAIN=1 $(VENV)/bin/python -m pytest -q $(or $(ARGS),$(PLAIN_TESTS))

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.test $(VENV)/.bench $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m tests.bench $(ARGS)

fuzz: $(VENV)/.fuzz $(VENV)/.compiled
	$(VENV)/bin/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

compile: $(VENV)/.compiled

clean:
	rm -rf $(VENV) build/compiled $(addsuffix /build,$(COMPILED)) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(MEMBERS) -name '*.so' -delete

# -- setting up ------------------------------------------------------------------------------

STEP := workspace/step
DEBIAN := workspace/debian
PIP = $(VENV)/bin/pip install -q --disable-pip-version-check

# $(1) says what is installed, $(2) is the command that does it with pip. Where pip is interrupted nobody knows what
# is installed: the next set-up starts with an empty environment, as if there were none.
define install
@mv $(VENV)/.venv $(VENV)/.unsure; $(STEP) "installing $(1)" $(2); code=$$?; \
  test $$code -ge 128 || mv $(VENV)/.unsure $(VENV)/.venv; exit $$code
endef

$(VENV)/.venv:
	@$(DEBIAN) $(RUN_PACKAGES)
	@$(STEP) "making a virtual environment in $(VENV)" $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.venv pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(VENV)/bin/python -m workspace.members >$(VENV)/run.txt
	$(call install,Python packages that rover needs,$(PIP) -r $(VENV)/run.txt)
	$(call install,rover's own packages,$(VENV)/bin/python -m workspace.editable)
	@touch $@

# What is hot, compiled where it changed. Until then, and without a compiler, the Python beside it runs. The stamp
# is made when all of it is in use.
$(VENV)/.compiled: $(VENV)/.run $(HOT)
	@$(VENV)/bin/python -m workspace.compile $(BESIDE) $@

$(VENV)/.dev: $(VENV)/.run
	@$(VENV)/bin/python -m workspace.members dev >$(VENV)/dev.txt
	$(call install,tools for development,$(PIP) -r $(VENV)/dev.txt)
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@$(PIP) atheris || \
	  { echo "make fuzz needs atheris, which cannot be installed for $$($(VENV)/bin/python --version)"; exit 1; }
	@touch $@

$(VENV)/.test: $(VENV)/.dev
	@$(DEBIAN) $(TEST_PACKAGES)
	@touch $@

$(VENV)/.bench: $(VENV)/.venv
	@$(DEBIAN) $(BENCH_PACKAGES)
	@touch $@
