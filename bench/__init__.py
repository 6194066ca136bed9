"""The workbench: data, experiments, studies and measurements on the engine, in wings.

cli          the command line: `weightspace run | sweep | explain | list | report | data | bench`...
experiments  what `run` knows by name: presets (data alone), and the catalogue of all
studies      experiments that are not one stream through `fit`, a folder each
runs         a preset's runs: what they are made of, what is kept, tables, figures, the page
reproduction what is kept of runs, and what the papers claim of it: bench/results, the pages
sweep        settings chosen on held-out images, in one process, a pool or on Dask
speed        kernels and whole operations against the machine and against peers
data         data sets as they were published; streams: how they become tasks in an order
explain      what a program is made of, call by call: a table, a page, its numbers
store        folders, locks and files, and what each must hold
show         how things look: figures, pages, progress, numbers in words
results      committed numbers and figures, and the commands that made them

Imports run one way: data <- streams <- runs <- studies and presets <- catalogue <- sweep <- cli;
all may use store and show. Presets name hooks of studies, and a study may begin with a preset.
speed measures runs' networks and streams, too; studies and sweeps time and count cores with it,
and explain takes the roofline from it. reproduction reads runs and studies.
A new wing needs a reason that none of these has.
"""
