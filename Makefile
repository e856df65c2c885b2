# Everything a newcomer or CI calls. `make run` and `make test` set up what they need, once.

VENV := .venv
# The distribution's own where it is new enough: bcc is made for it, and it is built with care for speed.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
FUZZ_SECONDS ?= 60
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
MEMBERS := core bpf plugins/http1 plugins/http2 plugins/sink_log plugins/sink_oap plugins/source_pcap
COMPILED := core bpf plugins/http1 plugins/http2 plugins/sink_log plugins/source_pcap
TYPED := $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pxd')
HOT := $(TYPED) $(TYPED:.pxd=.py) $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pyx')
PLAIN_TESTS := core/tests plugins/http1 plugins/http2 plugins/sink_log bpf/tests/test_record.py plugins/source_pcap
EDITABLE := $(foreach member,$(MEMBERS),-e ./$(member)) -e .

RUN_PACKAGES := python3-venv python3-bpfcc python3-dev gcc libc6-dev
TEST_PACKAGES := curl haproxy logrotate nginx-light nghttp2-client nghttp2-server nodejs procps systemd tcpdump wrk
BENCH_PACKAGES := httpry tshark
DISTRIBUTION_PACKAGES := debootstrap git

.PHONY: run test test-distributions test-kernels test-image lint bench fuzz compile clean

run: $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/rover run $(ARGS)

test: $(VENV)/.test $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m pytest $(ARGS)
	ROVER_PLAIN=1 $(VENV)/bin/python -m pytest -q $(or $(ARGS),$(PLAIN_TESTS))

# On Debian's kernels in emulated machines, 6.1, 6.12 and 7.3 unless ARGS names some of them; half an hour each.
test-kernels: $(VENV)/.dev $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m tests.kernels $(ARGS)

# The image of packaging/container, without a container engine; ARGS="--keep DIRECTORY" keeps its base.
test-image: $(VENV)/.test
	$(call debian,debootstrap,$(VENV)/.debian-image)
	$(SUDO) $(VENV)/bin/python -m tests.deploying.image $(ARGS)

# Rover on Debian releases, in roots of their own: ARGS="13", ARGS="sid --steps replay", ARGS=--help.
test-distributions: $(VENV)/.distributions
	$(SUDO) $(PYTHON) -m tests.distributions $(ARGS)

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
	rm -rf $(VENV) $(addsuffix /build,$(COMPILED)) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(MEMBERS) -name '*.so' -delete

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
	ROVER_COMPILE=0 $(VENV)/bin/pip install -q --disable-pip-version-check 'cython>=3.1' 'setuptools>=77' $(EDITABLE)
	@touch $@

# What is hot, compiled where it changed; see setup.py. Without a compiler the Python beside it runs.
$(VENV)/.compiled: $(VENV)/.run $(HOT)
	@set -e; for member in $(COMPILED); do \
	  (cd $$member && $(CURDIR)/$(VENV)/bin/python setup.py -q build_ext --inplace -j 2); done
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(VENV)/bin/pip install -q --disable-pip-version-check -e .'[dev]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@$(VENV)/bin/pip install -q --disable-pip-version-check atheris || \
	  { echo "make fuzz needs atheris, which cannot be installed for $$($(VENV)/bin/python --version)"; exit 1; }
	@touch $@

$(VENV)/.test: $(VENV)/.dev
	$(call debian,$(TEST_PACKAGES),$(VENV)/.debian-test)
	@touch $@

$(VENV)/.bench: $(VENV)/.venv
	$(call debian,$(BENCH_PACKAGES),$(VENV)/.debian-bench)
	@touch $@

$(VENV)/.distributions: $(VENV)/.venv
	$(call debian,$(DISTRIBUTION_PACKAGES),$(VENV)/.debian-distributions)
	@touch $@
