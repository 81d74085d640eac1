"""Where results come from: a record beside each, written by the command that made it, and read back as a chain."""
