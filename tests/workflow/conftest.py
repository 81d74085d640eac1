"""Tests of the workflow start Snakemake many times."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import snakemake_runs


@pytest.fixture(scope="session", autouse=True)
def _warm_programs(programs: Path) -> Iterator[None]:
    """Let `snakemake_runs` take the programs that start at once."""
    snakemake_runs.WARM_PROGRAMS = programs
    yield
    snakemake_runs.WARM_PROGRAMS = None
