"""Networks of other libraries and of the user's own files, cut at their last convolution (docs/own-network.md)."""
