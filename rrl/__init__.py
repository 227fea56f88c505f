"""Features of independently trained networks: extracted once, concatenated for nothing, probed.

Reproduces "Learning useful representations for shifting tasks and distributions"
(Zhang and Bottou, ICML 2023, arXiv 2212.07346).

Symbols in every docstring: N images, V views, D features, C classes, B images of a batch,
S settings of a sweep, E epochs. Accuracies are fractions in [0, 1]; percent appears in tables only.
"""
