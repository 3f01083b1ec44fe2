"""A home: the folder under which everything embedded is kept, and the settings that hold there."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from recsys.settings import Settings, load_settings


@dataclass(frozen=True)
class Home:
    """What a command of the command line works on. Two homes never touch each other."""

    folder: Path
    config: Path | None
    program: str
    """Path of the command line, for the processes that it starts."""

    def settings(self) -> Settings:
        """Raises SettingsError."""
        return load_settings(self.folder, self.config, os.environ)

    def command(self, *words: str) -> tuple[str, ...]:
        """A command of the same program on the same home, as a child that ends when this process
        does. By its path: `-m` would import from whatever folder the reader is in."""
        given = ["--home", str(self.folder.absolute())]
        if self.config is not None:
            given += ["--config", str(self.config.absolute())]
        return (sys.executable, self.program, *given, "--supervised", *words)
