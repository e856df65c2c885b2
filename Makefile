# Everything a newcomer or CI calls. `make run` and `make test` set up what they need, once.

VENV := .venv
PYTHON ?= python3
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
MEMBERS := core bpf plugins/http1 plugins/http2 plugins/sink_log plugins/sink_oap plugins/source_pcap
EDITABLE := $(foreach member,$(MEMBERS),-e ./$(member)) -e .

RUN_PACKAGES := python3-venv python3-bpfcc
TEST_PACKAGES := curl gcc libc6-dev nginx-light nghttp2-client nghttp2-server procps tcpdump wrk

.PHONY: run test lint bench fuzz clean

run: $(VENV)/.run
	$(SUDO) $(VENV)/bin/rover run $(ARGS)

test: $(VENV)/.test
	$(SUDO) $(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.test
	$(SUDO) $(VENV)/bin/python -m tests.bench $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# -- setting up ------------------------------------------------------------------------------

# Installs the Debian packages $(1) that are missing; services they bring are not started.
define debian
@missing=$$(dpkg-query -W -f '$${Status} $${Package}\n' $(1) 2>/dev/null | sed -n 's/^install ok installed //p' \
  | sort > $(2).have; printf '%s\n' $(1) | sort | comm -23 - $(2).have); rm -f $(2).have; \
if test -n "$$missing"; then \
  command -v apt-get >/dev/null || { echo "install these, then try again: $$missing"; exit 1; }; \
  echo "installing" $$missing; \
  $(SUDO) apt-get update -qq && \
  $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

$(VENV)/.venv:
	@mkdir -p $(VENV)
	$(call debian,$(RUN_PACKAGES),$(VENV)/.debian-run)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.venv pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	$(VENV)/bin/pip install -q --disable-pip-version-check $(EDITABLE)
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(VENV)/bin/pip install -q --disable-pip-version-check $(EDITABLE)'[dev]'
	@touch $@

$(VENV)/.test: $(VENV)/.dev
	$(call debian,$(TEST_PACKAGES),$(VENV)/.debian-test)
	@touch $@
