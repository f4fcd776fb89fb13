"""A page on this machine alone: who may ask, what the page may load, and the server that a command runs until Ctrl-C.

Starlette, uvicorn and Jinja2 are small, need no network, and are tested in-process. What brings its own components
(Gradio, NiceGUI, Streamlit) has no grid for 20,000 photos, and scripts in the page that a strict policy would not run.
"""

import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from smallset.pipeline import text
from smallset.pipeline.errors import SmallsetError
from smallset.web import pages

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.requests import Request, cookie_parser
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import BaseRoute, Mount
    from starlette.staticfiles import StaticFiles
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ModuleNotFoundError as error:
    raise SmallsetError(
        f'{error.name} is not installed, without which there is no page. Run: pip install "smallset[web]"'
    ) from None

HOME = "127.0.0.1"
# Scripts, styles and pictures of this server, and pictures that the page's own script has made; nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Sent to who has the token in the address: the cookie is set, and the page asked for without the token in its address.
# A redirect would not do: a browser that another site has sent here would follow it without the cookie.
ENTRY = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<link rel="icon" href="/static/icon.svg"><title>smallset</title><a href="/">Go on</a></html>'
)
STRANGER = "This page is for whoever started it: open the address that the terminal shows.\n"
ELSEWHERE = "This page answers to its own address on this machine alone.\n"


class Guard:
    """Lets through what comes from this page on this machine, and from who was given the token; ASGI.

    Host: another name that leads here is another site's (DNS rebinding). Origin: a page of another site may not post.
    The token is in the address once, and from then on in a cookie that no script and no other site's link sends.
    """

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{HOME}:{port}", f"localhost:{port}"}
        self.cookie = f"smallset-{port}"  # cookies know no ports: two pages at once have one each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; every answer has HEADERS."""
        if scope["type"] != "http":
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self.refused(scope) or self.app
        await answer(scope, receive, sealed)

    def refused(self, scope: Scope) -> Response | None:
        """What to answer in place of the page: a refusal, or to who comes with the token, the cookie."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        origins = {f"http://{host}" for host in self.hosts}
        if headers.get("host") not in self.hosts or (origin is not None and origin not in origins):
            return PlainTextResponse(ELSEWHERE, 403)
        if scope["method"] not in ("GET", "HEAD") and origin is None:
            return PlainTextResponse(ELSEWHERE, 403)
        if scope["path"] == "/" and self.same(*parse_qs(scope["query_string"].decode("latin-1")).get("token", [])):
            answer = HTMLResponse(ENTRY)
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return answer
        # Other servers of this machine have cookies here, too, some of a form that http.cookies gives up at.
        known = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        return None if self.same(known) else PlainTextResponse(STRANGER, 403)

    def same(self, *given: str) -> bool:
        """Whether that is the token, in a time that does not tell how much of it is right."""
        return len(given) == 1 and secrets.compare_digest(given[0].encode(), self.token.encode())


def application(routes: Sequence[BaseRoute], port: int, token: str) -> ASGIApp:
    """The routes, and /static, behind a Guard. A SmallsetError or an error of the disk is answered with its words."""
    handlers: dict[Any, Any] = {SmallsetError: said, OSError: said}
    inner = Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=pages.STATIC))], exception_handlers=handlers
    )
    return Guard(inner, port, token)


def said(_: Request, error: Exception) -> Response:
    """The words of an error, for the page to show."""
    return PlainTextResponse(text.lines(error), 409)


def page(template: str, **facts: object) -> HTMLResponse:
    """A template of this room with its values."""
    return HTMLResponse(pages.rendered(template, **facts))


def serve(routes: Sequence[BaseRoute], what: str, browser: bool) -> None:
    """Run a page until Ctrl-C; its address is printed, and opened in a browser where one is wanted.

    what: is served, for people, as "The photos".
    """
    with socket.socket() as listening:
        listening.bind((HOME, 0))  # a free port
        listening.listen()
        port, token = listening.getsockname()[1], secrets.token_urlsafe(32)
        address = f"http://{HOME}:{port}/?token={token}"
        print(f"{what}, on this machine alone: {address}\nCtrl-C ends it.", flush=True)
        if browser:  # aside, for a browser of the terminal does not return
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        run(application(routes, port, token), listening)
    print("\nEnded.")


def run(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests on a socket until Ctrl-C, or SIGTERM."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # which uvicorn passes on once it has ended
        return
