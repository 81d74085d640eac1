"""Anyone's videos without labels, which a finished network labels."""
