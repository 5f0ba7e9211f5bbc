import pytest

from device_drivers.errors import InvalidValueError
from device_drivers.options import Options


def test_texts_of_a_url_and_values_of_a_file_read_alike():
    for values in ({"n": "3", "x": "0.5", "on": "yes"}, {"n": 3, "x": 0.5, "on": True}):
        options = Options(values)
        assert (options.integer("n"), options.number("x"), options.flag("on")) == (3, 0.5, True)
        assert options.text("name", "none") == "none"
        options.done()


@pytest.mark.parametrize("value", ["", "x", "1.5", True, 1.5, -1, 11, None, [1]])
def test_an_integer_out_of_its_range_is_refused_by_name(value):
    with pytest.raises(InvalidValueError, match=r"^option n: got .*wanted a whole number from 0 to 10"):
        Options({"n": value}).integer("n", least=0, most=10)


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", True, float("nan"), -0.1])
def test_a_number_out_of_its_range_is_refused_by_name(value):
    with pytest.raises(InvalidValueError, match=r"^option x: got .*wanted a number, 0 or more"):
        Options({"x": value}).number("x", least=0)


def test_other_words_are_refused():
    options = Options({"on": "perhaps", "kind": "c", "name": 3})
    for read in (lambda: options.flag("on"), lambda: options.choice("kind", ["a", "b"]), lambda: options.text("name")):
        with pytest.raises(InvalidValueError, match=r"^option \w+: got .*wanted "):
            read()


def test_what_is_required_and_missing_is_refused():
    with pytest.raises(InvalidValueError, match="option unit: got none"):
        Options({}).integer("unit")


def test_what_nobody_asked_for_is_refused():
    options = Options({"rated_w": 1, "ratedw": 2})
    options.integer("rated_w")
    with pytest.raises(InvalidValueError, match="option: got ratedw, wanted rated_w"):
        options.done()


def test_options_that_were_looked_for_are_among_those_that_are_known():
    options = Options({"colour": "red"})
    assert not options.has("relay")
    with pytest.raises(InvalidValueError, match="got colour, wanted relay"):
        options.done()


@pytest.mark.parametrize("key", ["password", "token"])
def test_a_password_that_is_no_text_is_not_repeated(key):
    with pytest.raises(InvalidValueError, match=f"^option {key}: got another kind of value \\(int\\), wanted a text"):
        Options({key: 12345678}).text(key)
