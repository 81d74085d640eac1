# `make demo` runs the main job on the synthetic data set; `make test` runs every check. Both set up what they need:
# an active environment (venv or conda) is used and completed, otherwise .venv is made.
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
ENVIRONMENT := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),.venv)
# Names the checkout: an environment that is shared belongs to the one that was installed last.
INSTALLED := $(ENVIRONMENT)/.arseg-installed-$(subst /,-,$(CURDIR))
RUN := PATH="$(abspath $(ENVIRONMENT))/bin:$$PATH"
SNAKEMAKE := $(RUN) snakemake --cores $(CORES)
# One process more than cores, because tests wait now and then: for a scheduler, a disk, a program.
PYTEST := $(RUN) pytest --numprocesses $$(($(CORES) + 1))

.PHONY: demo camvid-sequence test check unit workflow slurm format schema clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/demo.yaml --report results/demo/report.html --report-after-run
	@cat results/demo/miou.md
	@echo "Figures: results/demo/figures/   Table: results/demo/miou.csv   Report: results/demo/report.html"

camvid-sequence: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/camvid-sequence.yaml --report results/camvid-sequence/report.html --report-after-run

test: check
	$(PYTEST)

check: $(INSTALLED)
	$(RUN) arseg doctor
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) codespell

unit: $(INSTALLED)
	$(PYTEST) -m "not workflow"

workflow: $(INSTALLED)
	$(PYTEST) -m "workflow and not slurm"

slurm: $(INSTALLED)
	$(PYTEST) -m slurm

format: $(INSTALLED)
	$(RUN) ruff format .
	$(RUN) ruff check --fix .
	$(RUN) snakefmt Snakefile workflow

schema: $(INSTALLED)
	$(RUN) python -m arseg.workflow.schema

clean:
	rm -rf results/demo logs/demo

$(INSTALLED): pyproject.toml envs/install.sh
	envs/install.sh $(ENVIRONMENT)
	rm -f $(ENVIRONMENT)/.arseg-installed-*
	touch $@
