import json
import zlib

import numpy as np
import pytest

from controller.errors import InputError
from controller.microgrid import Bounds
from controller.witness import FORMAT, Witness, pack, unpack
from optimization.clearing import Clearing

RELAXED = {"peer ada": (Bounds(start=0, end=900, lower_w=None, upper_w=5),)}


def clearing(**changes):
    """An answer whose floats no decimal text holds."""
    rng = np.random.default_rng(7)
    values = {
        "device_kw": {"ada/pv": rng.normal(size=4)},
        "state_kwh": {"eve/battery": rng.normal(size=4)},
        "temperature_c": {},
        "shortfall": {"bob/boiler": 1 / 3},
        "trade_kwh": rng.normal(size=(5, 4)),
        "import_kwh": rng.normal(size=(3, 4)),
        "export_kwh": np.zeros((3, 4)),
        "price": np.array([[0.1, -0.0, 5e-324, 1e300]]),
        "objective": 0.1 + 0.2,
        "lower_bound": float("-inf"),
    }
    return Clearing(**values | changes)


def equal(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("trade_kwh", "import_kwh", "export_kwh", "price")
    ) and all(
        {id_: series.tobytes() for id_, series in getattr(one, name).items()}
        == {id_: series.tobytes() for id_, series in getattr(other, name).items()}
        for name in ("device_kw", "state_kwh", "temperature_c")
    )


def test_what_is_packed_comes_back_to_the_last_bit():
    witness = Witness(clearing=clearing(), relaxed=RELAXED)
    back = unpack(pack(witness))
    assert equal(back.clearing, witness.clearing)
    assert (back.clearing.objective, back.clearing.lower_bound) == (0.1 + 0.2, float("-inf"))
    assert back.clearing.shortfall == {"bob/boiler": 1 / 3}
    assert back.relaxed == RELAXED


def test_equal_answers_give_equal_bytes():
    packed = pack(Witness(clearing=clearing(), relaxed=RELAXED))
    assert pack(unpack(packed)) == packed == pack(Witness(clearing=clearing(), relaxed=RELAXED))


def test_an_answer_for_nobody_is_one():
    witness = Witness(clearing=clearing(import_kwh=np.zeros((0, 4)), device_kw={}), relaxed={})
    assert unpack(pack(witness)).clearing.import_kwh.shape == (0, 4)


def changed(**values):
    stated = json.loads(zlib.decompress(pack(Witness(clearing=clearing(), relaxed=RELAXED))))
    return zlib.compress(json.dumps(stated | values).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not compressed",
        pack(Witness(clearing=clearing(), relaxed=RELAXED))[:-3],
        zlib.compress(b"[]"),
        zlib.compress(b'{"format": "' + FORMAT.encode() + b'"}'),
        changed(format="gridpact.clearing.v0"),
        changed(price=[[2, 2], "AAAA"]),
        changed(price=[[1, 1], "not base64"]),
        changed(relaxed={"peer ada": [[0, 900]]}),
        changed(objective="a lot"),
        changed(shortfall=[1]),
    ],
    ids=[
        "empty",
        "plain",
        "cut off",
        "a list",
        "incomplete",
        "another format",
        "another shape",
        "no base64",
        "half a bound",
        "no number",
        "no table",
    ],
)
def test_what_is_none_is_refused(data):
    with pytest.raises(InputError, match="clearing: got"):
        unpack(data)


def test_no_more_is_unpacked_than_is_ready_to_be_held(monkeypatch):
    monkeypatch.setattr("controller.witness.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="more than 1000 bytes"):
        unpack(zlib.compress(b" " * 1001))
