"""Refresh tokens in cookies, for scripts in browsers, which then never see the token.

The names are those of Open Event Server. The second cookie can be read by scripts, which repeat
it in the header X-CSRF-TOKEN: another site can have a browser send the cookies, but not that.
"""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

REFRESH_PATH = "/v1/auth/token/refresh"
REFRESH, CSRF = "refresh_token_cookie", "csrf_refresh_token"
CSRF_HEADER = "x-csrf-token"


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
