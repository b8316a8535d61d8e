"""The library that draws the figures where scripts run: Vega-Lite, bundled with what it needs."""

from __future__ import annotations

import functools

import altair as alt
import vl_convert


@functools.cache
def plotting() -> str:
    """Return a script that sets `window.sfbenchEmbed` to vega-embed; nothing is downloaded.

    It cannot end the element it stands in.
    """
    version = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    text: str = vl_convert.javascript_bundle("window.sfbenchEmbed = vegaEmbed;", vl_version=version)
    return text.replace("</script", "<\\/script")
