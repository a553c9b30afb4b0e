"""The review pages over HTTP, on this machine only: read by everybody who reaches it, written to with a token.

    GET  /NAME.html                     a page, as it lies in `review/`
    GET  /api/hello                     {"neuroloom": version, "writes": true}: which a folder of files does not answer
    GET  /api/sessions/ID/VERSION/tile  what the viewer shows, see `pipeline/review/tiles.py`; `spikes` likewise
    GET  /api/runs/NAME/live?after=N    steps done, and the losses after step N
    POST /api/sessions/ID/verdicts      {"verdict", "by", "note", "bad_channels", "good_channels"}: `verdicts.py`
    POST /api/runs/NAME/verdicts        the same, without channels

`python -m neuroloom.flows.pages` serves the store in NEUROLOOM_STORE by itself, on port 4280 of every interface: for a
container whose port is published on this machine alone.

Design rationale: the token travels in a header that a page of another origin cannot set, never in a cookie: cookies of
127.0.0.1 are shared by whatever listens on any of its ports. It reaches the browser behind the `#` of the address that
`neuroloom up` prints, which no request and no log holds. Requests for another host name are refused, so that a name
that resolves to this machine (DNS rebinding) reads nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from neuroloom.flows.environment import LOCALHOST, REVIEW_VARIABLE
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.review.tiles import NotYetError, Tiles
from neuroloom.pipeline.store import Store, StoreError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

# Of what is no page of this neuroloom: shown, run nothing. Pages of ours come with `review/page.py`'s own policy.
NO_SCRIPTS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
NO_FRAMES = "frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; {NO_FRAMES}",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TOKEN_VARIABLE, TOKEN_HEADER = "NEUROLOOM_REVIEW_TOKEN", "x-neuroloom-token"
TOKEN_FILE = ".review-token"
HOSTS = ("127.0.0.1", "localhost", "::1")
LARGEST_BODY = 256 << 10  # bytes: thousands of bad channels and the longest note
CONTAINER_PORT = 4280
END_S = 5.0
_RENEWING = threading.Lock()  # one page is drawn at a time


class RefusedError(Exception):
    """A request that is not done, with its HTTP status and one line for people."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


def token_of(store: Store) -> str:
    """What writing asks for: NEUROLOOM_REVIEW_TOKEN, else a secret in the store that only its owner can read."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given:
        return given
    path = store.root / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    return path.read_text(encoding="ascii")


def application(store: Store, token: str, hosts: tuple[str, ...] = HOSTS) -> Starlette:
    """The pages of a store and what can be asked of them. hosts: names under which it answers."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import RedirectResponse
    from starlette.routing import Route

    tiles = Tiles(store)

    def hello(_: Request) -> Response:
        return _json({"neuroloom": version("neuroloom"), "writes": os.access(store.sessions, os.W_OK)})

    def front(_: Request) -> Response:
        return RedirectResponse("/index.html")

    def page(request: Request) -> Response:
        return _page(store, request.path_params["name"])

    async def look(request: Request) -> Response:
        return await _in_thread(_looked, tiles, dict(request.path_params), dict(request.query_params))

    async def live(request: Request) -> Response:
        return await _in_thread(_live, store, request.path_params["name"], request.query_params.get("after", "0"))

    async def judge(request: Request) -> Response:
        said = await _written(request, token)
        return await _in_thread(_judged, store, request.path_params["kind"], request.path_params["name"], said)

    return Starlette(
        routes=[
            Route("/", front),
            Route("/api/hello", hello),
            Route("/api/sessions/{session:str}/{version:str}/{what:str}", look),
            Route("/api/runs/{name:str}/live", live),
            Route("/api/{kind:str}/{name:str}/verdicts", judge, methods=["POST"]),
            Route("/{name:str}", page),
        ],
        middleware=[Middleware(_Guard, hosts=hosts)],
        exception_handlers={RefusedError: _refused},
    )


class _Guard:
    """Every request: another host name is refused, and every answer carries the headers that keep pages apart."""

    def __init__(self, app: Any, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {key for key, _ in message["headers"]}
                added = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *(row for row in added if row[0] not in own)]}
            await send(message)

        if urlsplit(f"//{headers.get('host', '')}").hostname not in self.hosts:
            refusal = _json({"error": f"this is {' or '.join(self.hosts)}, not another host"}, 421)
            await refusal(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)


