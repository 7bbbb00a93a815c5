"""Every setting of every process, read from the environment under the name of the field.

One class holds them all, so that compose, manifests and `make run` use the same names. Values
that may hold a password are SecretStr, which only `get_secret_value()` reveals.
"""

import re
import sys
from email.utils import parseaddr
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AnyUrl,
    BeforeValidator,
    Field,
    HttpUrl,
    RedisDsn,
    SecretStr,
    TypeAdapter,
    UrlConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import MultiHostUrl
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError
from sentry_sdk.utils import BadDsn, Dsn

# The schemes that asyncpg understands. PostgresDsn would allow those of other drivers as well.
_POSTGRESQL = UrlConstraints(allowed_schemes=["postgresql", "postgres"], host_required=True)
URLS = {
    "database_url": TypeAdapter[object](Annotated[MultiHostUrl, _POSTGRESQL]),
    "redis_url": TypeAdapter[object](RedisDsn),
    "elasticsearch_url": TypeAdapter[object](HttpUrl),
    "smtp_url": TypeAdapter[object](
        Annotated[AnyUrl, UrlConstraints(allowed_schemes=["smtp", "smtps"], host_required=True)]
    ),
    "frontend_url": TypeAdapter[object](HttpUrl),
}
TLS = ("tls=starttls", "tls=none")
SENDER = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
# How long caches on the way to a service may keep the public keys, in parts of JWKS_MAX_AGE_S.
JWKS_CACHED_PART = 0.2
# A key for HMAC should be as long as the hash (RFC 2104 §3), which is 32 bytes for SHA-256.
MIN_SECRET_LENGTH = 32


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


