from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from cappuccino.ensemble.document import Document, Member, from_json, to_json
from cappuccino.errors import ArtifactError
from tests.unit.ensemble.conftest import RECALL, WISH

MEMBERS = (Member("s", 0, "aa", 1.5, 0.75), Member("s", 1, "bb", 0.5, 0.25))
DOCUMENT = Document("score", WISH, RECALL, MEMBERS)


def test_a_document_comes_back_as_it_was_and_equal_ones_are_equal_text() -> None:
    text = to_json(DOCUMENT)
    assert from_json(text, "model.json") == DOCUMENT
    assert to_json(from_json(text, "model.json")) == text


@pytest.mark.parametrize(
    ("found", "instead", "said"),
    [
        (': "score"', ': "loudest"', "vote"),
        ('"weight": 0.25', '"weight": 0.5', "shares of one vote"),
        ('"trial": 1', '"trial": 0', "2 or more different ones"),
        ('"keep": 2', '"keep": "all"', "recall.keep"),
        ('"weight": 0.25', '"weight": NaN', "finite"),
        ('"vote"', '"voice"', "voice"),
        ("{", "", "document"),
    ],
)
def test_a_document_that_says_something_else_is_refused_by_the_field(found: str, instead: str, said: str) -> None:
    broken = to_json(DOCUMENT).replace(found, instead, 1)
    with pytest.raises(ArtifactError, match=f"folder/model.json is no ensemble .*{said}"):
        from_json(broken, "folder/model.json")


def test_one_member_is_no_ensemble() -> None:
    with pytest.raises(ValidationError, match="2 or more"):
        replace(DOCUMENT, members=MEMBERS[:1])
