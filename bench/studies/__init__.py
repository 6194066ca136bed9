"""The wing of studies: experiments that are not one stream through `fit`, a folder each.

A study is a `Study` (`study`): a settings record, the parts that a seed is made of, and how their
rows are drawn and told. `lab` and `claims` hold what studies share. A new one is a folder here and
a line in `experiments.catalogue`. This wing depends on runs, streams and data, on speed for
what it times, on embedded for its images and on single presets; the catalogue depends on it, and
presets on its hooks.
"""
