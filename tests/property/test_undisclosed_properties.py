"""The quick check of a payload without disclosures decides as the full one does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.disclosure import check_undisclosed, disclose
from yinxin_proto.error import MalformedError
from yinxin_proto.strict import Json

NAMES = st.sampled_from(["a", "b", "_sd", "...", "_sd_alg"])
DIGESTS = st.sampled_from(["x", "y", "z"])
CLAIMS: st.SearchStrategy[Json] = st.recursive(
    st.integers(0, 3) | DIGESTS | st.lists(DIGESTS, max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=24,
)


def reason(check: object, *arguments: Json) -> str | None:
    """Return why a payload was refused, or None."""
    assert callable(check)
    try:
        check(*arguments)
    except MalformedError as error:
        return error.reason
    return None


# At the top ``_sd_alg`` has been read before, as the name of a hash.
TOP = NAMES.filter(lambda name: name != "_sd_alg")


@given(payload=st.dictionaries(TOP, CLAIMS, max_size=4))
def test_both_checks_refuse_the_same_payloads(payload: dict[str, Json]) -> None:
    quick, full = reason(check_undisclosed, payload), reason(disclose, payload, {})
    assert (quick is None) is (full is None)


@given(depth=st.integers(10, 20))
def test_both_checks_bound_the_depth(depth: int) -> None:
    payload: dict[str, Json] = {}
    innermost = payload
    for _ in range(depth):
        innermost["a"] = {}
        innermost = innermost["a"]
    assert reason(check_undisclosed, payload) == reason(disclose, payload, {})
