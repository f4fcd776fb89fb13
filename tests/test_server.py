"""Who may use a page that is served on this machine, and what it may load."""

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from smallset.pipeline.errors import SmallsetError
from smallset.web import server

PORT, TOKEN = 4711, "let-me-in"
HOST = f"127.0.0.1:{PORT}"


def answer(request: Request) -> Response:
    if request.query_params.get("fail"):
        raise SmallsetError("photos: expected one\x1b[31m. Add it.")
    return JSONResponse({"method": request.method})


def make_client(cookie: bool = True) -> TestClient:
    routes = [Route("/", answer), Route("/act", answer, methods=["GET", "POST"])]
    client = TestClient(server.make_app(routes, PORT, TOKEN), base_url=f"http://{HOST}")
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
    "headers",
    [
        *({"host": host} for host in ("evil.example", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"{HOST}.evil.example")),
        *({"origin": origin} for origin in ("http://evil.example", "null", f"https://{HOST}", "http://127.0.0.1:1")),
    ],
)
def test_other_host_names_and_pages_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    client = make_client()
    answers = [client.get("/", headers=headers), client.get("/", headers=headers, params={"token": TOKEN})]
    answers += [client.get("/act", headers=headers), client.post("/act", headers=headers)]
    assert [answer.status_code for answer in answers] == [403] * 4


def test_the_page_itself_may_post_under_both_names_of_this_machine() -> None:
    assert make_client().post("/act").status_code == 403
    for host in (HOST, f"localhost:{PORT}"):
        headers = {"host": host, "origin": f"http://{host}"}
        assert make_client().post("/act", headers=headers).json() == {"method": "POST"}


def test_every_answer_has_a_strict_policy_and_an_error_its_message() -> None:
    for cookie, path in ((True, "/"), (True, "/nowhere"), (False, "/"), (True, "/act?fail=1")):
        response = make_client(cookie).get(path)
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        names = ("x-content-type-options", "referrer-policy", "cache-control")
        assert [response.headers[name] for name in names] == ["nosniff", "no-referrer", "no-store"]
    assert (response.status_code, response.text) == (409, "photos: expected one\\x1b[31m. Add it.")


@pytest.mark.parametrize("path", ["../server.py", "%2e%2e/server.py", "..%2fserver.py", "/etc/passwd"])
def test_static_files_are_those_of_the_package(path: str) -> None:
    assert make_client().get("/static/try.css").status_code == 200
    assert make_client().get(f"/static/{path}").status_code == 404
