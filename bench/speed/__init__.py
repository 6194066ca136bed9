"""The wing of speed: what this machine can do, and what the engine does of it.

kernels, steps, scaling, startup and training measure, each a command of `weightspace bench`; timing
times a call, machine and peaks say what is possible, roofline what a kernel needs at least; records
and record_kinds are the files, before_after compares two of them, page and figures show them. A new
measurement is a file here, its record in record_kinds, its section in page, its command in
`cli.bench`; a new peer is a module of peers. It depends on store and show, and for whole
trainings on runs, streams and data; studies, sweeps and the command line depend on it.
"""
