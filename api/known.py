"""What a request may name: whatever nobody knows is refused, so that nothing is lost to a slip of the pen.  Bodies of
JSON are judged by their models (`api.wire`)."""

from collections.abc import Collection, Iterable

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData, UploadFile

LONGEST = 100
"""Characters of a name that come back to whoever sent it."""


def query(request: Request) -> None:
    """
    Raises:
        RequestValidationError: the address has a parameter that its route does not take.
    """
    if not request.query_params:
        return
    operation = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    taken = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    names("query", request.query_params, taken)


def form(sent: FormData, texts: Collection[str], files: Collection[str]) -> None:
    """
    Raises:
        RequestValidationError: the form has a field that is none of these, a file as text, or text as a file.
    """
    names("body", sent, (*texts, *files))
    wrong = [
        (name, "it wants a file" if name in files else "it wants text, and this is a file")
        for name, value in sent.multi_items()
        if isinstance(value, UploadFile) != (name in files)
    ]
    _refuse("body", wrong)


def names(where: str, said: Iterable[str], known: Collection[str]) -> None:
    """
    Raises:
        RequestValidationError: something is said that nobody knows.
    """
    told = f"nobody knows this; it takes {', '.join(sorted(known))}" if known else "nobody knows this; it takes none"
    _refuse(where, [(name, told) for name in dict.fromkeys(said) if name not in known])


def _refuse(where: str, wrong: Collection[tuple[str, str]]) -> None:
    if wrong:
        raise RequestValidationError([{"loc": (where, name[:LONGEST]), "msg": told} for name, told in wrong])
