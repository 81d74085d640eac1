"""The two phases of training: data, steps, and the loop around them."""
