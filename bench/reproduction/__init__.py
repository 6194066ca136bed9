"""The wing of results: what is kept of finished runs, and what the papers claim of it.

    bench/results/NAME/rows.jsonl   a line a run or row of a study, each seed, in full precision
    bench/results/NAME/made.toml    the commands, the commit and the data that made them

kept       copies a finished run there, and reads it again
claims/    what the papers claim, a file a part of a paper: each with a judge over kept rows
page       docs/reproduction.md, a line a claim
blocks     numbers between marks in Markdown, filled from kept rows; `tables` has the larger ones
again      the commands once more on their first seed: the same numbers to the bit?

`weightspace results` is its command line. A new result is one `keep`; a new claim a `Published`
in `claims/`; a new table of the docs a function in `tables`. This wing depends on runs and
studies; nothing but the command line depends on it.
"""
