"""What differs between two states of a text."""

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.text_difference import RunKind, differences
from tests.support.work import count_calls


def shown(old: str, new: str, field: str = "body") -> list[str]:
    """Return the paragraphs with [-removed-] and {+added+} words."""
    signs = {RunKind.same: "{}", RunKind.removed: "[-{}-]", RunKind.added: "{{+{}+}}"}
    return [
        "".join(signs[run.kind].format(run.text) for run in paragraph)
        for difference in differences({field: old}, {field: new})
        for paragraph in difference.paragraphs
    ]


def test_changed_words_are_shown_within_their_paragraph() -> None:
    assert shown("The old boat sails.\n\nSecond.", "The new boat sails.\n\nSecond.") == [
        "The [-old-]{+new+} boat sails.",
        "Second.",
    ]


def test_a_changed_phrase_is_one() -> None:
    assert shown("We met on the 4 May 2026 in Budva.", "We met on the 5 June 2027 in Budva.") == [
        "We met on the [-4 May 2026-]{+5 June 2027+} in Budva."
    ]


def test_paragraphs_are_added_and_removed_whole() -> None:
    assert shown("One.\n\nTwo is here.", "One.\n\nA new one.\n\nTwo is there.") == [
        "One.",
        "{+A new one.+}",
        "Two is [-here-]{+there+}.",
    ]
    assert shown("One.\n\n- a\n- b", "One.\n\n- a") == ["One.", "• a", "[-• b-]"]


def test_formatting_is_compared_and_not_shown() -> None:
    assert shown("A **bold** word.", "A bold word.") == ["A [-bold-]{+bold+} word."]
    assert shown("* a", "- a") == ["• a"]


def test_fields_stand_as_on_the_page_of_the_text() -> None:
    stored = {"alt": "C", "body": "B", "headline": "A"}  # as the database orders them
    assert [difference.field for difference in differences({}, stored)] == ["headline", "body", "alt"]


def test_fields_that_are_the_same_are_left_out() -> None:
    old = {"headline": "A", "datelines": [{"text": "4 May, Budva"}], "alt": ""}
    new = {"headline": "A", "datelines": [{"text": "5 May, Budva"}], "alt": "", "picture_credit": ""}
    (difference,) = differences(old, new)
    assert difference.field == "datelines"
    assert [run.text for run in difference.paragraphs[0]] == ["4", "5", " May, Budva"]
    assert differences({}, {"headline": "B"})[0].paragraphs[0][0].kind is RunKind.added


def test_long_texts_are_compared_in_bounded_work() -> None:
    old, new = " ".join(f"a b{n}" for n in range(900)), " ".join(f"b{n} a c" for n in range(900, 1800))
    assert len(shown(f"Same. {old} Same.", f"Same. {new} Same.")) <= 2


def test_many_paragraphs_are_compared_in_bounded_work() -> None:
    def texts(number: int) -> tuple[dict[str, str], dict[str, str]]:
        old, new = ("\n\n".join(f"{letter}{n}" for n in range(number)) for letter in "ab")
        return {"body": old}, {"body": new}

    assert count_calls(lambda: differences(*texts(40)))["_count_elements"] == 80, "words counted once per paragraph"
    assert "_is_similar" not in count_calls(lambda: differences(*texts(100)))
    (difference,) = differences(*texts(1500))
    kinds = [run.kind for (run,) in difference.paragraphs]
    assert (kinds.count(RunKind.added), kinds.count(RunKind.removed)) == (1500, 1500)


@given(st.text("ab .\n", max_size=40), st.text("ab .\n", max_size=40))
def test_a_difference_holds_both_texts(old: str, new: str) -> None:
    for difference in differences({"alt": old}, {"alt": new}):
        runs = [run for paragraph in difference.paragraphs for run in paragraph]
        for text, other in ((old, RunKind.added), (new, RunKind.removed)):
            lines = "".join(line for line in text.split("\n") if line.strip())
            assert "".join(run.text for run in runs if run.kind is not other) == lines
