"""Studies of runs that are there already: `--set runs=` names their folders, rows are curves."""
