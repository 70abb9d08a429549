"""Documents cut from a superset with marked parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, UndefinedError

from mailer.adapters.variants import VariantDocument, mark_part

Tree = list["str | tuple[str, Tree]"]

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["section 1", "section 2", "left out 3", "reader"])
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.lists(WORDS, max_size=3),
    lambda inner: st.lists(WORDS | st.tuples(NAMES, inner), max_size=4),
    max_leaves=12,
)


def marked(tree: Tree) -> str:
    return "".join(
        one if isinstance(one, str) else str(mark_part(*one[0].split(), caller=lambda one=one: marked(one[1])))  # type: ignore[misc]
        for one in tree
    )


def kept(tree: Tree, names: frozenset[str]) -> str:
    return "".join(one if isinstance(one, str) else kept(one[1], names) if one[0] in names else "" for one in tree)


@given(TREES, st.frozensets(NAMES))
def test_variant_has_the_named_parts_and_no_markers(tree: Tree, names: frozenset[str]) -> None:
    assert VariantDocument(marked(tree)).select(names) == kept(tree, names)


def test_template_markers_are_always_closed() -> None:
    environment = Environment(autoescape=True)
    environment.globals["part"] = mark_part
    source = "{% for n in [1, 2] %}{% call part('section', n) %}<b>{{ n }} {{ word }}</b>{% endcall %}{% endfor %}"
    made = VariantDocument(environment.from_string(source).render(word="<!--part 1-->"))
    assert made.select(frozenset({"section 2"})) == "<b>2 &lt;!--part 1--&gt;</b>"
    assert made.select(frozenset()) == ""
    with pytest.raises(TypeError):
        environment.from_string("{{ part('reader') }}").render()
    with pytest.raises(UndefinedError):
        Environment().from_string("{% call part('reader') %}x{% endcall %}").render()
