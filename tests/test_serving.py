"""Who gets a page that is served on this machine, and what it may load."""

import sys

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from smallset.pipeline.errors import SmallsetError
from smallset.web import server

PORT, TOKEN = 4711, "let-me-in"
HERE = f"http://127.0.0.1:{PORT}"


def answer(request: Request) -> Response:
    if request.query_params.get("fail"):
        raise SmallsetError("photos: expected one\x1b[31m. Add it.")
    return JSONResponse({"method": request.method})


def client(base: str = HERE, cookie: bool = True) -> TestClient:
    routes = [Route("/", answer), Route("/act", answer, methods=["GET", "POST"])]
    own = TestClient(server.application(routes, PORT, TOKEN), base_url=base)
    if cookie:
        assert own.get("/", params={"token": TOKEN}, headers={"host": f"127.0.0.1:{PORT}"}).status_code == 200
    return own


def test_the_token_is_asked_for_once_and_kept_where_no_script_and_no_other_site_has_it() -> None:
    own = client(cookie=False)
    assert own.get("/").status_code == own.get("/act").status_code == own.get("/static/base.css").status_code == 403
    for wrong in ("", "x", TOKEN[:-1], f"{TOKEN}x", "é"):
        assert own.get("/", params={"token": wrong}).status_code == 403
    assert own.get(f"/?token={TOKEN}&token={TOKEN}").status_code == 403
    assert own.get("/act", params={"token": TOKEN}).status_code == 403  # there alone where it is opened
    entry = own.get("/", params={"token": TOKEN})
    cookie = entry.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert f"smallset-{PORT}=" in cookie
    assert TOKEN not in entry.text
    assert own.get("/").json() == {"method": "GET"}
    other = client(cookie=False)
    assert other.get("/", headers={"cookie": f"smallset-{PORT}=wrong"}).status_code == 403
    assert other.get("/", headers={"cookie": f"smallset-{PORT + 1}={TOKEN}"}).status_code == 403


@pytest.mark.parametrize("others", ['prefs={"a": 1}', "a[b]=c", "no value", "theme=dark"])
def test_cookies_of_other_servers_on_this_machine_do_no_harm(others: str) -> None:
    own = client(cookie=False)
    assert own.get("/", headers={"cookie": f"{others}; smallset-{PORT}={TOKEN}"}).status_code == 200
    assert own.get("/", headers={"cookie": others}).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"127.0.0.1:{PORT}.evil.example"],
)
def test_no_other_name_leads_here(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 403
    assert client().get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1", None]
)
def test_a_page_of_another_site_does_nothing_here(origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert client().post("/act", headers=headers).status_code == 403
    if origin is not None:  # nor is it told anything
        assert client().get("/act", headers=headers).status_code == 403


def test_the_page_itself_may_post_by_either_name_of_this_machine() -> None:
    for host in ("127.0.0.1", "localhost"):
        here = f"{host}:{PORT}"
        assert client().post("/act", headers={"host": here, "origin": f"http://{here}"}).json() == {"method": "POST"}


def test_every_answer_is_sealed() -> None:
    for own, path in ((client(), "/"), (client(), "/nowhere"), (client(cookie=False), "/"), (client(), "/act?fail=1")):
        headers = own.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_static_files_are_those_of_the_package() -> None:
    own = client()
    for path in (
        "/static/../serving.py",
        "/static/%2e%2e/serving.py",
        "/static/..%2fserving.py",
        "/static//etc/passwd",
    ):
        assert own.get(path).status_code == 404


def test_an_error_is_told_in_its_words() -> None:
    failed = client().get("/act", params={"fail": 1})
    assert failed.status_code == 409
    assert failed.text == "photos: expected one\\x1b[31m. Add it."


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "smallset.web.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SmallsetError, match=r'pip install "smallset\[web\]"'):
        __import__("smallset.web.server")
