# The same commands for people and CI. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Outside the clone, so that a second clone, or a clean one, does not compile RocksDB again.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sakia/target
# Only if nobody chose a compiler: RocksDB's build script runs again whenever these change.
ifneq ($(shell command -v ccache),)
  ifeq ($(origin CC),default)
    export CC := ccache gcc
  endif
  ifeq ($(origin CXX),default)
    export CXX := ccache g++
  endif
endif

KAFKA_PORT ?= 19092
# The campaign has a Kafka of its own, on a hundred ports from this one.
CAMPAIGN_PORT ?= 19292
MINUTES ?= 30
BROKERS ?= 1

.PHONY: help setup demo demo-kafka test test-kafka core broker-model check bench sim campaign

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r name what; do printf '  make %-11s %s\n' "$$name" "$$what"; done

setup: ## install what the build needs (apt), or say what it is
	@scripts/setup

demo: setup ## orders become payments while a process is killed
	@cargo build --workspace --bins
	@"$$CARGO_TARGET_DIR/debug/payment-demo"

demo-kafka: setup ## the same on a real Apache Kafka (needs java 17 and mvn)
	@cargo build --workspace --bins
	@scripts/with-kafka $(KAFKA_PORT) PAYMENT_DEMO_BROKERS "$$CARGO_TARGET_DIR/debug/payment-demo"

test: setup ## everything, on the embedded broker
	@cargo test --workspace

SEEDS ?= 10000
FROM ?= 0

sim: ## SEEDS=n simulations of lanes on a bad Kafka, from seed FROM on; no librdkafka, no RocksDB
	@cargo run -q -p sakia-simulator -- --seeds $(SEEDS) --from $(FROM)

core: ## the pure part alone: no librdkafka, no RocksDB, in seconds
	@cargo test --no-default-features --lib --test workflows

test-kafka: setup ## the same checks on a real Apache Kafka (needs java 17 and mvn)
	@cargo test -p sakia-integration --no-run
	@SAKIA_TEST_JOBS=$${SAKIA_TEST_JOBS:-5000} SAKIA_TEST_KILLS=$${SAKIA_TEST_KILLS:-30} \
	  scripts/with-kafka $(KAFKA_PORT) SAKIA_TEST_BOOTSTRAP cargo test -p sakia-integration

broker-model: setup ## the embedded broker against its model: SEEDS=n of them, 20000 unless said
	@SAKIA_BROKER_SEEDS=$${SEEDS:-20000} cargo test -p sakia-broker --lib model::

campaign: setup ## attack it on a real Apache Kafka: MINUTES=30 [BROKERS=1|3] [SEED=n] [SCENARIO=name] (needs java 17, mvn)
	@scripts/install-faketime
	@cargo build -p sakia-integration --bins
	@"$$CARGO_TARGET_DIR/debug/campaign" --minutes $(MINUTES) --brokers $(BROKERS) --port $(CAMPAIGN_PORT) \
	  $(if $(SEED),--seed $(SEED)) $(addprefix --scenario ,$(SCENARIO))

check: setup ## format, lints, house rules, docs, dependencies, compose file
	@scripts/check

bench: setup ## measure beside bare Kafka and the peers, for an hour or two, and rewrite docs/performance.md (needs java 17, mvn, npm, go)
	@bench/run --long
