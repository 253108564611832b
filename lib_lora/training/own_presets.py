"""The user's presets: settings files in a folder, without what belongs to one LoRA only."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.names import check_name
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import read_config, write_config
from lib_lora.training.presets import PRESETS, Preset, preset

PERSONAL = ("name", "data_dir", "trigger", "model", "start_from")
WHY = "Your own preset."


class OwnPresets:
    """Presets of the program, and below them those in ``folder``, which need not exist yet."""

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> list[str]:
        """All presets, own ones last."""
        return [*(p.name for p in PRESETS), *self.own()]

    def own(self) -> list[str]:
        """The names of the user's presets."""
        return sorted((path.stem for path in self.folder.glob("*.toml")), key=str.casefold)

    def faults(self) -> list[str]:
        """What of the user's presets cannot be read, with what to do."""
        found = []
        for name in self.own():
            try:
                self.find(name)
            except UserError as error:
                found.append(str(error))
        return found

    def find(self, name: str) -> Preset:
        """The preset of that name.

        Raises:
            UserError: there is none, or its file is damaged.
        """
        if name not in self.own():
            return preset(name)
        values = asdict(read_config(self._path(name)))
        return Preset(name, WHY, {key: value for key, value in values.items() if key not in PERSONAL})

    def save(self, name: str, config: TrainConfig) -> str:
        """Keep the settings under a new name, which is returned.

        Raises:
            UserError: the name is taken, or cannot be a file's.
        """
        name = name.strip()
        check_name(name, "Preset name", ending=".toml")
        if name in self.names():
            fix = "Choose another name, or delete that preset first"
            raise UserError("There is a preset of that name already", where=name, fix=fix)
        neutral = {key: getattr(TrainConfig(), key) for key in PERSONAL}
        write_config(self._path(name), TrainConfig(**{**asdict(config), **neutral}))
        return name

    def delete(self, name: str) -> None:
        """Remove one of the user's presets.

        Raises:
            UserError: it is none of them.
        """
        if name not in self.own():
            raise UserError("Only your own presets can be deleted", where=name)
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.toml"