# Written in the environment as `10.0.0.0/8, fd00::/8`.
Networks = Annotated[list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_split)]
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Settings(BaseSettings):
    """The settings of a process. Names it does not know are ignored; a wrong value is an error."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    environment: Literal["development", "test", "production"] = "production"
    version: str = "0.1.0"
    git_sha: str = "unknown"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    sentry_dsn: SecretStr | None = None

    # Stores. Without ELASTICSEARCH_URL search answers from PostgreSQL and says so.
    database_url: SecretStr = SecretStr("postgresql://almanac@127.0.0.1:5432/almanac")
    database_pool_size: int = Field(default=10, ge=1)
    database_timeout_s: float = Field(default=5.0, gt=0)
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    elasticsearch_url: SecretStr | None = None
    elasticsearch_replicas: int = Field(default=0, ge=0)

    # Where the gateway finds the services, and the services the public keys of auth.
    auth_url: str = "http://127.0.0.1:8004"
    events_url: str = "http://127.0.0.1:8001"
    faq_url: str = "http://127.0.0.1:8002"
    search_url: str = "http://127.0.0.1:8003"

    # Identity. The folder holds signing keys as <kid>.pem and keys of refresh tokens as
    # <time>.refresh; auth reads it again every JWT_KEYS_READ_S seconds.
    jwt_keys_dir: Path = Path("/etc/almanac/jwt")
    jwt_keys_read_s: float = Field(default=30.0, gt=0, le=60)
    # How long services keep the public keys, so that a key that auth withdrew is gone there too.
    jwks_max_age_s: float = Field(default=300.0, gt=0)
    # A new key signs when it is so old, and so known to every service.
    jwt_key_signs_after_s: float = Field(default=600.0, gt=0, validate_default=True)
    jwt_issuer: str = "almanac"
    jwt_audience: str = "almanac"
    # A token that comes with a refresh token lives shorter than one that comes alone.
    access_token_ttl_s: int = Field(default=24 * 3600, ge=1)
    refreshed_token_ttl_s: int = Field(default=15 * 60, ge=1)
    verify_on_sign_up: bool = False
    # Whether an administrator has more rights than others only after signing in with a code.
    admins_need_second_factor: bool = False
    # How many passwords auth hashes at a time, and how many more requests may wait for that.
    hashing_slots: int = Field(default=1, ge=1)
    hashing_max_waiting: int = Field(default=32, ge=0)
    # What one client address may do in an hour, and how often it may fail to prove that an account
    # is its own in 15 minutes. After the failures per account, which are those of all clients in
    # an hour, only addresses from which its owner signed in before are let in.
    sign_ups_per_hour: int = Field(default=100, ge=1)
    resets_per_hour: int = Field(default=20, ge=1)
    failures_per_client: int = Field(default=5, ge=1)
    failures_per_account: int = Field(default=50, ge=1)

    # Mail. Without SMTP_URL and MAIL_DIR mails wait in the database. MAIL_DIR is for development:
    # each mail becomes a file there. Links lead to FRONTEND_URL.
    smtp_url: SecretStr | None = None
    mail_dir: Path | None = None
    mail_from: str = "Almanac <almanac@localhost>"
    frontend_url: str = "http://127.0.0.1:4200"

    # Keys for the cursors of search, made by `python -m services.search new-key` and separated by
    # commas. The first one signs; all of them verify, so that a key can be replaced.
    cursor_secrets: Annotated[list[SecretStr], NoDecode] = []

    # Wire. The second name keeps the historical spelling, which existing deployments set.
    dasherize_api: bool = True
    etag: bool = True
    api_propogate_uncaught_exceptions: bool = False
    max_body_bytes: int = Field(default=1024 * 1024, ge=1)

    # Limits on what one connection, one client address and all clients may cost a process.
    max_connections: int = Field(default=4096, ge=1)
    max_connections_per_client: int = Field(default=1024, ge=1)
    header_timeout_s: float = Field(default=10.0, gt=0)
    body_timeout_s: float = Field(default=30.0, gt=0)
    min_bytes_per_s: int = Field(default=500, ge=0)
    keep_alive_s: int = Field(default=75, ge=1)

    # The networks whose X-Forwarded-* headers the gateway, and the services, believe.
    trusted_proxies: Networks = []
    gateway_networks: Networks = list(LOOPBACK)

    # Gateway.
    cors_origins: list[str] = ["*"]
    request_timeout_s: float = Field(default=30.0, gt=0)
    max_bodies_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    upstream_connect_timeout_s: float = Field(default=2.0, gt=0)
    upstream_read_timeout_s: float = Field(default=30.0, gt=0)
    upstream_max_requests: int = Field(default=64, ge=1)
    upstream_max_waiting: int = Field(default=256, ge=0)
    upstream_wait_s: float = Field(default=2.0, ge=0)

    graceful_shutdown_s: int = Field(default=30, ge=0)

    @field_validator(*URLS)
    @classmethod
    def _url(cls, value: SecretStr | str | None, info: ValidationInfo) -> SecretStr | str | None:
        if value is not None:
            text = value if isinstance(value, str) else value.get_secret_value()
            try:
                URLS[str(info.field_name)].validate_python(text)
            except ValidationError as error:
                raise ValueError(error.errors()[0]["msg"]) from None
        return value

    @field_validator("smtp_url")
    @classmethod
    def _tls(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            url = urlsplit(value.get_secret_value())
            if url.query not in ("", *TLS) or (url.query and url.scheme == "smtps"):
                raise ValueError("URL should be smtps://… or smtp://… with ?tls=starttls or none")
        return value

    @field_validator("mail_dir")
    @classmethod
    def _one_way_out(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("smtp_url") is not None:
            raise ValueError("Only one of SMTP_URL and MAIL_DIR should be set")
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str) -> str:
        if not SENDER.fullmatch(parseaddr(value)[1]) or not value.isprintable():
            raise ValueError("Input should be an address such as Almanac <almanac@example.org>")
        return value

    @field_validator("frontend_url")
    @classmethod
    def _base(cls, value: str) -> str:
        if "?" in value or "#" in value:
            raise ValueError("URL should have neither a query nor a fragment")
        return value.rstrip("/")

    @field_validator("elasticsearch_url")
    @classmethod
    def _has_port(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).port is None:
            raise ValueError("URL should have a port, such as http://elasticsearch:9200")
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _dsn(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            Dsn(value.get_secret_value() if value else "https://key@example.org/1")
        except (BadDsn, ValueError):
            raise ValueError("Input should be a DSN as Sentry shows it") from None
        return value

    @field_validator("jwt_key_signs_after_s")
    @classmethod
    def _later_than_caches(cls, value: float, info: ValidationInfo) -> float:
        # Auth may have read its folder before the key was there, a proxy may have kept the answer
        # for its max-age, and a service keeps it from then on.
        read_s, kept_s = (info.data.get(n, 0.0) for n in ("jwt_keys_read_s", "jwks_max_age_s"))
        if value <= read_s + kept_s * (1 + JWKS_CACHED_PART):
            raise ValueError("Input should be longer than any cache of the public keys")
        return value

    @field_validator("cursor_secrets", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("cursor_secrets")
    @classmethod
    def _long_enough(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(secret.get_secret_value()) < MIN_SECRET_LENGTH for secret in value):
            raise ValueError(f"Each secret should have at least {MIN_SECRET_LENGTH} characters")
        return value


@cache
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    A wrong value ends the process with one line, which names the variable and not its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        sys.exit(f"The environment is wrong. {'; '.join(wrong)}.")
    except SettingsError as error:
        # The text of the error names the field. The text of its cause would show the value.
        sys.exit(f"The environment is wrong: {error}.")