async def _written(request: Request, token: str) -> dict[str, Any]:
    """What a request wants written. Raises RefusedError unless it has the token, and comes from no page or our own."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        raise RefusedError(403, f"asked by a page of {origin}; only pages of http://{host} may write")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RefusedError(415, "application/json is wanted")
    if not secrets.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode()):
        raise RefusedError(401, "the token is missing or another one; the address that `neuroloom up` prints has it")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise RefusedError(413, f"more than {LARGEST_BODY} bytes; shorter notes are wanted")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the request is not JSON") from error
    if not isinstance(said, dict):
        raise RefusedError(400, "an object is wanted")
    return said


def _judged(store: Store, kind: str, name: str, said: dict[str, Any]) -> Response:
    from neuroloom.pipeline.reviewing import show_verdicts

    words = {key: said.get(key, "") for key in ("verdict", "by", "note")}
    if not all(isinstance(value, str) for value in words.values()):
        raise RefusedError(400, "verdict, by and note are texts")
    try:
        if kind == "runs":
            line = verdicts.judge_run(store, name, **words)
        elif kind == "sessions":
            bad, good = (_channels(key, said.get(key)) for key in ("bad_channels", "good_channels"))
            line = verdicts.judge_session(store, name, **words, bad_channels=bad, good_channels=good)
        else:
            raise RefusedError(404, "sessions and runs have verdicts")
    except verdicts.VerdictError as error:
        raise RefusedError(400, str(error)) from error
    except StoreError as error:
        raise RefusedError(404, str(error)) from error
    show_verdicts(store, name, is_run=kind == "runs")
    return _json({"verdict": verdicts.row(line)}, 201)


def _looked(tiles: Tiles, of: dict[str, str], asked: dict[str, str]) -> Response:
    from starlette.responses import Response as Bytes

    where, stream = (of["session"], of["version"]), asked.get("stream", "")
    try:
        if of["what"] == "spikes":
            times = tiles.spikes(*where, stream, float(asked.get("start", "nan")), float(asked.get("stop", "nan")))
            return _json({"times": times})
        if of["what"] != "tile":
            raise RefusedError(404, "a session has tiles and spikes")
        rows = [int(row) for row in asked.get("rows", "").split(",")]
        values = tiles.tile(*where, stream, int(asked.get("zoom", "")), int(asked.get("index", "")), rows)
        return Bytes(values, media_type="application/octet-stream")
    except NotYetError as error:
        raise RefusedError(503, str(error)) from error
    except StoreError as error:
        raise RefusedError(404, str(error)) from error
    except ValueError as error:
        raise RefusedError(400, str(error)) from error


def _live(store: Store, name: str, after: str) -> Response:
    from neuroloom.pipeline.review.live import live_run

    try:
        return _json(live_run(store, name, int(after)))
    except StoreError as error:
        raise RefusedError(404, str(error)) from error
    except ValueError as error:
        raise RefusedError(400, "after: a number of steps is wanted") from error


def _channels(key: str, said: object) -> dict[str, list[str]] | None:
    if said is None:
        return None
    if isinstance(said, dict) and all(isinstance(names, list) for names in said.values()):
        found = {stream: [name for name in names if isinstance(name, str)] for stream, names in said.items()}
        if found == said:
            return found
    raise RefusedError(400, f"{key}: a list of names per stream is wanted")


def _page(store: Store, name: str) -> Response:
    """A page by its plain name: no folder, nothing hidden, nothing but HTML; drawn anew where an older one wrote it."""
    from starlette.responses import FileResponse

    from neuroloom.pipeline.review.page import is_current, policy
    from neuroloom.pipeline.reviewing import renew

    path = store.review / name
    if not name.endswith(".html") or name != Path(name).name or name.startswith(".") or not path.is_file():
        raise RefusedError(404, "no such page")
    if not is_current(path):
        with _RENEWING:
            if not is_current(path):
                renew(store, name)
    allowed = policy() if is_current(path) else NO_SCRIPTS
    return FileResponse(path, media_type="text/html", headers={"content-security-policy": f"{allowed}; {NO_FRAMES}"})


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _json({"error": error.words}, error.status)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(content, status)


async def _in_thread(work: Callable[..., Response], *arguments: Any) -> Response:
    from starlette.concurrency import run_in_threadpool

    wait: Awaitable[Response] = run_in_threadpool(work, *arguments)
    return await wait


@contextmanager
def pages_served(store: Store, port: int, host: str = LOCALHOST) -> Iterator[str]:
    """Serve the pages of a store while in the context; gives their address.

    Raises OSError where the port is taken.
    """
    import uvicorn

    with socket.create_server((host, port)) as listening:
        options: dict[str, Any] = {"log_level": "error", "access_log": False, "lifespan": "off", "server_header": False}
        config = uvicorn.Config(application(store, token_of(store)), **options, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True, name="review pages")
        thread.start()
        try:
            yield f"http://{host}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(END_S)


def main() -> None:
    """Serve until interrupted, on every interface."""
    import uvicorn

    from neuroloom.pipeline.reviewing import review_index

    store = Store.here().create()
    review_index(store)
    named = urlsplit(os.environ.get(REVIEW_VARIABLE, "")).hostname
    hosts = (*HOSTS, named) if named and named not in HOSTS else HOSTS
    app = application(store, token_of(store), hosts)
    uvicorn.run(app, host="0.0.0.0", port=CONTAINER_PORT, log_level="warning", access_log=False, server_header=False)


if __name__ == "__main__":
    main()
