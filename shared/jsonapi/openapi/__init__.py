from shared.jsonapi.openapi.answers import error_references
from shared.jsonapi.openapi.document import describe

__all__ = ["describe", "error_references"]
