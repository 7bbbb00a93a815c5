from shared.jsonapi.openapi.decorators import operation
from shared.jsonapi.openapi.document import describe

__all__ = ["describe", "operation"]
