import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.errors import UnknownName
from cappuccino.registry.identity import ModelId

STUDIES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")


@settings(derandomize=True, deadline=None, max_examples=50)
@given(STUDIES, st.integers(0, 10**8))
def test_parse_is_the_reverse_of_str(study: str, trial: int) -> None:
    model = ModelId(study, trial)
    assert ModelId.parse(str(model)) == model


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "/7",
        "study",
        "study/",
        "study/x",
        "study/-1",
        "study/07",
        "study/7/",
        "../etc/7",
        ".hidden/7",
    ],
)
def test_what_is_not_study_and_trial_is_refused(text: str) -> None:
    with pytest.raises(UnknownName):
        ModelId.parse(text)


@pytest.mark.parametrize("study", ["", "..", "a/b", "a b", "a\n", "ä", "x" * 101])
def test_a_study_that_is_no_plain_folder_name_is_refused(study: str) -> None:
    with pytest.raises(UnknownName, match="no name"):
        ModelId(study, 1)


@pytest.mark.parametrize("trial", [-1, True, 1.0])
def test_a_trial_that_counts_nothing_is_refused(trial: int) -> None:
    with pytest.raises(UnknownName, match="not a number"):
        ModelId("study", trial)


def test_models_sort_by_study_then_by_number() -> None:
    ids = [ModelId("b", 1), ModelId("a", 10), ModelId("a", 9)]
    assert [str(m) for m in sorted(ids)] == ["a/9", "a/10", "b/1"]
