"""Who may ask: a token where one is set, no strange host names on loopback, no other web page's requests.

A page in a browser can send requests to 127.0.0.1, and by DNS rebinding even read what comes back. So on loopback
the Host header must be a loopback name, an Origin must be our own, bodies must be declared as JSON (which a page
may not do without asking first), and no page is ever allowed by CORS.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from evollab.serve.engine import Refused
from evollab.serve.options import LOOPBACK
from evollab.serve.replies import error_body

OPEN = "/health"
"""Tells nothing about the model and needs no token."""


def guard(token: str, *, loopback: bool) -> Middleware:
    """The check that every request passes. token: empty for none."""
    expected = f"Bearer {token}".encode()

    def check(request: web.Request) -> None:
        if loopback and _hostname(request.host) not in LOOPBACK:
            raise Refused("this server answers to 127.0.0.1 and localhost only", status=403, kind="permission_error")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            raise Refused("this server answers to no other web page", status=403, kind="permission_error")
        if token and request.path != OPEN:
            given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, expected):
                raise Refused(
                    "a wrong token, or none; expected the header Authorization: Bearer TOKEN", status=401,
                    code="invalid_api_key", kind="authentication_error",
                )  # fmt: skip
        if request.method == hdrs.METH_POST and request.content_type != "application/json":
            raise Refused(f"Content-Type: found {request.content_type[:60]}; expected application/json", status=415)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            check(request)
            return await handler(request)
        except Refused as refused:
            return error_response(refused)
        except web.HTTPException as error:  # aiohttp's own: no such route, no such method
            if error.status < 400:
                raise
            words = f"{request.method[:20]} {request.path[:200]}: {error.reason}"
            return error_response(Refused(words, status=error.status))

    return guarded


def error_response(refused: Refused) -> web.Response:
    """An error in OpenAI's shape."""
    headers = {"Retry-After": "1"} if refused.status in (429, 503) else {}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(error_body(refused), status=refused.status, headers=headers)


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
