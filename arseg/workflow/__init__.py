"""The Python of the Snakemake workflow: what `workflow/rules/*.smk` import, without PyTorch."""
