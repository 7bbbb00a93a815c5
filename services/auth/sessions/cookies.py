"""Refresh tokens in cookies, for scripts in browsers, which then never see the token.

The names are those of Open Event Server. The second cookie can be read by scripts, which repeat
it in the header X-CSRF-TOKEN: another site can have a browser send the cookies, but not that.
"""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import MEDIA_TYPE, UnsupportedMediaType

REFRESH_PATH = "/v1/auth/token/refresh"
REFRESH, CSRF = "refresh_token_cookie", "csrf_refresh_token"
CSRF_HEADER = "x-csrf-token"
JSON_TYPES = ("application/json", MEDIA_TYPE)


def refuse_forms(request: Request) -> None:
    """Raise UnsupportedMediaType for a body that a form of another site could have sent.

    Such a form would sign a person in to a stranger's account. A script of another origin must
    ask before it sends JSON, and is told which origins may (CORS_ORIGINS).
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in JSON_TYPES:
        detail = "For a refresh token in a cookie, send the body as application/json."
        raise UnsupportedMediaType(detail, source={"header": "Content-Type"})


def set_cookies(
    request: Request, response: Response, token: str, csrf: str, expires_in: timedelta
) -> None:
    """Put the refresh token and its CSRF token into the answer."""
    secure = request.app.state.settings.environment == "production"
    age = int(expires_in.total_seconds())
    response.set_cookie(
        REFRESH, token, age, path=REFRESH_PATH, secure=secure, httponly=True, samesite="strict"
    )
    response.set_cookie(CSRF, csrf, age, path="/", secure=secure, samesite="strict")


def clear_cookies(response: Response) -> None:
    response.delete_cookie(REFRESH, path=REFRESH_PATH)
    response.delete_cookie(CSRF, path="/")
