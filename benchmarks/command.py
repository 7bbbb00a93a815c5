"""The command lines of the benchmarks: how they are read, told again, and end."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Collection, Sequence

from dev.errors import DevError


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return a parser of names between commas, which keeps the order of the known ones."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := [name for name in given if name not in known]:
            raise ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return [name for name in known if name in given]

    return names


def command(target: str, names: Sequence[str], options: Namespace, parser: ArgumentParser) -> str:
    """Return the `make` command that does the same on another machine.

    `names` are the options that matter there; those with their default values are left out.
    """
    given = {name: getattr(options, name) for name in names}
    words = [
        f"--{name}" if value is True else f"--{name} {_text(value)}"
        for name, value in given.items()
        if value != parser.get_default(name)
    ]
    file = getattr(options, "conferences", None)
    made = [f"make {target}", *([f"FILE={file.name}"] if file else [])]
    return " ".join([*made, *([f"ARGS='{' '.join(words)}'"] if words else [])])


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def run_or_exit(benchmark: Callable[[Namespace], object], options: Namespace) -> None:
    """Run the benchmark; exit with the message of a DevError, or with 130 after Ctrl-C."""
    try:
        benchmark(options)
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
