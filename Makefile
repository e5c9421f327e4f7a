# Marquee. `make run` starts it, `make test` tests it; `make help` lists all targets.
.PHONY: help run test check format lint docs api chaos chaos-selftest power-loss fuzz bench bench-pure scaling deploy-check install deny upgrade upgrade-test deb rules

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1	/p' Makefile | expand -t 18

run: install ## a whole cinema in one process, on servers that it starts itself
	cargo run

# Tests and chaos use a profile without debug assertions, like releases: a rule that only a debug assertion keeps then fails.
# One test more than there are cores, since a test waits for servers a good part of its time.
test: install ## every test, on real servers that it starts itself; can run beside `make run`
	@scripts/install-tests.sh
	@scripts/install-browser.sh
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) + 1))} cargo test --workspace --profile quick-release

check: format lint docs ## what CI checks before the tests

format: ## is the code formatted?
	cargo fmt --all --check

lint: install ## clippy, warnings are errors
	cargo clippy --workspace --all-targets --profile quick-release -- -D warnings

docs: install ## do the docs build without warnings?
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --profile quick-release

deny: ## the dependencies' licences, sources and known vulnerabilities (installs cargo-deny)
	scripts/check-dependencies.sh

api: install ## the API from outside: Spectral, newman, schemathesis (installs Node and Python tools)
	scripts/install-checks.sh
	scripts/check-api.sh

rules: ## check and test the alert rules in deploy/ (installs promtool where Go is)
	scripts/install-checks.sh promtool
	scripts/check-rules.sh

# With --benches the libraries are those that `make test` has built: tests and benches add the same features to dependencies.
chaos: install ## inject faults into a cinema of real processes for some minutes and check every promise (docs/reliability.md)
	@scripts/install-chaos.sh $(if $(CLUSTER),cluster)
	cargo build --workspace --bins --benches --profile quick-release
	target/quick-release/chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),$(if $(CLUSTER),9,2)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(TOGETHER),--together) $(if $(CLUSTER),--cluster)

# The program with planted bugs is copied to another name, then the one without them is built again.
chaos-selftest: install ## plant bugs, each of which the checks must find (BUGS=a,b: only these)
	cargo build --workspace --profile quick-release --features planted
	cp target/quick-release/marquee target/quick-release/marquee-planted
	cargo build --workspace --profile quick-release
	target/quick-release/chaos --program target/quick-release/marquee-planted --seed $(or $(SEED),1) --planted $(or $(BUGS),all)

power-loss: install ## as root: cut the power of Postgres's and NATS's disks in 20 rounds (ROUNDS=20 SEED=1; PLANTED=without-fsync tests the method)
	@scripts/install-chaos.sh
	cargo build --workspace --bins --benches --profile quick-release
	target/quick-release/chaos --power-loss --seed $(or $(SEED),1) --rounds $(or $(ROUNDS),20) $(if $(PLANTED),--planted $(PLANTED))

fuzz: ## fuzz the parsers of untrusted bytes, coverage-guided (SECONDS=60 TARGET=webhook; fuzz/README.md)
	scripts/fuzz.sh $(or $(SECONDS),60) $(TARGET)

bench: install ## measure how fast it sells: complete sagas, a blockbuster, a bare write loop (release build)
	cargo build --release --workspace --bin marquee --bin bench
	target/release/bench

bench-pure: install ## measure the parts without I/O: saga step, best seats, seat map, retry
	cargo bench --workspace --bench pure

scaling: install ## measure 1, 2 and 4 hosts of each kind, as the table of docs/scaling.md (HOSTS=1,2,4 CLIENTS=32,128; release build)
	cargo build --release --workspace --bin marquee --bin bench
	target/release/bench scaling --hosts $(or $(HOSTS),1,2,4) --clients $(or $(CLIENTS),32,128)

deploy-check: ## are the files of deploy/ valid? (docker-compose and Go, where they are there)
	@scripts/check-deploy.sh

upgrade: ## upgrade a running `docker compose` deployment without a lost request (docs/operations.md)
	scripts/upgrade.sh

upgrade-test: install ## upgrade a deployment of the release before under load and check every promise (SEED, MINUTES; docs/releasing.md)
	scripts/upgrade-test.sh

deb: ## build the Debian package into target/debian (PROFILE=quick-release: in minutes, for a trial by scripts/try-deb.sh)
	scripts/build-deb.sh

install: ## install what is missing besides Rust: Postgres, Redis, nats-server
	@scripts/install.sh
