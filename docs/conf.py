"""Sphinx: the site out of the Markdown of the whole repository, `make docs`."""

from importlib import metadata

project = "weightspace"
release = metadata.version("weightspace")
extensions = ["myst_parser", "autodoc2", "sphinx_copybutton"]

# The source is the root of the repository, so that pages link to one another as they do there.
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**",
    "bench/results/README.md",
    "examples/*/README.md",
]
exclude_patterns = ["**/.venv", "build"]

myst_enable_extensions = ["dollarmath", "fieldlist", "colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # blocks of commands hold any shell's text

# The API is read from the sources, and docstrings are Markdown: `names` are code, as in the docs.
autodoc2_packages = [
    {"path": part, "module": f"weightspace.{part}"} for part in ("kernels", "nnlite", "methods")
]
# What a kernel means is in `reference` and `spec`; the other backends are their twins.
autodoc2_skip_module_regexes = [
    r"weightspace\.kernels\.(cpu|cuda|cuda_host|c|exact)(\..*)?",
]
autodoc2_render_plugin = "myst"
autodoc2_output_dir = "docs/api"
autodoc2_hidden_objects = ["private", "dunder", "inherited"]
autodoc2_sort_names = True
autodoc2_module_summary = True

html_theme = "furo"
html_title = f"weightspace {release}"
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []
