"""A page for this machine only: who may use it, what it may load, and the server that a command runs until Ctrl-C.

Starlette and uvicorn are small, need no network, and can be tested in one process. Frameworks with components of their
own (Gradio, NiceGUI, Streamlit) have no grid for 20,000 photos, and their scripts violate a strict security policy.
"""

import contextlib
import errno
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smallset.pipeline import text
from smallset.pipeline.errors import SmallsetError

HOST = "127.0.0.1"
STATIC = Path(__file__).parent / "static"
# Scripts, styles, pictures and frames of this server, and pictures that the page's own script made; nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# The answer to an address with the token. It sets the cookie and then opens the page without the token in its address.
# A redirect does not work: a browser that comes from another site would follow it without the cookie.
ENTRY = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<link rel="icon" href="/static/icon.svg"><title>smallset</title><a href="/">Continue</a></html>'
)
NO_TOKEN = "Only the person who started this page can use it: open the address that the terminal shows.\n"  # noqa: S105
FULL = "The disk is full, so this was not saved; all that was saved before is kept. Free some space, and try again."
OTHER_ORIGIN = "This page can only be used at its own address on this machine.\n"


class Guard:
    """ASGI middleware that lets through requests of this page on this machine, from a browser that has the token.

    Host: a request under another name comes from another site (DNS rebinding). Origin: other sites may not post.
    The address has the token once; then a cookie has it, which no script can read and no other site's link sends.
    """

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self.cookie = f"smallset-{port}"  # browsers do not separate cookies by port
        self.server: uvicorn.Server | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request; every answer has HEADERS, or its own values of them."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | {"Cache-Control": "no-store"}).items():
                    headers.setdefault(name, value)
            await send(message)

        scope["state"] = {"server": self.server}  # with which an answer without end sees that it has to end
        await (self._intercept(scope) or self.app)(scope, receive, send_with_headers)

    def _intercept(self, scope: Scope) -> Response | None:
        """The answer in place of the app's: a refusal, or ENTRY with the cookie."""
        headers, origins = Headers(scope=scope), {f"http://{host}" for host in self.hosts}
        if scope["method"] in ("GET", "HEAD"):
            origins.add("")  # browsers send no origin then
        if headers.get("host") not in self.hosts or headers.get("origin", "") not in origins:
            return PlainTextResponse(OTHER_ORIGIN, 403)
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["path"] == "/" and len(tokens) == 1 and self._is_token(tokens[0]):
            entry = HTMLResponse(ENTRY)
            entry.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return entry
        # Other servers on this machine set cookies as well, and http.cookies rejects all when it cannot parse one.
        token = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        return None if self._is_token(token) else PlainTextResponse(NO_TOKEN, 403)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())  # in constant time


def make_app(routes: Sequence[BaseRoute], port: int, token: str) -> Guard:
    """The routes, and the files of /static, behind a Guard. A SmallsetError or OSError is answered with its message."""

    def answer(_: Request, error: Exception) -> Response:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        return PlainTextResponse(FULL if full else text.lines(error), 409)

    static = Mount("/static", StaticFiles(directory=STATIC))
    return Guard(Starlette(False, [*routes, static], None, {SmallsetError: answer, OSError: answer}), port, token)


async def save_body(request: Request, file: IO[bytes], max_bytes: int) -> None:
    """Write what a browser sends to a file; SmallsetError when it is more than `max_bytes`."""
    async for part in request.stream():
        if file.tell() + len(part) > max_bytes:
            raise SmallsetError(f"This file is too large: expected at most {max_bytes // 10**6} MB.")
        file.write(part)
    file.flush()


def serve(routes: Sequence[BaseRoute], title: str, browser: bool) -> None:
    """Run a page until Ctrl-C or SIGTERM; print its address, and open it in a browser if `browser` is true."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))  # any free port
        listener.listen()
        port, token = listener.getsockname()[1], secrets.token_urlsafe(32)
        address = f"http://{HOST}:{port}/?token={token}"
        print(f"{title}, for this machine only: {address}\nPress Ctrl-C to stop.", flush=True)
        if browser:  # in a thread, because a browser in the terminal does not return
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after it has stopped
            make_server(make_app(routes, port, token)).run(sockets=[listener])
    print("\nStopped.")


def make_server(app: Guard) -> uvicorn.Server:
    """A server for an app, without logs."""
    settings: dict[str, Any] = {"log_level": "error", "access_log": False, "lifespan": "off", "ws": "none"}
    app.server = uvicorn.Server(uvicorn.Config(app, server_header=False, timeout_graceful_shutdown=2, **settings))
    return app.server
