import inspect
import re

import pytest

from cappuccino import errors
from cappuccino.errors import CappuccinoError, ConfigError, UnknownName, UsageError, WarehouseBusy, error_named

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, CappuccinoError) and kind.__module__ == errors.__name__
]


def drawn_tree() -> dict[str, str]:
    """Return each class of the drawing in the module's docstring with the one that it hangs on."""
    parents, branch = {}, {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ]*)([├└]── )?([A-Z]\w+)(  |$)", line)
        if found:
            depth = len(found[1]) // 4 + bool(found[2])
            branch[depth] = found[3]
            parents[found[3]] = branch.get(depth - 1, "Exception")
    return parents


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    assert drawn_tree() == {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}


def test_every_class_tells_the_operator_what_to_do_next() -> None:
    assert all(kind.__doc__ and kind.__doc__.endswith((".", "`exit_code`.")) for kind in CLASSES)


def test_wrong_usage_exits_with_two_and_everything_else_with_one() -> None:
    twos = {kind for kind in CLASSES if kind.exit_code == 2}
    assert twos == {UsageError, ConfigError, UnknownName}
    assert {kind.exit_code for kind in CLASSES} == {1, 2}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_that_crossed_a_process_as_text_gets_its_class_back(kind: type[CappuccinoError]) -> None:
    assert error_named(kind.__name__) is kind


def test_an_error_that_is_not_ours_becomes_the_base_class() -> None:
    assert error_named("ZeroDivisionError") is CappuccinoError
    assert str(error_named("WarehouseBusy")("held by 7")) == str(WarehouseBusy("held by 7"))
