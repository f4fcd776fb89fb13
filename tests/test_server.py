"""Who may use a page that is served on this machine, and what it may load."""

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from smallset.pipeline.errors import SmallsetError
from smallset.web import server

PORT, TOKEN = 4711, "let-me-in"


def answer(request: Request) -> Response:
    if request.query_params.get("fail"):
        raise SmallsetError("photos: expected one\x1b[31m. Add it.")
    return JSONResponse({"method": request.method})


def make_client(cookie: bool = True) -> TestClient:
    routes = [Route("/", answer), Route("/act", answer, methods=["GET", "POST"])]
    client = TestClient(server.make_app(routes, PORT, TOKEN), base_url=f"http://127.0.0.1:{PORT}")
    if cookie:
        assert client.get("/", params={"token": TOKEN}).status_code == 200
    return client


def test_the_token_is_used_once_and_then_kept_in_a_cookie() -> None:
    client = make_client(cookie=False)
    assert {client.get(path).status_code for path in ("/", "/act", "/static/try.css")} == {403}
    for wrong in ("", "x", TOKEN[:-1], f"{TOKEN}x", "é"):
        assert client.get("/", params={"token": wrong}).status_code == 403
    assert client.get(f"/?token={TOKEN}&token={TOKEN}").status_code == 403
    assert client.get("/act", params={"token": TOKEN}).status_code == 403
    entry = client.get("/", params={"token": TOKEN})
    cookie = entry.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", f"smallset-{PORT}="))
    assert TOKEN not in entry.text
    assert client.get("/").json() == {"method": "GET"}
    other = make_client(cookie=False)
    for wrong in (f"smallset-{PORT}=wrong", f"smallset-{PORT + 1}={TOKEN}"):
        assert other.get("/", headers={"cookie": wrong}).status_code == 403


@pytest.mark.parametrize("others", ['prefs={"a": 1}', "a[b]=c", "no value", "theme=dark"])
def test_cookies_of_other_servers_on_this_machine_do_no_harm(others: str) -> None:
    client = make_client(cookie=False)
    assert client.get("/", headers={"cookie": f"{others}; smallset-{PORT}={TOKEN}"}).status_code == 200
    assert client.get("/", headers={"cookie": others}).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"127.0.0.1:{PORT}.evil.example"]
)
def test_other_host_names_are_refused(host: str) -> None:
    assert make_client().get("/", headers={"host": host}).status_code == 403
    assert make_client().get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1"])
def test_pages_of_other_sites_may_do_nothing(origin: str) -> None:
    assert make_client().post("/act", headers={"origin": origin}).status_code == 403
    assert make_client().get("/act", headers={"origin": origin}).status_code == 403
    assert make_client().post("/act").status_code == 403


def test_the_page_itself_may_post_under_both_names_of_this_machine() -> None:
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}"):
        headers = {"host": host, "origin": f"http://{host}"}
        assert make_client().post("/act", headers=headers).json() == {"method": "POST"}


def test_every_answer_has_a_strict_policy() -> None:
    for cookie, path in ((True, "/"), (True, "/nowhere"), (False, "/"), (True, "/act?fail=1")):
        headers = make_client(cookie).get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["../server.py", "%2e%2e/server.py", "..%2fserver.py", "/etc/passwd"])
def test_static_files_are_those_of_the_package(path: str) -> None:
    assert make_client().get("/static/try.css").status_code == 200
    assert make_client().get(f"/static/{path}").status_code == 404


def test_an_error_is_answered_with_its_message() -> None:
    response = make_client().get("/act", params={"fail": 1})
    assert (response.status_code, response.text) == (409, "photos: expected one\\x1b[31m. Add it.")
