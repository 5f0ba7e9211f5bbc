"""What is no situation is refused when it is made."""

import pytest

from controller.clamp import Ability, Device, Margin, Planned, Scope, Situation, Span
from controller.errors import InputError
from controller.microgrid import SetpointKind

M, H = Scope(name="m", parent=None), Scope(name="h", parent="m")
CAR = Device(id="car", scope="m", ability=Ability())


@pytest.mark.parametrize(
    ("scopes", "devices", "message"),
    [
        ((M, M), (), "got a name twice"),
        ((H,), (), "got 'h' in 'm', wanted a scope that is there"),
        ((M, Scope(name="a", parent="b"), Scope(name="b", parent="a")), (), "inside itself, wanted a tree"),
        ((Scope(name="a", parent="a"),), (), "got 'a' inside itself, wanted a tree"),
        ((M,), (CAR, CAR), "got an id twice"),
        ((H, M), (Device(id="car", scope="x", ability=Ability()),), "got 'car' in 'x', wanted a scope"),
        (
            (M,),
            (
                Device(
                    id="car", scope="m", ability=Ability(), planned=Planned(kind=SetpointKind.POWER, value=10**9 + 1)
                ),
            ),
            "for 'car', wanted at most 1000000000 W",
        ),
    ],
)
def test_what_does_not_hang_together_is_refused(
    scopes: tuple[Scope, ...], devices: tuple[Device, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Situation(scopes=scopes, devices=devices)


def test_ends_of_a_span_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"span: got \[1, 0\] W"):
        Span(low_w=1, high_w=0)


@pytest.mark.parametrize(("fixed_w", "share_ppm"), [(-1, 0), (0, -1)])
def test_a_negative_margin_is_refused(fixed_w: int, share_ppm: int) -> None:
    with pytest.raises(InputError, match="margin: got"):
        Margin(fixed_w=fixed_w, share_ppm=share_ppm)


@pytest.mark.parametrize(("power_w", "kept_free_w"), [(0, 10), (1, 11), (19, 11), (20, 11), (-21, 12), (2_000, 110)])
def test_a_margin_s_share_is_rounded_up(power_w: int, kept_free_w: int) -> None:
    assert Margin(fixed_w=10, share_ppm=50_000).of(power_w) == kept_free_w
