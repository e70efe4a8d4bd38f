# `make` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run test lint setup bench snap

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the demo: a tea shop goes live in about three minutes
	cargo run --release -- demo

test: setup lint ## install what the tests need, then format, lint and every test
	tests/run.sh

lint: ## format and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

setup: ## install the servers and clients that tests talk to (Debian, PyPI, npm), saying what
	tests/setup.sh

bench: ## figures of our own, and their ratio to a peer in the same run
	cargo bench --locked

snap: ## review changed snapshots: run the tests, then accept what is right
	INSTA_UPDATE=always cargo test --locked && git diff --stat -- '*.snap'
