"""What a configuration still needs: the jobs of Snakemake's dry run, and their time by what finished ones took."""
