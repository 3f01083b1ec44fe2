"""The models: fitted on `Interactions`, saved in a `Bundle`, asked by the serving pipeline.

Every model has `fit(interactions, settings, progress=...)`, `save(directory)` and `load(directory)`,
keeps what it learned in arrays, and answers with `(rows, scores)`: int32[k] item rows and float32[k]
scores, the best first.
"""
