"""What a driver is told when it is started: the controller, the devices, and what they may do."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from device_drivers.address import DeviceUrl
from device_drivers.errors import InvalidValueError
from device_drivers.failsafe import Failsafe, Fixed, HoldProgramme, fitted
from device_drivers.guard import LONGEST_S, GuardRules
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState

PREFIX = "GRIDPACT_DRIVER_"
MOST_W = 10**9
NAME = r"microgrids/[a-z][a-z0-9-]{0,62}/members/[a-z][a-z0-9-]{0,62}/devices/[a-z][a-z0-9-]{0,62}"
"""Of a device, as the API has it."""

Watts = Annotated[int, Field(ge=-MOST_W, le=MOST_W)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S)]


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BoundsSection(Section):
    """A band of power."""

    lower_w: Annotated[Watts | None, Field(description="W at least, negative where it produces; left out: any.")] = None
    upper_w: Annotated[Watts | None, Field(description="W at most; left out: any.")] = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        self.value()
        return self

    def value(self) -> Bounds:
        """The band."""
        return Bounds(lower_w=self.lower_w, upper_w=self.upper_w)


class FailsafeSection(Section):
    """What a device does when nobody tells it anything; exactly one key."""

    relay_closed: Annotated[bool | None, Field(description="Relay closed (true) or open (false).")] = None
    power_w: Annotated[Watts | None, Field(description="Hold this power, consumption positive.")] = None
    production_limit_w: Annotated[int | None, Field(ge=0, le=MOST_W, description="Produce at most this.")] = None
    hold_s: Annotated[
        float | None,
        Field(
            gt=0,
            le=LONGEST_S,
            description="A programme that runs goes on until it has run for so many s; nothing is started.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        named = sorted(self.model_fields_set)
        if len(named) != 1:
            raise ValueError(f"got {', '.join(named) or 'no key'}, wanted one of {', '.join(type(self).model_fields)}")
        return self

    def value(self) -> Failsafe:
        """The failsafe."""
        if self.hold_s is not None:
            return HoldProgramme(programme_s=self.hold_s)
        if self.relay_closed is not None:
            return Fixed(target=RelayState(closed=self.relay_closed))
        if self.power_w is not None:
            return Fixed(target=Power(power_w=self.power_w))
        return Fixed(target=ProductionLimit(limit_w=self.production_limit_w or 0))


class GuardSection(Section):
    """What the hardware may do, held by the driver whatever it is told."""

    min_on_s: Annotated[Seconds, Field(description="s that it stays on once it was switched on.")] = 0.0
    min_off_s: Annotated[Seconds, Field(description="s that it stays off once it was switched off.")] = 0.0
    starts_per_hour: Annotated[
        int | None, Field(ge=1, le=10_000, description="How often it may be switched on in any hour.")
    ] = None
    starts_per_day: Annotated[
        int | None, Field(ge=1, le=10_000, description="How often it may be switched on from midnight to midnight.")
    ] = None
    hard: Annotated[
        bool, Field(description="Whether the least times hold against the grid operator's limits too (compressors).")
    ] = False
    ramp_w_per_s: Annotated[
        float | None, Field(gt=0, le=MOST_W, description="W by which its power may change in a second.")
    ] = None


class DeviceSection(Section):
    """One device; the table `[[devices]]` stands once for each."""

    name: Annotated[
        str, Field(pattern=f"^{NAME}$", description="microgrids/{microgrid}/members/{member}/devices/{device}.")
    ]
    url: Annotated[str, Field(description="Where it is; the scheme names the driver (docs/protocols.md).")]
    bounds: Annotated[
        BoundsSection, Field(description="W that it may have; of what a relay switches, what it takes while it is on.")
    ] = BoundsSection()
    failsafe: Annotated[FailsafeSection, Field(description="What it does when nobody tells it anything.")]
    guard: Annotated[GuardSection, Field(description="What its hardware may do.")] = GuardSection()
    poll_s: Annotated[float, Field(ge=0.1, le=60, description="s between two readings.")] = 1.0
    timeout_s: Annotated[float, Field(ge=0.1, le=60, description="s that it may take to answer.")] = 3.0
    options: Annotated[
        dict[str, str | bool | int | float],
        Field(description="Of its driver, before what the URL's query says."),
    ] = {}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        DeviceUrl.parse(self.url)
        failsafe = fitted(self.failsafe.value(), self.bounds.value())
        rules = self.rules()
        if isinstance(failsafe, Fixed) and isinstance(failsafe.target, ProductionLimit) and rules.remembers:
            raise ValueError("guard: got least times or starts, wanted none for a plant that is only limited")
        return self

    def rules(self) -> GuardRules:
        """What its hardware may do."""
        return GuardRules(bounds=self.bounds.value(), **self.guard.model_dump())


class LimitSection(Section):
    """One group of devices that the grid operator limits; the table `[[limits]]` stands once for each."""

    group: Annotated[
        str,
        Field(
            pattern="^microgrids/[a-z][a-z0-9-]{0,62}/groups/[a-z][a-z0-9-]{0,62}$",
            description="microgrids/{microgrid}/groups/{group}, as the operator signs it.",
        ),
    ]
    driver: Annotated[
        str,
        Field(min_length=1, max_length=200, description="Id of this driver's identity, as in spiffe://GRID/driver/ID."),
    ]
    devices: Annotated[tuple[str, ...], Field(description="Names of its devices; left out: all of the driver.")] = ()
    default: Annotated[
        BoundsSection, Field(description="W that they may take together where no signed limit is fresh; 0 lies within.")
    ]

    @model_validator(mode="after")
    def _zero(self) -> Self:
        if (self.default.lower_w or 0) > 0 or (self.default.upper_w or 0) < 0:
            raise ValueError(f"default: got {self.default.value()}, wanted 0 within")
        return self


class DriverConfig(BaseSettings):
    """All settings of `gridpact driver`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    controller: Annotated[str, Field(description="HOST:PORT of the controller.")] = "127.0.0.1:50051"
    pki: Annotated[
        Path,
        Field(description="Folder with `ca.pem` and the certificate and key below; read again when they change."),
    ]
    identity: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Whose `.pem` and `.key` in it are shown.")
    ] = "driver"
    state: Annotated[Path, Field(description="Folder for what outlives the driver; made where it is missing.")]
    time_zone: Annotated[str, Field(description="IANA name of where the devices stand: when a day begins.")] = "UTC"
    heartbeat_s: Annotated[
        float, Field(ge=1, le=60, description="s between two heartbeats; fewer where the controller says so.")
    ] = 20.0
    telemetry_s: Annotated[
        float, Field(ge=0.1, le=60, description="s between two tellings of what is measured, at most.")
    ] = 5.0
    patience_s: Annotated[
        float, Field(ge=1, le=60, description="s after which a controller that says nothing counts as lost.")
    ] = 10.0
    stop_s: Annotated[
        float, Field(ge=0, le=600, description="s that devices have to take their failsafe after SIGTERM or SIGINT.")
    ] = 10.0
    ramp_w_per_10s: Annotated[
        int | None,
        Field(ge=1, le=MOST_W, description="W by which all devices together may change within any 10 s."),
    ] = None
    interlocks: Annotated[
        tuple[Annotated[tuple[str, ...], Field(min_length=2)], ...],
        Field(description="Lists of names of devices of which never two run."),
    ] = ()
    dso_keys: Annotated[
        dict[str, Path],
        Field(description="By id the public keys (`.sign.pub`) with which the grid operator signs limits of groups."),
    ] = {}
    limits: Annotated[tuple[LimitSection, ...], Field(description="Groups that the grid operator limits.")] = ()
    devices: Annotated[tuple[DeviceSection, ...], Field(min_length=1, max_length=10_000, description="What is driven.")]

    @field_validator("controller")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError("wanted HOST:PORT, such as 127.0.0.1:50051")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("wanted an IANA time zone, such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [device.name for device in self.devices]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"devices: got {twice[0]} twice, wanted each once")
        for locked in self.interlocks:
            unknown = sorted(set(locked) - set(names))
            if unknown:
                raise ValueError(f"interlocks: got {unknown[0]}, wanted names of devices")
        groups = [limit.group for limit in self.limits]
        if len(set(groups)) < len(groups):
            raise ValueError("limits: got a group twice, wanted each once")
        for limit in self.limits:
            unknown = sorted(set(limit.devices) - set(names))
            if unknown:
                raise ValueError(f"limits of {limit.group}: got {unknown[0]}, wanted names of devices")
        if self.limits and not self.dso_keys:
            raise ValueError("limits: got no dso_keys beside them, wanted the grid operator's")
        return self


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> DriverConfig:
    """The effective configuration: overrides before the environment before the file.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, or a key is unknown, missing or out of its bounds; names each.
    """
    stated = {} if path is None else _read(path)
    _check_environment()

    class Layered(DriverConfig):
        """The settings with the file's as a layer of their own."""

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=stated)

    try:
        return Layered(**({} if overrides is None else overrides))
    except ValidationError as err:
        errors = err.errors()
        complaints = [
            _complaint(error["loc"], error["type"], error["msg"], error["input"])
            for error in errors
            if not (error["type"] == "too_short" and _is_within(error["loc"], [other["loc"] for other in errors]))
        ]
        raise InvalidValueError("; ".join(complaints)) from err
    except SettingsError as err:
        raise InvalidValueError(f"environment: {err}") from err


def until_midnight_s(zone: ZoneInfo, utc: datetime) -> float:
    """Seconds until the next midnight in a time zone."""
    local = utc.astimezone(zone)
    midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), tzinfo=zone)
    return midnight.timestamp() - utc.timestamp()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidValueError(f"--config {path}: cannot be read: {err}") from err
    except tomllib.TOMLDecodeError as err:
        raise InvalidValueError(f"--config {path}: no TOML: {err}") from err


def _is_within(place: tuple[int | str, ...], others: Sequence[tuple[int | str, ...]]) -> bool:
    """Whether a part of this place is among the others: a list is counted without what is wrong in it."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in others)


def _check_environment() -> None:
    known = {PREFIX + name.upper() for name in DriverConfig.model_fields}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise InvalidValueError(f"environment: unknown key {name}; docs/drivers.md lists all")


def _complaint(place: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    message = message.removeprefix("Value error, ")
    if kind == "missing":
        return f"{key}: got none, wanted one"
    if kind == "extra_forbidden":
        return f"{key}: unknown key"
    told = isinstance(value, dict | list | tuple | BaseModel) or "got " in message
    shown = "" if told else f"got {str(value)[:80]!r}, "
    return f"{key + ': ' if key else ''}{shown}{message}"
