"""The studies `fip-ensemble` and `fip-ensemble-vgg16` (Raghavan & Thomson, arXiv 2205.00334).

study: settings, and the parts that train, attack and score. tables: tables and CSV of the rows.
figures: of the rows alone. Another kind of ensemble is a part that keeps its networks, a name in
KINDS, and a label in `tables`; another network is `replace(STUDY, ...)`, as VGG16 is.
"""
