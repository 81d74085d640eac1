"""The networks as ONNX files: graphs that runtimes other than PyTorch run, checked against it."""
