"""The networks of both branches, their fusion, their losses and their checkpoints."""
