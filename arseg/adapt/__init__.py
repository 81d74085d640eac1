"""From a network and videos without labels to a pair of branches: the workflow, with a configuration written for it."""
