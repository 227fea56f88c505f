"""The solvers of linear probes: a module of rrl each, loaded by a probe that names it."""

SOLVERS = {"sgd": "rrl.heads.sgd", "lbfgs": "rrl.heads.lbfgs", "best_subset": "rrl.heads.best_subset"}
