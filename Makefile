# Every target sets up what it needs; `make help` lists them.
.PHONY: help setup demo test engines check image bench soak evidence lock
.DEFAULT_GOAL := help
VENV := .venv/bin

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

.venv/ready: requirements/dev.txt pyproject.toml scripts/setup
	@scripts/setup

setup: .venv/ready ## make .venv with locked packages

demo: .venv/ready ## train, seal, sign, serve and ask; DEMO_SECONDS=30 ends by itself
	@$(VENV)/python examples/claims/demo.py

test: check ## everything that must hold: style, types, layers, tests
	@case ",$(SCORELINE_WITHOUT)," in *,postgres,*) ;; *) scripts/apt postgresql ;; esac
	@case ",$(SCORELINE_WITHOUT)," in *,redis,*) ;; *) scripts/apt redis-server ;; esac
	@case ",$(SCORELINE_WITHOUT)," in *,prometheus,*) ;; *) scripts/apt prometheus ;; esac
	@$(VENV)/python -m pytest -q -n 2 --dist worksteal

engines: .venv/ready ## tests with engines of their own: Docker; SCORELINE_WITHOUT=docker goes without
	@case ",$(SCORELINE_WITHOUT)," in *,docker,*) ;; *) scripts/apt docker.io debootstrap ;; esac
	@$(VENV)/python -m pytest -q -m engine

image: ## build the image scoreline/scoreline:VERSION; BASE=, LOCK=image-mlflow.txt
	@scripts/image

check: .venv/ready ## style, types and layers only
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports --no-cache

bench: .venv/ready ## measure, and write benchmarks/results/
	@scripts/apt wrk util-linux postgresql redis-server
	@$(VENV)/python benchmarks/run.py

soak: .venv/ready ## 100 kills, a million requests, 100 swaps; SOAK_KILLS=20 SOAK_REQUESTS=50000 SOAK_SWAPS=10 is shorter
	@scripts/apt postgresql
	@$(VENV)/python benchmarks/kills.py
	@$(VENV)/python benchmarks/soak.py

evidence: .venv/ready ## replay 100,000 decisions after a restart; simulate rollouts; EVIDENCE_DECISIONS=5000 EVIDENCE_RUNS=500 is shorter
	@$(VENV)/python benchmarks/evidence.py
	@$(VENV)/python benchmarks/rollout_evidence.py
	@$(VENV)/python benchmarks/alone_evidence.py
	@$(VENV)/python benchmarks/drift_evidence.py

lock: .venv/ready ## resolve requirements/ anew
	@scripts/lock
