from pathlib import Path

from controller.access_text import matrix_table

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"


def test_the_documented_matrix_is_the_one_that_holds():
    """Where it is not: what ``matrix_table()`` returns belongs between the marks."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == matrix_table()
