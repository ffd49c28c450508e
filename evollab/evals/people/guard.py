"""Who may see and say what: an annotator's cookie, our own host name, our own page, a form that was given to them.

A page elsewhere in the same browser could send requests to 127.0.0.1, by DNS rebinding even read the answers. So the
Host header must be ours, an Origin must be ours and must be there with every POST, the cookie goes with no request
from elsewhere (SameSite=Strict), and a judgement needs the mark of the very form that this annotator was shown.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered: status, and words for the annotator."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is reached. hosts: names in a Host header. origins: of its pages. secure: by TLS."""

    hosts: frozenset[str]
    origins: frozenset[str]
    secure: bool


def address_of(host: str, port: int, url: str) -> Address:
    """The address of a server that listens at `host` and `port`, and is reached by `url` too, where there is one."""
    names = {"127.0.0.1", "localhost", "::1", host.lower()}
    origins = {f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in names}
    origins |= {origin.removesuffix(":80") for origin in origins if port == 80}
    if url:
        parts = urlsplit(url)
        names.add((parts.hostname or "").lower())
        origins.add(f"{parts.scheme}://{parts.netloc}".lower())
    return Address(frozenset(names), frozenset(origins), url.startswith("https://"))


def guard(address: Address) -> Middleware:
    """The checks that every request passes, and the headers that every response has."""

    def check(request: web.Request) -> None:
        if _hostname(request.host) not in address.hosts:
            raise Refused(421, "This server does not answer to that name.")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None and request.method not in ("GET", "HEAD"):
            raise Refused(403, "A request without an origin.")
        if origin is not None and origin.lower() not in address.origins:
            raise Refused(403, "This server answers to no other web page.")

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            check(request)
            response = await handler(request)
        except Refused as refused:
            response = _refusal(request, refused.words, refused.status)
        except web.HTTPException as error:  # aiohttp's own: no such route, a body that is too large
            response = _refusal(request, error.reason, error.status)
        response.headers.update(HEADERS)
        return response

    return guarded


def _refusal(request: web.Request, words: str, status: int) -> web.Response:
    """For the page as JSON, for a person who opened a wrong address as text."""
    if request.path.startswith("/api/"):
        return web.json_response({"error": words}, status=status)
    return web.Response(text=words, status=status)


class Annotators:
    """The annotators of a study by their secrets. `cookie`: its name, so that two studies on one machine don't meet."""

    def __init__(self, links: Mapping[str, str], secret: str) -> None:
        self._links = {annotator: token.encode() for annotator, token in links.items()}
        self._secret = secret.encode()
        self.cookie = f"evol-people-{hashlib.sha256(self._secret).hexdigest()[:8]}"

    def by_token(self, token: str) -> str:
        """Raises Refused for a token that is nobody's."""
        given = token.encode("utf-8", "surrogateescape")
        found = [annotator for annotator, own in self._links.items() if hmac.compare_digest(own, given)]
        if not found:
            raise Refused(403, "This link is not valid. Ask whoever sent it to you for the whole link.")
        return found[0]

    def of(self, request: web.Request) -> str:
        """The annotator whose cookie a request has. Raises Refused."""
        return self.by_token(request.cookies.get(self.cookie, ""))

    def form(self, annotator: str, place: int) -> str:
        """The mark of the form in which this annotator judges the comparison at `place`."""
        return hmac.new(self._secret, f"{annotator}\x1f{place}".encode(), hashlib.sha256).hexdigest()[:32]

    def check_form(self, annotator: str, place: int, given: object) -> None:
        """Raises Refused for the mark of another form, or of another annotator."""
        marked = given if isinstance(given, str) else ""
        if not hmac.compare_digest(self.form(annotator, place).encode(), marked.encode("utf-8", "surrogateescape")):
            raise Refused(403, "This page is out of date, or was opened for somebody else. Open your link again.")


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
