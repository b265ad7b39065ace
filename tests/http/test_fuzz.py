"""All that the description of the API allows, and much that it does not: never an error of ours, and every answer is as
described.  Schemathesis draws the requests (https://schemathesis.readthedocs.io)."""

from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis: the extra test is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode, checks  # noqa: E402
from schemathesis.specs.openapi import checks as described  # noqa: E402
from serving import Served  # noqa: E402

SLOW = list(HealthCheck)
CHECKS = (
    checks.not_a_server_error,
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_headers_conformance,
    described.response_schema_conformance,
    described.unsupported_method,
)
"""Not among them: that whatever a schema allows is done.  A grammar, a date and a token say more than a schema can."""


DRAWN = 6
"""Requests of each kind that one operation gets."""


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_every_answer_is_as_described(own: Served, mode: GenerationMode) -> None:
    whole = schemathesis.openapi.from_url(f"{own.url}/openapi.json")
    schema = whole.exclude(
        path_regex="/events$|/uploads/"
    )  # these end with a job, those are bytes of a type of their own
    asked = set()
    for operation in schema.get_all_operations():
        found = operation.ok()

        @settings(max_examples=DRAWN, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW)
        @given(case=found.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            case.call_and_validate(checks=list(CHECKS), timeout=30)

        try:
            ask()
        except Unsatisfiable:  # nothing about it can be wrong
            assert mode is GenerationMode.NEGATIVE
        asked.add(found.label)
    assert len(asked) > 25
    assert own.client.get("/readyz").json()["status"] == "ready"
