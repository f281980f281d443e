# Every target sets itself up, asks no questions, and is quick and offline the second time.

CARGO ?= cargo
POSTMETER = "$${CARGO_TARGET_DIR:-target}/debug/postmeter"

# make test FILTER=claim
FILTER ?=
# make crash KILLS=500 SEED=7
KILLS ?= 200
SEED ?= 1
# make random SEEDS=100
SEEDS ?= 100
# make storm STORMS=5
STORMS ?= 5
# make replay FILE=export.csv
FILE ?=
# make leftover USAGES=10000000
USAGES ?= 1000000
# make upgrade OLD=v1.2.0
OLD ?=
# make versions ONLY="16 17" FILTER=intake
ONLY ?=

# No test may run for more than 20 minutes, but a soak takes as long as it is told to: a day at most.
SOAK = POSTMETER_TEST_LIMIT_SECONDS=86400

.DEFAULT_GOAL := help
.PHONY: help demo play test test-full lint bench crash mutants storm random replay leftover features upgrade versions failover audit ci tools schema clean setup-build setup-postgres setup-pgbouncer setup-python setup-node setup-java setup-prometheus setup-nats

help: ## this list
	@echo "Postmeter. Two commands to begin with: make demo, make test."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: build ## build, start a Postgres and a simulated marketplace, show usage travel from insert to accepted
	@$(POSTMETER) demo

play: build ## the same, kept running for you to try things on
	@$(POSTMETER) demo --keep

test: setup-build setup-postgres setup-pgbouncer setup-python setup-node setup-java setup-prometheus setup-nats ## all tests; the last line counts them (FILTER=name for some)
	@.ci/test $(FILTER)

test-full: test ## and the matrices that `make test` leaves out: Prometheus 3 and VictoriaMetrics beside Prometheus 2
	@.ci/setup-prometheus full
	@.ci/test-full

lint: setup-build setup-python ## formatting, clippy, shell scripts, licences
	@.ci/lint

bench: setup-build setup-postgres ## the benchmarks, beside graphile-worker where Node is at hand (long)
	@.ci/setup-node tests/bench
	$(CARGO) bench --locked -p tests --bench '*'

crash: build ## the soak: KILLS workers killed at random moments, drawn from SEED (long)
	$(SOAK) POSTMETER_KILLS=$(KILLS) POSTMETER_SEED=$(SEED) $(CARGO) test --locked -p tests --test suite -- \
		--ignored --nocapture --test-threads=1 soak_e2

mutants: setup-build setup-postgres setup-python ## takes rules out of the code, one after the other: a test must notice each (ONLY="claim settle"; hours)
	@ONLY="$(ONLY)" .ci/mutants

storm: build ## the soak: STORMS storms of every fault at once; nothing lost or billed twice, and no slow phase after (long)
	$(SOAK) POSTMETER_SEEDS=$(STORMS) $(CARGO) test --locked -p tests --test suite -- \
		--ignored --nocapture --test-threads=1 soak_storm

replay: build ## a billing export (FOCUS, FILE=export.csv) through the whole way, hour by hour; closes at zero
	$(SOAK) POSTMETER_FOCUS_FILE=$(abspath $(FILE)) $(CARGO) test --locked -p tests --test suite -- \
		--ignored --nocapture --test-threads=1 soak_replay

random: build ## the soak: SEEDS random runs over all marketplaces, and SEEDS random months beside an accountant's books
	$(SOAK) POSTMETER_SEEDS=$(SEEDS) $(CARGO) test --locked -p tests --test suite -- \
		--ignored --nocapture --test-threads=1 soak_random

leftover: build ## USAGES usages recorded, sent, closed, exported, forgotten and dropped: what is left, by table, in bytes a usage (long)
	$(SOAK) POSTMETER_USAGES=$(USAGES) $(CARGO) test --locked -p tests --test suite -- \
		--ignored --nocapture --test-threads=1 soak_leftover

features: setup-build setup-postgres ## a program with otlp, parquet and sentry, which the usual build leaves out: clippy and their tests
	$(CARGO) clippy --locked -p postmeter --all-targets --features otlp,parquet,sentry -- -D warnings
	$(CARGO) build --locked -p postmeter --features otlp,parquet,sentry --target-dir target/features
	POSTMETER_BIN=$(abspath target/features/debug/postmeter) $(CARGO) test --locked -p tests --test suite -- --ignored features_
	$(CARGO) test --locked -p postmeter --lib --features parquet parquet

upgrade: build ## an older program (OLD=revision, else the last with another schema) through a rollout to this one (long)
	@.ci/upgrade $(OLD)

versions: setup-build ## the suite on PostgreSQL 14 to 18 (ONLY=16 for one, FILTER=name for some tests; long)
	@ONLY="$(ONLY)" .ci/versions $(FILTER)

failover: build ## a real standby: promoted with and without lost commits; a restore to a point in time
	$(CARGO) test --locked -p tests --test suite -- --ignored --nocapture --test-threads=1 failover_

audit: setup-build ## advisories, licences and sources of all dependencies (with network: run it weekly)
	@.ci/audit

ci: ## what a change must pass: lint and test
	@.ci/run

tools: setup-build setup-postgres setup-pgbouncer setup-python setup-node setup-java setup-prometheus setup-nats ## install what the other targets need, and nothing else

schema: build ## write what is made from the code: docs/schema.md, docs/openapi.json, the tables of settings and metrics
	POSTMETER_BLESS=1 $(CARGO) test --locked -p tests --test suite -- schema the_committed the_table_of_metrics

clean: ## remove what was built or installed below this directory
	$(CARGO) clean
	rm -rf .tools tests/node/node_modules tests/bench/node_modules

.PHONY: build
build: setup-build setup-postgres
	$(CARGO) build --locked -p postmeter

setup-build:
	@.ci/setup-build

setup-postgres:
	@.ci/setup-postgres >/dev/null

setup-pgbouncer:
	@.ci/setup-pgbouncer

setup-python:
	@.ci/setup-python

setup-node:
	@.ci/setup-node

setup-prometheus:
	@.ci/setup-prometheus

setup-nats:
	@.ci/setup-nats

setup-java:
	@.ci/setup-java
