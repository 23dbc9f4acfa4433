"""The review page's server: one static page, two calls, and a gate in front of them.

The gate admits requests that carry the token of the printed address, come from the page's own origin, and from this
machine alone unless `--host` says otherwise. Nothing that a client sends is ever used as a path.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from pacos.errors import ConfigError, PacosError
from pacos.evaluate.review.sheet import SheetItem
from pacos.evaluate.review.votes import LONGEST_NAME, LONGEST_NOTE, VoteRefused, Votes
from pacos.report import charts

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("pacos")

PAGE = Path(__file__).with_name("page.html")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# A Host header of this machine, and of any. Nothing else is parsed: parsers differ in what they take for the host.
LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
ANY_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
LARGEST_BODY = 64 * 1024
LONGEST_LOOK = 3600.0  # seconds on one item; more is a break, not a look


class VoteRequest(BaseModel, extra="forbid"):
    """What the page sends for a key press: a vote, or skip, undo, note."""

    rater: str = Field(max_length=LONGEST_NAME)
    item: str = Field("", max_length=40)
    question: str = Field("", max_length=40)
    answer: str = Field(max_length=40)
    note: str = Field("", max_length=LONGEST_NOTE)
    seconds: float = Field(0.0, ge=0)


def serve(votes: Votes, *, host: str, port: int, rater: str = "") -> None:
    """Serve the page until Ctrl-C. Raises ConfigError for an address that cannot be bound."""
    import uvicorn

    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as failure:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {failure.strerror}", where="--host, --port", todo="choose another port"
        ) from failure
    token = secrets.token_urlsafe(24)
    hostname = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{hostname}:{listener.getsockname()[1]}/?token={token}"
    log.info("open %s%s", address, f"&rater={quote(rater)}" if rater else "")
    log.info("every rater may open it under their own name; Ctrl-C ends the review and writes its results")
    if host not in LOOPBACK:
        log.warning("open to the network, unencrypted: anyone with this address can read the texts and vote")
    app = create_app(votes, token, any_host=host not in LOOPBACK)
    # h11 is strict: two Host headers, or an address of another host, are refused.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, http="h11", ws="none"
    )
    with listener, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def create_app(votes: Votes, token: str, *, any_host: bool = False) -> "FastAPI":
    """Return the page's application; `any_host` admits requests to addresses other than this machine's."""
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, Response

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    page = PAGE.read_text(encoding="utf-8")

    @app.middleware("http")
    async def gate(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = refusal_reason(request, token, any_host)
        answer = Response(refusal, 403, media_type="text/plain") if refusal else await call_next(request)
        answer.headers.update(headers)
        return answer

    headers = {
        "Content-Security-Policy": content_security_policy(page),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, invalid: RequestValidationError) -> Response:
        # FastAPI's own answer repeats what came, and fails on NaN and on halves of characters.
        return _json(422, {"error": f"not a valid request: {invalid.errors()[0]['msg']}"})

    @app.get("/")
    def show() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/state")
    def state(rater: str) -> Response:
        return _json(200, state_of(votes, rater))

    # Not a coroutine: FastAPI runs it in a thread, where it may wait for the disk.
    @app.post("/vote")
    def vote(cast: VoteRequest) -> Response:
        try:
            votes.cast(
                cast.rater,
                cast.item,
                cast.question,
                cast.answer,
                note=cast.note,
                seconds=min(cast.seconds, LONGEST_LOOK),
            )
        except VoteRefused as refused:
            return _json(409, {"error": refused.what, "state": state_of(votes, cast.rater)})
        except PacosError as failure:
            log.error("%s", failure)
            return _json(507, {"error": failure.what})
        return _json(200, state_of(votes, cast.rater))

    return app


def refusal_reason(request: "Request", token: str, any_host: bool) -> str:
    """Return why the request is refused; "" where it is admitted."""
    host = request.headers.get("host", "")
    if not (ANY_HOST if any_host else LOCAL_HOST).fullmatch(host):
        return "this address is not the review's"
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if request.url.path == "/" and request.method == "GET":
        given = request.query_params.get("token", "")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "the token is missing or old: open the address that `pacos review` printed last"
    origin = request.headers.get("origin")
    if origin != f"http://{host}" and (origin is not None or request.method != "GET"):
        return "the request comes from another page"
    if "transfer-encoding" in request.headers:
        return "the length of the request must be given"
    size = request.headers.get("content-length", "")
    if request.method != "GET" and not (size.isdecimal() and int(size) <= LARGEST_BODY):
        return "the request is too large"
    return ""


def content_security_policy(page: str) -> str:
    """Return a policy that allows the page's own style and script, by hash, and calls to its own server."""

    def hashes(element: str) -> str:
        bodies = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in bodies
        )

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def state_of(votes: Votes, rater: str) -> dict[str, Any]:
    """Return what the page shows to this rater next; it holds nothing about models or other raters."""
    with votes.lock:
        return _state(votes, rater)


def _state(votes: Votes, rater: str) -> dict[str, Any]:
    sheet, ballot = votes.sheet, votes.ballot(rater)
    answered = ballot.complete(votes.questions)
    times = [ballot.seconds[item] for item in answered]
    item, position = votes.open_item(rater) or (None, 0)
    return {
        "kind": sheet.kind,
        "name": sheet.name,
        "total": len(sheet.items),
        "answered": len(answered),
        "skipped": len(ballot.skipped),
        "seconds": sum(times) / len(times) if times else None,
        "questions": [
            {
                "name": question.name,
                "text": question.text,
                "choices": [
                    {"answer": choice.answer, "label": choice.label, "keys": choice.keys} for choice in question.choices
                ],
            }
            for question in votes.questions
        ],
        "item": _shown(item) if item else None,
        "question": position,
        "given": ballot.given.get(item.id, {}) if item else {},
        "note": ballot.notes.get(item.id, "") if item else "",
        "can_undo": bool(ballot.history),
    }


def _shown(item: SheetItem) -> dict[str, Any]:
    """The item's texts, control characters made visible."""
    return {
        "id": item.id,
        "instruction": charts.visible(item.instruction),
        "input": charts.visible(item.input),
        "reference": charts.visible(item.reference),
        "answers": [charts.visible(text) for text in item.answers],
    }


def _json(status: int, values: dict[str, Any]) -> "Response":
    from starlette.responses import Response

    # ASCII: a lone surrogate in a model's text has no UTF-8.
    return Response(json.dumps(values), status, media_type="application/json")
