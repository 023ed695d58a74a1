"""FastAPI routes that cannot forget their scope."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response, Security
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException as StarletteHTTPException

from scoreline.access.admitted import admitted
from scoreline.access.caller import Caller
from scoreline.access.guesses import Guesses
from scoreline.access.keyring import Keyring
from scoreline.access.scopes import PUBLIC
from scoreline.core.about import about
from scoreline.core.errors import Denied, ScorelineError
from scoreline.web.asgi import Answer, health, id_of, named, problem, refusal
from scoreline.web.problems import declared

ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# What OpenAPI says of credentials; who is let in, `admitted` decides.
API_KEY: Final = APIKeyHeader(name="X-API-Key", scheme_name="key", auto_error=False)
BEARER: Final = HTTPBearer(bearerFormat="a key, or a JWT", scheme_name="bearer", auto_error=False)
Handler = Callable[..., Any]
Responses = dict[int | str, dict[str, Any]]
Words = Callable[[str, Answer], Answer]


class Routes:
    """Declares routes on an app, each behind the scope its table gives it; a route the table lacks is a KeyError.

    `guesses` counts who is not let in, where there are limits.
    """

    def __init__(
        self,
        app: FastAPI,
        scopes: Mapping[tuple[str, str], str],
        keyring: Callable[[], Keyring],
        guesses: Guesses | None = None,
    ) -> None:
        self._app = app
        self._scopes = scopes
        self._keyring = keyring
        self._guesses = guesses

    def add(
        self,
        method: str,
        route: str,
        handler: Handler,
        *,
        refusals: Sequence[int] = (),
        responses: Responses | None = None,
        **options: Any,
    ) -> None:
        """Declares a route of the table; `refusals` are its own statuses beside those of its scope.

        Its handler finds in `request.state.caller` who asks, an `access.caller.Caller`.
        `responses` are declared as they are, where refusals are no problem+json.
        """
        scope = self._scopes[method, route]
        responses = declared(*(() if scope == PUBLIC else (400, 401, 403, 429)), *refusals) | (responses or {})
        keyring, guesses = self._keyring, self._guesses if scope else None

        def admit(request: Request) -> None:
            model = request.path_params.get("name", "")
            if guesses:
                guesses.check(request.scope)
            try:
                request.state.caller = admitted(keyring(), scope, method, route, model, dict(request.headers.raw))
            except Denied:
                if guesses:
                    guesses.count(request.scope)
                raise

        credentials = [] if scope == PUBLIC else [Security(API_KEY), Security(BEARER)]
        self._app.add_api_route(
            route,
            handler,
            methods=[method],
            dependencies=[Depends(admit), *credentials],
            responses=responses,
            **options,
        )


def _as_problem(_: str, answer: Answer) -> Answer:
    return answer


def new_app(title: str, description: str, version: str, words: Words = _as_problem) -> FastAPI:
    """An app without routes of its own, whose every error is a problem+json, or what `words` makes of one by path."""
    app = FastAPI(
        title=title,
        description=description,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )

    def worded(request: Request, answer: Answer) -> Answer:
        return named(words(request.scope["path"], answer), dict(request.headers.raw))

    @app.exception_handler(ScorelineError)
    async def scoreline_error(request: Request, error: ScorelineError) -> Response:
        answer_id = id_of(dict(request.headers.raw))
        with about(request_id=answer_id):
            answer = words(request.scope["path"], refusal(error))
        answer[1].append((b"x-request-id", answer_id.encode()))
        return as_response(answer)

    @app.exception_handler(Exception)
    async def bug(request: Request, _: Exception) -> Response:
        return as_response(worded(request, problem(500, "Scoreline failed", "Scoreline failed")))

    @app.exception_handler(RequestValidationError)
    async def wrong_parameters(request: Request, error: RequestValidationError) -> Response:
        names = ", ".join(sorted({str(found["loc"][-1]) for found in error.errors()}))
        title = "A parameter is not what this route takes"
        return as_response(named(problem(422, title, f"{title}: {names}"), dict(request.headers.raw)))

    @app.exception_handler(StarletteHTTPException)
    async def http_error(request: Request, error: StarletteHTTPException) -> Response:
        title = {404: "There is no such route", 405: "This route does not take this method"}.get(
            error.status_code, "Refused"
        )
        status, headers, body = worded(request, problem(error.status_code, title, title))
        headers += [(name.encode(), text.encode()) for name, text in (error.headers or {}).items()]
        return as_response((status, headers, body))

    return app


def add_docs(
    routes: Routes,
    app: FastAPI,
    describe: Callable[[dict[str, Any], Caller], dict[str, Any]] = lambda declared, _: declared,
) -> None:
    """Swagger UI with its assets from the installed package, and the OpenAPI it shows: what `describe` makes of it."""

    async def openapi(request: Request) -> dict[str, Any]:
        return describe(app.openapi(), request.state.caller)

    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )

    async def asset(file: str) -> Response:
        if file not in ASSETS:
            raise HTTPException(404)
        return FileResponse(str(files("fastapi_swagger") / "resources" / file), media_type=ASSETS[file])

    routes.add("GET", "/openapi.json", openapi, include_in_schema=False)
    routes.add("GET", "/docs", docs, include_in_schema=False)
    routes.add("GET", "/docs/assets/{file}", asset, include_in_schema=False)


def add_health(routes: Routes, ready: Callable[[], bool]) -> None:
    """Liveness asks nothing of anyone; readiness and start-up say whether this process answers."""

    async def live() -> Response:
        return as_response(health(live_only=True, ready=ready()))

    async def is_ready() -> Response:
        return as_response(health(live_only=False, ready=ready()))

    routes.add("GET", "/healthz/live", live, tags=["health"])
    routes.add("GET", "/healthz/ready", is_ready, refusals=(503,), tags=["health"])
    routes.add("GET", "/healthz/startup", is_ready, refusals=(503,), tags=["health"])


def as_response(answer: Answer) -> Response:
    status, headers, body = answer
    found = Response(body, status)
    found.raw_headers = list(headers)
    return found
