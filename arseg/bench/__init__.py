"""Measurements that anyone can repeat (``arseg bench``): attention, inference, training, and the making of clips."""
