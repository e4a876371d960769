"""What readers are told that was read: the title of a choice, unless the command line reads something else."""

from collections.abc import Mapping, Sequence
from typing import Any

READ = ("_target_", "path", "architecture")  # settings without which a title is that of something else
# Settings that change nothing of what is read.
NAMES = ("name", "title", "limit", "nested_subsets", "expected_samples", "expected_shape", "made_by")
LONGEST = 60  # characters of a value


def retitled(
    section: str, choice: Mapping[str, Any], raw: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[str, list[str]]:
    """The title of a data set or a model, as a command line reads it, and the settings that changed it.

    A title in a file of ``conf`` is that of what the file names. With ``dataset.path=/mine`` another data set is
    read, which is named by what reads it and by where it lies; other settings are added to the title, as in
    ``ERASER Movie Reviews, test with split=train``. ``dataset.title=…`` has the last word.

    Args:
        section: ``dataset`` or ``model``.
        choice: the section of the resolved configuration, with a title.
        raw: the section with its interpolations, by which a title that names what is read is known.
        overrides: of the command line.
    """
    given = [override.lstrip("+~").partition("=")[0] for override in overrides]
    keys = {key.removeprefix(f"{section}.") for key in given if key.startswith(f"{section}.")}
    changed = sorted({key.partition(".")[0] for key in keys})
    title = str(choice["title"])
    if "title" in changed:
        return title, []
    if replaced := [key for key in changed if key in READ and "${" not in str(raw.get("title"))]:
        title = _what_is_read(section, choice)
    added = [key for key in changed if key not in (*READ, *NAMES)]
    settings = [f"{key}={_short(choice.get(key))}" for key in added]
    return f"{title} with {', '.join(settings)}" if settings else title, replaced + added


def _what_is_read(section: str, choice: Mapping[str, Any]) -> str:
    if "architecture" in choice:
        return str(choice["architecture"])
    reader = str(choice["_target_"]).rpartition(".")[2]
    if (path := choice.get("path")) is None:
        return reader
    return str(path) if section == "model" else f"{path} (read by {reader})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
