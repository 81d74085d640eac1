"""The command line: one module per command or two, parsing and printing only."""
