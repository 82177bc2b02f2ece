"""A client that is made of ``/openapi.json`` alone: it sends and takes nothing that is not described there."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import jsonschema
import requests
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_PLACES = {"path": "path_parameters", "query": "query", "header": "headers"}


def check_as_described(case: Any, answer: Any) -> None:
    """Raise FailureGroup unless an answer has a status, a type and a shape that the document tells of."""
    # Schemathesis wants the schema of one event where the document has that of the stream, a text.
    streams = "text/event-stream" in answer.headers["content-type"]
    case.validate_response(answer, checks=_CHECKS[:2] if streams else _CHECKS)


class DescribedClient:
    """Calls operations by their ids. *key* goes into the header that the document names."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self._timeout = timeout
        self._document = schemathesis.openapi.from_url(f"{url}/openapi.json", timeout=timeout)
        self._components: Any = self._document.raw_schema["components"]
        self._session = requests.Session()
        self._session.headers[self._components["securitySchemes"]["key"]["name"]] = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._session.close()

    def __call__(self, operation_id: str, *, body: Any = None, status: int = 200, **parameters: Any) -> Any:
        """Call an operation; returns its answer's JSON, or bytes.

        Raises KeyError for a parameter and ValidationError for a body that are not described, FailureGroup for an
        answer that is not, and AssertionError for one of another *status*.
        """
        operation = self._document.find_operation_by_id(operation_id)
        described = operation.definition.raw
        places = {each["name"]: _PLACES[each["in"]] for each in described["parameters"]}
        given: dict[str, Any] = {}
        for name, value in parameters.items():
            given.setdefault(places[name], {})[name] = value
        if "requestBody" in described:
            [(media_type, content)] = described["requestBody"]["content"].items()
            given |= {"body": body, "media_type": media_type}
            if media_type == "application/json":
                jsonschema.validate(body, {**content["schema"], "components": self._components})
        case = operation.Case(**given)
        answer = case.call(session=self._session, timeout=self._timeout)
        assert answer.status_code == status, (operation_id, answer.status_code, answer.text)
        check_as_described(case, answer)
        return answer.json() if answer.headers["content-type"] == ["application/json"] else answer.content
