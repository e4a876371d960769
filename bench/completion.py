"""What makes a shell complete ``tebench``: ``eval "$(tebench completion bash)"``, or ``zsh``.

Commands, options and the names of methods, tasks, data sets and models are completed, those of your own in
``--config-dir FOLDER`` too.
"""

import shlex
from collections.abc import Iterable, Sequence

from omegaconf import OmegaConf

from bench.catalogue import CONF, Catalogue
from bench.cli import command_line, tell
from bench.command import COMMANDS
from bench.config import config_dirs
from bench.errors import BenchError
from bench.listing import KINDS
from bench.suggestions import choices

SCRIPTS = {
    # Bash takes = and : for the ends of words, so what it has already of the word is cut off again.
    "bash": """\
_tebench() {
    local line=${COMP_LINE:0:COMP_POINT} word known=
    word=${line##* }
    [[ $word == *[=:]* ]] && known=${word%"${word##*[=:]}"}
    mapfile -t COMPREPLY < <(tebench completion -- "$line" 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]#"$known"}")
}
complete -o nospace -F _tebench tebench""",
    "zsh": """\
_tebench() {
    local -a found
    found=("${(@f)$(tebench completion -- "${BUFFER[1,CURSOR]}" 2>/dev/null)}")
    compadd -Q -S '' -- $found
}
compdef _tebench tebench""",
}
WITH_OVERRIDES = (  # commands
    "run",
    "tables",
    "figures",
    "report",
    "plan",
    "status",
    "compare",
    "agreement",
    "check",
    "submit",
)
# The keys of an override that name a choice, and the folder of what may stand there.
GROUP_OF = {
    **{group: group for group in KINDS.values()},
    "+metric": "metric",
    "table": "task",
    "figure": "task",
}
EXPLAINED = ("predicted", "target")
# What commands take beside the settings of a run.
OF_COMMANDS = {"plan": ("rate=", "samples=", "backward=", "--measure", "--methods")}


def main(arguments: Sequence[str]) -> None:
    """Print the script of a shell, or after ``--`` what may stand at the end of a line.

    Raises:
        BenchError: for another shell.
    """
    if arguments[:1] == ["--"]:
        tell("\n".join(completed(" ".join(arguments[1:]))))
        return
    shell = next(iter(arguments), "bash")
    if shell not in SCRIPTS:
        raise BenchError(f"completion {shell}: expected {' or '.join(SCRIPTS)}")
    tell(SCRIPTS[shell])


def completed(line: str) -> list[str]:
    """The words that may stand in the place of the last one of a line.

    Args:
        line: up to the cursor, the command ``tebench`` included.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # within quotes
        words = line.split()
    if not line or line[-1].isspace():
        words.append("")
    begun = words[-1]
    if len(words) <= 2:
        return [f"{name} " for name in COMMANDS if name.startswith(begun)]
    command = words[1]
    if command == "list":
        return _beginning(KINDS, begun)
    if command == "completion":
        return _beginning(SCRIPTS, begun)
    if command not in WITH_OVERRIDES:
        return []
    try:
        catalogue = Catalogue(config_dirs(words[:-1]))
    except BenchError:
        catalogue = Catalogue()
    key, equals, value = begun.partition("=")
    return (
        _values(key, value, catalogue)
        if equals
        else _beginning([*OF_COMMANDS.get(command, ()), *_keys()], begun)
    )


def _beginning(known: Iterable[str], begun: str) -> list[str]:
    return [name for name in known if name.startswith(begun)]


def _keys() -> list[str]:
    """All that may be set, each with its equals sign: the choices, then the settings of a run."""
    settings = OmegaConf.load(CONF / "bench.yaml")
    plain = [str(key) for key in settings if key not in ("defaults", "hydra", "paths", "wandb")]
    groups = [key for key in GROUP_OF if key != "metric"]
    return [*(f"{key}=" for key in (*groups, *plain)), "--config-dir", "--help"]


def _values(key: str, value: str, catalogue: Catalogue) -> list[str]:
    """What may stand behind a key, several with commas between them."""
    before, comma, begun = value.rpartition(",")
    group = GROUP_OF.get(key)
    names = EXPLAINED if key == "explained" else sorted(choices(catalogue, group)) if group else ()
    return [f"{key}={before}{comma}{name}" for name in names if name.startswith(begun)]


if __name__ == "__main__":
    command_line(main)
