# `make demo` runs the main job on the synthetic data set; `make test` runs every check. Both set up what they need:
# an active environment (venv or conda) is used and completed, otherwise .venv is made.
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
ENVIRONMENT := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),.venv)
# Names the checkout: an environment that is shared belongs to the one that was installed last.
INSTALLED := $(ENVIRONMENT)/.arseg-installed-$(subst /,-,$(CURDIR))
RUN := PATH="$(abspath $(ENVIRONMENT))/bin:$$PATH"
SNAKEMAKE := $(RUN) snakemake --cores $(CORES)

.PHONY: demo camvid-sequence test check unit workflow slurm format clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/demo.yaml --report results/demo/report.html --report-after-run
	@cat results/demo/miou.md
	@echo "Figures: results/demo/figures/   Table: results/demo/miou.csv   Report: results/demo/report.html"

camvid-sequence: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/camvid-sequence.yaml --report results/camvid-sequence/report.html --report-after-run

# Each part waits now and then, for a scheduler or for one process: together they take little longer than one.
test: check
	$(MAKE) --jobs 3 --output-sync=target slurm workflow unit

check: $(INSTALLED)
	$(RUN) arseg doctor
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) codespell

unit: $(INSTALLED)
	$(RUN) pytest -m "not workflow"

workflow: $(INSTALLED)
	$(RUN) pytest -m "workflow and not slurm"

slurm: $(INSTALLED)
	$(RUN) pytest -m slurm

format: $(INSTALLED)
	$(RUN) ruff format .
	$(RUN) ruff check --fix .
	$(RUN) snakefmt Snakefile workflow

clean:
	rm -rf results/demo logs/demo

$(INSTALLED): pyproject.toml envs/install.sh
	envs/install.sh $(ENVIRONMENT)
	rm -f $(ENVIRONMENT)/.arseg-installed-*
	touch $@
