"""The studies `fip-sparsify-lenet` and `-resnet20` (Raghavan & Thomson, arXiv 2205.00334).

lenet, resnet20: what is their own, a file each, and so for another network. study: makes a study of
that. parts: the settings and parts that all share; another way to sparse networks is a part there,
and a name in `tables.ORDER`. tables, figures: of the rows.
"""
