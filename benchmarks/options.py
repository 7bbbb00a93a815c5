"""How the command lines of the benchmarks read options, and how they end."""

import argparse
import sys
from collections.abc import Callable, Collection

from dev.errors import DevError


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """What parses some of the known names, between commas, in their own order."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := [name for name in given if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return [name for name in known if name in given]

    return names


def run_or_exit(
    benchmark: Callable[[argparse.Namespace], object], options: argparse.Namespace
) -> None:
    """Run the benchmark; it exits with the words of a DevError, and with 130 by Ctrl-C."""
    try:
        benchmark(options)
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
