# Marquee. `make run` opens the cinema, `make test` tries to break it; `make help` lists the rest.
.PHONY: help run test check format lint docs api chaos chaos-selftest fuzz bench bench-pure install deny

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1	/p' Makefile | expand -t 18

run: install ## the whole cinema in one process, on servers it starts itself
	cargo run

# Tests and chaos run on a profile without debug assertions, as what is shipped: a rule that only an assertion keeps fails.
test: install ## every test; needs nothing running, may run beside `make run`
	@scripts/install-tests.sh
	@scripts/install-browser.sh
	cargo test --workspace --profile quick-release

check: format lint docs ## what CI checks before the tests

format: ## is the code formatted?
	cargo fmt --all --check

lint: install ## clippy, warnings are errors
	cargo clippy --workspace --all-targets -- -D warnings

docs: install ## do the docs build without warnings?
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

deny: ## the dependencies' licences, sources and known faults (installs cargo-deny)
	scripts/check-dependencies.sh

api: install ## the API from outside: Spectral, newman, schemathesis (installs Node and Python tools)
	scripts/install-checks.sh
	scripts/check-api.sh

chaos: install ## break a whole cinema of real processes for some minutes and check every promise (docs/reliability.md)
	@scripts/install-chaos.sh
	cargo build --workspace --profile quick-release
	target/quick-release/chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),2) $(if $(FAULTS),--faults $(FAULTS)) $(if $(TOGETHER),--together)

# The program with bugs gets a name of its own, and the one without them its own back.
chaos-selftest: install ## plant bugs into the house; the checks must find each (BUGS=a,b: only these)
	cargo build --workspace --profile quick-release --features planted
	cp target/quick-release/marquee target/quick-release/marquee-planted
	cargo build --workspace --profile quick-release
	target/quick-release/chaos --program target/quick-release/marquee-planted --seed $(or $(SEED),1) --planted $(or $(BUGS),all)

fuzz: ## look for bytes that break a parser, coverage-guided (SECONDS=60 TARGET=webhook; fuzz/README.md)
	scripts/fuzz.sh $(or $(SECONDS),60) $(TARGET)

bench: install ## how fast it sells: whole sagas, a blockbuster, the floor (release build)
	cargo build --release --workspace --bin marquee --bin bench
	target/release/bench

bench-pure: install ## how fast the parts are that ask nobody: saga step, best seats, seat map, retry
	cargo bench --workspace --bench pure

install: ## what is missing besides Rust: Postgres, Redis, nats-server
	@scripts/install.sh
