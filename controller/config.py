"""How a long-running service is set up: every key, its bounds and its default.

What the command line says goes before the environment, the environment before the file, the file before the defaults.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from contracts.batch import MAX_WINDOWS
from contracts.quorum import MAX_VALIDATORS
from controller.errors import InputError

PREFIX = "GRIDPACT_"
DRIVERS_PREFIX = "GRIDPACT_DRIVER_"
DELIMITER = "__"
LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
LAST_PORT = 65_535
SHOWN = 80
NO_SETTINGS = frozenset({"GRIDPACT_CAMPAIGN"})
"""Variables that look like settings and are read by others: the size of the test campaigns."""
SECRET = frozenset({"database_url", "anchoring.keystore_password", "anchoring.signer_url", "anchoring.url"})
"""Keys whose values no message repeats."""


def listen_address(value: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; port 0 lets the system choose.

    Raises
    ------
    ValueError
        If it is none; says what was wanted.
    """
    match = LISTEN.fullmatch(value)
    if match is None or int(match["port"]) > LAST_PORT:
        raise ValueError(f"wanted HOST:PORT, the port up to {LAST_PORT}, such as 127.0.0.1:50051")
    return match["host"].strip("[]"), int(match["port"])


def check_http(url: str) -> None:
    """Refuse what is no URL for HTTP.

    Raises
    ------
    ValueError
        Says what was wanted, and nothing of the URL, which may hold a secret.
    """
    if not re.fullmatch(r"https?://\S+", url):
        raise ValueError("wanted a URL that begins with http:// or https://")


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Lease(Section):
    """How long drivers may act without hearing from the service."""

    duration_s: Annotated[
        int, Field(ge=10, le=3600, description="s for which a setpoint acts without being renewed.")
    ] = 60
    renew_share: Annotated[
        float, Field(gt=0, le=0.9, description="Share of a lease after which the service renews it unasked.")
    ] = 0.5


class Solver(Section):
    """The search for each window's clearing, in processes of their own."""

    gap: Annotated[
        float, Field(gt=0, lt=1, description="Relative gap to the best possible at which a search may end.")
    ] = 0.005
    deadline_s: Annotated[
        float,
        Field(
            gt=0, le=3600, description="s after which a search ends with the best schedule so far, whatever its gap."
        ),
    ] = 60.0
    workers: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="Searches at a time: as many microgrids are cleared beside each other. Aggregators' plans give "
            "way to them, and have as many processes of their own.",
        ),
    ] = 1
    memory_mib: Annotated[
        int | None, Field(ge=1024, le=1_048_576, description="MiB of addresses that each process may take; none: any.")
    ] = 8192


class Supervision(Section):
    """The DSO's heartbeats."""

    heartbeat_s: Annotated[
        float, Field(gt=0, le=3600, description="s within which a supervising DSO sends its next heartbeat.")
    ] = 60.0
    lost_s: Annotated[
        float,
        Field(gt=0, le=86_400, description="s without a heartbeat after which the failsafe envelope holds."),
    ] = 120.0
    recover_s: Annotated[
        float,
        Field(gt=0, le=86_400, description="s of unbroken heartbeats that end the failsafe by themselves."),
    ] = 120.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lost_s <= self.heartbeat_s:
            raise ValueError(f"lost_s: got {self.lost_s:g}, wanted more than heartbeat_s, {self.heartbeat_s:g}")
        return self


class Clamp(Section):
    """How limits are kept on running setpoints."""

    policy: Annotated[
        Literal["proportional", "priority"],
        Field(description="who gives first: all in proportion, or the lowest priority."),
    ] = "proportional"
    margin_w: Annotated[int, Field(ge=0, le=1_000_000, description="W that are kept free of every limit.")] = 0
    margin_share_ppm: Annotated[
        int, Field(ge=0, le=1_000_000, description="Parts per million of the uncontrolled power, kept free besides.")
    ] = 0


