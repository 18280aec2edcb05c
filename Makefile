.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: ## Run everything on this machine with 90 days of demo data
	uv run treering up --demo

test: ## Install what the tests need, then lint, check types and test
	uv run python -m tests

lint: ## Run the linters that need no database
	uv run pre-commit run --all-files

format: ## Format the Python code
	uv run ruff format . && uv run ruff check --fix .

bench: ## Run every benchmark, a JSON line a figure (make bench NAME=ingest for one)
	uv run python -m tests.bench $(NAME)
