"""Measurements that anyone can repeat (``arseg bench``); each module but the shared ones is one command."""
