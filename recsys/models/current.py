"""Which bundle is served now. Stands apart from what loads one: whoever only asks needs no models, and no
kernels compiled."""

from __future__ import annotations

from pathlib import Path

CURRENT_FILE = "current"


class BundleBroken(Exception):
    """A bundle is not what its manifest says. Says which file, what was expected and what came."""


def current_version(bundles: Path) -> str | None:
    """The version to serve, None before the first one is published. Cheap: reads one small file."""
    try:
        version = (bundles / CURRENT_FILE).read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    is_name = version == Path(version).name and not version.startswith(".") and version.isprintable()
    if not version or not is_name or "\ufffd" in version:
        where = f"at `{bundles / CURRENT_FILE}`"
        raise BundleBroken(f"Expected the name of a version, got `{version[:64]}` - {where}")
    return version
