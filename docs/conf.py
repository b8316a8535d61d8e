# ruff: noqa: INP001  # Sphinx reads this file by its place
"""The documentation site: `nox -s docs` builds it, strictly, into `build/site`."""

from __future__ import annotations

from sfbench import __version__

project = "sfbench"
author = "the sfbench authors"
copyright = "the sfbench authors, Apache-2.0"  # noqa: A001  # the name that Sphinx reads
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"sfbench {__version__}"
html_static_path: list[str] = []
html_show_sourcelink = False
nitpicky = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
suppress_warnings = ["misc.highlighting_failure"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
copybutton_exclude = ".linenos, .gp, .go, .c1"
python_use_unqualified_type_names = True
