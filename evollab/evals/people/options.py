"""What `evol people` can be told."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from urllib.parse import urlsplit

from evollab.llm.option import option
from evollab.records import EvolError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - refused without --url
MOST_ANNOTATORS = 200


@dataclass(frozen=True, kw_only=True)
class PeopleOptions:
    """What `evol people` can be told."""

    items: int = option("prompts to show, drawn in proportion to skills; 0: all", 0, metavar="N")
    annotators: int = option("how many people judge; each gets a link", 1, metavar="K")
    each: int = option("how many annotators judge each comparison; 0: all of them", 0, metavar="N")
    seed: int = option("which prompts are drawn, in which order, on which side", 0, metavar="N")
    host: str = option("address to listen at", "127.0.0.1", metavar="HOST")
    port: int = option("port to listen at; 0: a free one", 8100, metavar="N")
    url: str = option(
        "how annotators reach this server, where it is not http://HOST:PORT (behind a proxy)", "", metavar="URL"
    )
    results: bool = option("tell what came of it, serve nothing", False)
    judge: tuple[str, ...] = option(
        "verdicts of a judge on the same answers, to tell its agreement with people (repeatable)", (), metavar="FILE"
    )
    strict: bool = option("stop at the first bad row", False)

    def __post_init__(self) -> None:
        if self.items < 0:
            raise EvolError(f"--items {self.items}: expected 0 or more")
        if not 1 <= self.annotators <= MOST_ANNOTATORS:
            raise EvolError(f"--annotators {self.annotators}: expected 1 to {MOST_ANNOTATORS}")
        if not 0 <= self.each <= self.annotators:
            raise EvolError(f"--each {self.each}: expected 0 to {self.annotators}, the number of --annotators")
        if not 0 <= self.port < 65536:
            raise EvolError(f"--port {self.port}: expected 0 to 65535")
        if self.url:
            _check_url(self.url)
        elif self.host in _ANYWHERE:
            raise EvolError(
                f"--host {self.host}: listens everywhere, so the links can't be known",
                "say how annotators reach it: --url http://NAME:PORT",
            )


def _check_url(url: str) -> None:
    """Raises EvolError unless it is http(s)://NAME[:PORT] and nothing more."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise EvolError(f"--url {url[:80]}: expected http://NAME:PORT or https://NAME") from None
    if parts.scheme not in ("http", "https"):
        near = difflib.get_close_matches(parts.scheme, ("http", "https"), 1)
        raise EvolError(
            f"--url {url[:80]}: expected http:// or https:// at its beginning",
            f"did you mean {near[0]}?" if near else "",
        )
    if not named or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise EvolError(f"--url {url[:80]}: expected http://NAME:PORT or https://NAME, without a path")
