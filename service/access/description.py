"""What the API's description says of keys, where they are asked for."""

from typing import Any

from fastapi import FastAPI

from service.access.rules import scope_needed
from service.problems import declared

_SCHEME = {"type": "http", "scheme": "bearer", "bearerFormat": "ays_{id}_{secret}", "description": "An API key: `ays keys create`."}


def describe_keys(app: FastAPI, *, open_metrics: bool) -> None:
    """Have `/openapi.json` name the key, and what its absence or its limits are answered with, for every guarded operation.

    Args:
        app: the application, with its routes.
        open_metrics: whether `/metrics` is open to everybody.
    """
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schema.setdefault("components", {})["securitySchemes"] = {"key": _SCHEME}
            problems = {str(status): declared(status)[status] for status in (401, 403, 429)}
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    if scope_needed(method.upper(), path, open_metrics=open_metrics) is not None:
                        operation["security"] = [{"key": []}]
                        operation["responses"] |= problems
        return plain()

    app.openapi = described  # type: ignore[method-assign]
