"""The wing of experiments: what `weightspace run` knows by name.

A preset (methods side by side on one stream) is a module here that is data alone, listed in
`presets`; what is special about it is a hook (`runs.hooks`). Any other experiment is a study, a
folder of `bench.studies`. `catalogue` lists both. This wing depends on runs and studies; sweeps and
the command line depend on it.
"""
