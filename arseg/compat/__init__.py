"""Files of the published programs: trees of processed data, checkpoints and results, read and written in their layouts.

Commands use this package; nothing else in arseg does (docs/method.md, 'Published files').
"""
