"""Every place of a JSON document, and what Hypothesis may put there."""

from __future__ import annotations

from hypothesis import strategies as st

from yinxin_proto.strict import Json

Place = tuple[str | int, ...]

SCALARS: st.SearchStrategy[Json] = (
    st.none() | st.booleans() | st.integers(-5, 1 << 60) | st.floats() | st.text(max_size=8)
)
VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Json, path: Place = ()) -> list[Place]:
    """Return the path of every value within a document, its own left out."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name, member in value.items():
            found += places(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            found += places(member, (*path, index))
    return found


def put(document: Json, place: Place, value: Json) -> None:
    """Replace what stands at ``place``."""
    for step in place[:-1]:
        document = document[step]
    document[place[-1]] = value
