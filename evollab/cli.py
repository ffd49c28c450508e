"""The command line: verbs are looked up, their options read, mistakes told."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from evollab import __version__
from evollab.flags import add_options
from evollab.records import EvolError
from evollab.verbs import GROUPS, VERBS


def parser_of(verb: str | None) -> argparse.ArgumentParser:
    """The whole command line; the options of a verb are filled in only when it is the one asked for."""
    parser = argparse.ArgumentParser(
        prog="evol", description="Seeds in, evolved instruction data out: Evol-Instruct, complete."
    )
    parser.add_argument("--version", action="version", version=f"evollab {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    groups: dict[str, Any] = {}
    for one in VERBS:
        group, _, name = one.name.rpartition(" ")
        if group and group not in groups:
            about = GROUPS[group]
            inner = verbs.add_parser(group, help=about, description=about)
            groups[group] = inner.add_subparsers(dest="what", metavar="WHAT", required=True)
        added = groups.get(group, verbs).add_parser(name, help=one.help, description=one.help)
        added.set_defaults(function=one.function)
        for name, settings in one.arguments:
            added.add_argument(name, **settings)
        if one.options and one.name == verb:
            for place in one.options.split():
                module, _, options = place.partition(":")
                add_options(added, getattr(importlib.import_module(f"evollab.{module}"), options))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Exit codes: 0 done, or stopped at a cap that was asked for; 1 calls failed and are left
    to do; 2 a mistake to mend; 130/143 stopped by a signal."""
    argv = sys.argv[1:] if argv is None else list(argv)
    words = [word for word in argv if not word.startswith("-")][:2]
    verb = " ".join(words if words and words[0] in GROUPS else words[:1]) or None
    parser = parser_of(verb)
    arguments = parser.parse_args(argv)
    arguments.words = argv
    if arguments.verb is None:
        parser.print_help()
        return 2
    try:
        return int(arguments.function(arguments))
    except EvolError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped at once; every reply that had arrived is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
