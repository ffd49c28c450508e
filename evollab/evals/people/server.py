"""`evol people`: a study opened, a page served until somebody says stop, results told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aiohttp import web

from evollab.evals.people.guard import address_of
from evollab.evals.people.judgements import JUDGEMENTS, Judgements
from evollab.evals.people.options import LOOPBACK, PeopleOptions
from evollab.evals.people.pages import Pages
from evollab.evals.people.results import results
from evollab.evals.people.study import Study, is_study, open_study
from evollab.evals.people.table import table
from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.runs import locked

_GRACE = 1.0
"""Seconds that requests under way get when the server stops."""


def people(runs: Sequence[str], out: Path, options: PeopleOptions) -> int:
    """Let people compare the answers in `runs` blindly, until Ctrl-C or SIGTERM; then write and print the results.

    runs: files of answers (FILE or NAME=FILE) and folders of evaluations; with `options.results`, where `out` is no
    study, the folder of one. out: the study's folder; the same command goes on with it. Returns 0. Raises EvolError
    for what can't be compared, read, bound, and for a folder that another process serves or that holds another study.
    """
    _check_judges(options.judge)
    if options.results:
        folder = next((Path(run) for run in runs if is_study(Path(run))), out)
        print(table(results(folder, options.judge)))
        return 0
    with locked(out, "evol people"):
        study, about = open_study(runs, out, options)
        say(about)
        with Judgements(out / JUDGEMENTS) as judgements:
            with asyncio.Runner() as runner:
                runner.run(_serve(study, judgements, options))
            if judgements.now:
                print(table(results(out, options.judge)))
    return 0


def _check_judges(files: Sequence[str]) -> None:
    """Before people spend their time. Raises EvolError."""
    for file in files:
        if not Path(file).exists():
            raise EvolError(f"--judge {file}: there is no such file or folder")


@contextlib.asynccontextmanager
async def listening(study: Study, judgements: Judgements, options: PeopleOptions) -> AsyncIterator[str]:
    """The pages at an address while the block runs; gives the address that annotators use. Raises EvolError."""
    pages = Pages(study, judgements, options.each, options.seed)
    host = options.host
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, options.port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EvolError(f"port {options.port} of {host} is in use", "--port 0 takes a free one") from None
        raise EvolError(f"can't listen at {host}:{options.port}: {error.strerror or error}") from None
    port = bound.getsockname()[1]
    app = pages.application(address_of(host, port, options.url))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        yield options.url.rstrip("/") or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


async def _serve(study: Study, judgements: Judgements, options: PeopleOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with listening(study, judgements, options) as url:
            say("one link for each annotator, to be kept private:")
            for annotator, token in study.links.items():
                say(f"  {annotator}  {url}/j/{token}")
            if options.host not in LOOPBACK and not url.startswith("https://"):
                say("note: without https whoever listens on the network can read the links")
            say(f"judgements in {study.folder / JUDGEMENTS}; Ctrl-C ends it, the same command goes on")
            await stop.wait()
            say("stopping")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