class Anchoring(Section):
    """Where the hashes of the books are written."""

    mode: Annotated[
        Literal["off", "embedded", "rpc"],
        Field(
            description="`off`: anchors stay pending; `embedded`: a chain in this process, rebuilt at each start from "
            "the transactions in the database, for trying; `rpc`: a node behind `url`."
        ),
    ] = "off"
    url: Annotated[
        SecretStr | None,
        Field(
            description="JSON-RPC of an Ethereum node, http or https; for `rpc`. Of it only the host is ever printed: "
            "providers put keys into paths."
        ),
    ] = None
    key_file: Annotated[
        Path | None,
        Field(
            description="File with the 32-byte private key of the account that anchors, as 0x and 64 digits, readable "
            "by its owner alone; for `rpc`. It pays for the gas. Better encrypted: `keystore_file`."
        ),
    ] = None
    keystore_file: Annotated[
        Path | None,
        Field(
            description="Encrypted file of that key (Web3 Secret Storage, version 3), readable by its owner alone; for "
            "`rpc`."
        ),
    ] = None
    keystore_password_file: Annotated[
        Path | None,
        Field(description="File with the keystore's password in its first line, readable by its owner alone."),
    ] = None
    keystore_password: Annotated[
        SecretStr | None,
        Field(description="The keystore's password, where it is handed over by the environment. It is never printed."),
    ] = None
    signer_url: Annotated[
        SecretStr | None,
        Field(
            description="Service that holds the key and signs (JSON-RPC with eth_signTransaction, as web3signer), http "
            "or https; for `rpc`, with `account`. Of it only the host is ever printed."
        ),
    ] = None
    account: Annotated[
        str | None,
        Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="Address of the account that `signer_url` signs for."),
    ] = None
    max_fee_gwei: Annotated[
        float,
        Field(
            ge=0.001,
            le=1_000_000,
            description="Most gwei that a unit of gas may cost, base fee and tip together; dearer than that, anchors "
            "wait. For `rpc`.",
        ),
    ] = 100.0
    bump_after_s: Annotated[
        float,
        Field(
            ge=1,
            le=86_400,
            description="s after which a transaction that no block has included is sent anew with higher fees, within "
            "`max_fee_gwei`. For `rpc`.",
        ),
    ] = 60.0
    finality_depth: Annotated[
        int | None,
        Field(
            ge=0,
            le=100_000,
            description="Blocks that must follow an anchor's until it counts as final, for chains that do not say "
            "themselves; not set, the block that the node calls `finalized` is trusted. For `rpc`.",
        ),
    ] = None
    period_s: Annotated[float, Field(ge=0.1, le=3600, description="s between two looks at the outbox of anchors.")] = (
        10.0
    )
    keep_clearings_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="Days for which what solvers answered is kept after a window that is anchored, for validators "
            "that come later. Of a window that is not anchored it stays.",
        ),
    ] = 30
    validators: Annotated[
        tuple[Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")], ...],
        Field(
            max_length=MAX_VALIDATORS,
            description="Addresses of the validators that the registry is deployed with "
            "([validators](validators.md)); afterwards they are changed by a quorum of themselves. None: self-attested "
            "by a key of its own; nobody else has looked at its books then.",
        ),
    ] = ()
    threshold: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_VALIDATORS,
            description="How many of the validators have to sign; not set: more than half of them.",
        ),
    ] = None
    batch_windows: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_WINDOWS,
            description="Most windows of a batch, which is signed and anchored as one.",
        ),
    ] = 96
    batch_minutes: Annotated[
        int,
        Field(
            ge=0,
            le=44_640,
            description="Minutes that a settled window waits for others to share a batch with; 0: what is settled by "
            "the next look is one batch.",
        ),
    ] = 0

    @field_validator("validators")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = tuple(sorted(address.lower() for address in value))
        if len(set(known)) != len(known):
            raise ValueError("wanted each address once")
        return known

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.threshold is not None and self.threshold > len(self.validators):
            raise ValueError(f"threshold: got {self.threshold}, wanted at most the {len(self.validators)} validators")
        return self

    @field_validator("url", "signer_url")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_http(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        accounts = {
            "keystore_file": self.keystore_file,
            "key_file": self.key_file,
            "signer_url": self.signer_url,
        }
        named = [name for name, value in accounts.items() if value is not None]
        if self.mode == "rpc" and self.url is None:
            raise ValueError("mode: got 'rpc' without url, wanted it beside it")
        if self.mode == "rpc" and len(named) != 1:
            got = " and ".join(named) or "no account"
            raise ValueError(f"mode: got 'rpc' with {got}, wanted one of {', '.join(accounts)}")
        if (self.signer_url is None) != (self.account is None):
            raise ValueError("account: got one of it and signer_url, wanted both or neither")
        return self


class Connections(Section):
    """What gRPC does with connections and messages."""

    max_message_bytes: Annotated[
        int,
        Field(
            ge=2**20,
            le=2**26,
            description="Largest message that the transport takes, bytes. What each method takes is less; what is "
            "between the two is refused with details.",
        ),
    ] = 12 * 2**20
    max_age_s: Annotated[
        float,
        Field(
            ge=10,
            le=86_400,
            description="s after which a connection is asked to come back anew, give or take a tenth, so that an "
            "expired certificate ends and a reloaded one is seen.",
        ),
    ] = 600.0
    age_grace_s: Annotated[
        float, Field(gt=0, le=3600, description="s that calls on such a connection have to end by themselves.")
    ] = 30.0
    keepalive_s: Annotated[
        float, Field(ge=10, le=3600, description="s of silence after which the service asks whether a peer is there.")
    ] = 60.0
    keepalive_timeout_s: Annotated[
        float, Field(gt=0, le=600, description="s without an answer after which the connection is dropped.")
    ] = 20.0
    min_ping_s: Annotated[
        float,
        Field(ge=1, le=600, description="s that a peer leaves between two pings of its own; else it is disconnected."),
    ] = 10.0
    ping_strikes: Annotated[
        int, Field(ge=1, le=100, description="Pings too early after which a peer is disconnected.")
    ] = 2


class Quotas(Section):
    """What one identity may use; beyond it calls are refused with RESOURCE_EXHAUSTED and when to try again."""

    calls_per_s: Annotated[
        float, Field(gt=0, le=1_000_000, description="Calls a second in the long run, streams included.")
    ] = 1000.0
    calls_burst: Annotated[float, Field(ge=1, le=1_000_000, description="Calls that may be saved up.")] = 2000.0
    bytes_per_s: Annotated[float, Field(gt=0, le=2**40, description="Bytes received a second in the long run.")] = (
        8.0 * 2**20
    )
    bytes_burst: Annotated[float, Field(ge=2**20, le=2**40, description="Bytes that may be saved up.")] = 64.0 * 2**20
    streams: Annotated[int, Field(ge=1, le=1_000_000, description="Streams that are open at the same time.")] = 64
    driver_streams: Annotated[
        int, Field(ge=1, le=1_000_000, description="The same for a driver: a gateway holds one for each device.")
    ] = 20_000
    messages_per_s: Annotated[
        float, Field(gt=0, le=1_000_000, description="Messages a second on one stream in the long run.")
    ] = 50.0
    messages_burst: Annotated[
        float, Field(ge=1, le=1_000_000, description="Messages on one stream that may be saved up.")
    ] = 500.0
    orders_per_day: Annotated[int, Field(ge=1, le=10_000_000, description="Orders kept within any 24 hours.")] = 10_000
    overrides_per_day: Annotated[
        int, Field(ge=1, le=1_000_000, description="Owners' overrides kept within any 24 hours.")
    ] = 1000


class Log(Section):
    """What the service says on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Least important level that is written.")
    ] = "info"
    format: Annotated[Literal["text", "json"], Field(description="Lines for people, or one JSON object a line.")] = (
        "text"
    )


class MetricsSection(Section):
    """Figures for Prometheus."""

    listen: Annotated[
        str | None,
        Field(
            description="HOST:PORT on this machine for plain HTTP; off where it is left out. Whoever reaches it may "
            "read it, so the host must be a loopback address."
        ),
    ] = None

    @field_validator("listen")
    @classmethod
    def _loopback(cls, value: str | None) -> str | None:
        if value is not None:
            host, _ = listen_address(value)
            if not is_loopback(host):
                raise ValueError("wanted a loopback address, such as 127.0.0.1:9464")
        return value


class Tracing(Section):
    """Spans for OpenTelemetry; needs the extra `tracing`."""

    endpoint: Annotated[
        str | None,
        Field(
            description="URL of an OTLP collector over HTTP, such as `http://127.0.0.1:4318/v1/traces`; off where it "
            "is left out."
        ),
    ] = None
    share: Annotated[float, Field(ge=0, le=1, description="Share of the calls that are traced.")] = 1.0

    @field_validator("endpoint")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None:
            check_http(value)
        return value


class ServeConfig(BaseSettings):
    """All settings of `gridpact serve`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    data: Annotated[Path, Field(description="Folder of everything that lasts; made at the first start.")]
    pki: Annotated[
        Path,
        Field(
            description="Folder with `ca.pem` (who is let in), `server.pem` and `server.key`; read again when they "
            "change."
        ),
    ]
    listen: Annotated[str, Field(description="HOST:PORT; port 0 takes any free one, and the service says which.")] = (
        "127.0.0.1:50051"
    )
    database_url: Annotated[
        SecretStr | None,
        Field(
            description="SQLAlchemy URL, such as `postgresql+psycopg://user:password@host/gridpact` (extra "
            "`postgres`); where it is left out, SQLite in the data folder. The password is never printed."
        ),
    ] = None
    development: Annotated[
        bool, Field(description="Answers gRPC reflection, so that tools work without the .proto files.")
    ] = False
    denylist: Annotated[
        Path | None,
        Field(
            description="File of who is shut out, `spiffe://GRID/ROLE/ID` or `serial:HEX` a line; read when it changes."
        ),
    ] = None
    tick_s: Annotated[
        float, Field(ge=0.05, le=60, description="s between two looks at which steps of windows are due.")
    ] = 1.0
    keep_answers_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="Days for which a repeated call gets the answer of the first; older answers are removed.",
        ),
    ] = 30
    stop_s: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            description="s that running calls and steps have to end after SIGTERM or SIGINT. What is cut off goes on "
            "at the next start.",
        ),
    ] = 10.0
    lease: Lease = Lease()
    solver: Solver = Solver()
    supervision: Supervision = Supervision()
    clamp: Clamp = Clamp()
    anchoring: Anchoring = Anchoring()
    connections: Connections = Connections()
    quotas: Quotas = Quotas()
    log: Log = Log()
    metrics: MetricsSection = MetricsSection()
    tracing: Tracing = Tracing()

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        listen_address(value)
        return value

    @property
    def database(self) -> str:
        """URL of the database, password included."""
        if self.database_url is None:
            return f"sqlite:///{self.data / 'gridpact.sqlite'}"
        return self.database_url.get_secret_value()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nobody else can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> ServeConfig:
    """The effective configuration.

    Parameters
    ----------
    path : the TOML file; None for none
    overrides : what the command line says, nested as the sections are

    Raises
    ------
    InputError
        If the file cannot be read, or a key is unknown or out of its bounds; names the key.
    """
    stated = {} if path is None else _read(path)
    _check_environment()

    class Layered(ServeConfig):
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
        return Layered(**overrides)
    except ValidationError as err:
        raise InputError("; ".join(_complaint(error) for error in err.errors(include_url=False))) from err
    except SettingsError as err:
        raise InputError(f"environment: {err}") from err


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"--config {path}: cannot be read: {err}") from err
    except tomllib.TOMLDecodeError as err:
        raise InputError(f"--config {path}: got no TOML: {err}") from err


def _check_environment() -> None:
    """Refuse variables that look like settings and are none: a typo must not pass unseen."""
    known = set(NO_SETTINGS)
    for name, field in ServeConfig.model_fields.items():
        known.add(variable(name))
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            known |= {variable(name, key) for key in field.annotation.model_fields}
    for name in sorted(os.environ):
        if name.upper().startswith(DRIVERS_PREFIX):
            continue  # of `gridpact driver`, which refuses those that it does not know
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise InputError(f"environment: unknown key {name}; docs/configuration.md lists all")


def variable(*keys: str) -> str:
    """The environment variable of a key."""
    return PREFIX + DELIMITER.join(keys).upper()


def _complaint(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if error["type"] == "missing":
        return f"{key}: got nothing, wanted it by --{key}, {variable(key)} or --config"
    said = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error" and isinstance(error["input"], Mapping | Section):
        # What several keys together break: the message names the one and repeats what it holds.
        return f"{key}.{said}"
    if key in SECRET:
        return f"{key}: {said}"
    wanted = said if said.startswith("wanted") else f"wanted {said.removeprefix('Input should be ')}"
    return f"{key}: got {str(error['input'])[:SHOWN]!r}, {wanted}"
