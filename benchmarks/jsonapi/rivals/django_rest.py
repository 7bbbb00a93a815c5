"""The same page by Django REST framework JSON:API under gunicorn; see start.py."""

# mypy: disable-error-code="attr-defined, import-not-found, misc, import-untyped"
# Its packages are not installed with ours, so its classes cannot be known here.

import os
import sys
from datetime import datetime
from urllib.parse import urlsplit

import django
from django.conf import settings

from benchmarks.jsonapi.rivals.columns import columns

JSONAPI = "rest_framework_json_api"

address = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": address.hostname,
            "PORT": address.port,
            "USER": address.username,
            "NAME": address.path.removeprefix("/"),
            "CONN_MAX_AGE": None,
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "rest_framework", JSONAPI],
    LOGGING_CONFIG=None,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": (),
        "DEFAULT_PAGINATION_CLASS": f"{JSONAPI}.pagination.JsonApiPageNumberPagination",
        "DEFAULT_RENDERER_CLASSES": (f"{JSONAPI}.renderers.JSONRenderer",),
        "UNAUTHENTICATED_USER": None,
    },
    JSON_API_FORMAT_FIELD_NAMES="dasherize",
    ROOT_URLCONF=__name__,
    TIME_ZONE="UTC",
    USE_TZ=True,
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - Django wants its settings first
from django.db import models  # noqa: E402
from django.urls import include, path  # noqa: E402
from gunicorn.app.base import BaseApplication  # noqa: E402
from rest_framework.routers import DefaultRouter  # noqa: E402
from rest_framework_json_api import serializers, views  # noqa: E402

FIELDS = {
    str: models.TextField,
    bool: models.BooleanField,
    float: models.FloatField,
    datetime: models.DateTimeField,
}


class Meta:
    app_label = "contenttypes"
    db_table = '"events"."events"'
    managed = False


fields = {name: FIELDS[kind](null=is_nullable) for name, kind, is_nullable in columns()}
Event = type("Event", (models.Model,), {"__module__": __name__, "Meta": Meta, **fields})


class EventSerializer(serializers.ModelSerializer):
    class Meta:
        model = Event
        exclude: tuple[str, ...] = ()


class EventViewSet(views.ReadOnlyModelViewSet):
    queryset = Event.objects.filter(deleted_at=None, state="published", privacy="public").order_by(
        "id"
    )
    serializer_class = EventSerializer


router = DefaultRouter(trailing_slash=False)
router.register("events", EventViewSet)
urlpatterns = [path("", include(router.urls))]


class Server(BaseApplication):
    """gunicorn with one process, and a thread for each connection."""

    def load_config(self) -> None:
        options = {"bind": f"127.0.0.1:{sys.argv[-1]}", "workers": 1, "threads": 16}
        options["control_socket_disable"] = True
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        return get_wsgi_application()


if __name__ == "__main__":
    Server().run()
