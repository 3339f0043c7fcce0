"""What `import yinxin` offers is what was meant, no more."""

from __future__ import annotations

import inspect

import yinxin
from yinxin_proto import error as tree


def test_everything_exported_is_there_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(yinxin).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert public == set(yinxin.__all__) - {"__version__"}


def test_every_class_of_the_error_tree_is_exported() -> None:
    errors = {
        name
        for name, value in vars(tree).items()
        if inspect.isclass(value) and issubclass(value, tree.YinxinError)
    }

    assert errors <= set(yinxin.__all__)


def test_every_exported_class_and_function_says_what_it_is_for() -> None:
    silent = [
        name
        for name in yinxin.__all__
        if (inspect.isclass(value := getattr(yinxin, name)) or inspect.isfunction(value))
        and not value.__doc__
    ]

    assert silent == []


def test_every_call_of_the_client_is_documented() -> None:
    silent = [
        name
        for name, value in inspect.getmembers(yinxin.Client, inspect.isfunction)
        if not name.startswith("_") and not value.__doc__
    ]

    assert silent == []


def test_it_says_which_version_it_is() -> None:
    assert yinxin.__version__.count(".") == 2
