"""The machine-readable result of a demonstration day: what ``gridpact demo`` writes and the report shows.

Powers are whole W and positive when they flow into a device or the microgrid; energies are whole Wh; money
is micro-currency. Every series has one entry per MTU, from ``start`` on.
"""

from typing import Literal, TypedDict

DeviceKind = Literal["interruptible", "battery", "curtailable"]


class PeerEntry(TypedDict):
    """A participant.

    Attributes
    ----------
    id : resource id, such as ``load-1``
    section : feeder section that it hangs on
    profile : standard load profile that its fixed load follows
    """

    id: str
    section: str
    profile: str


class DeviceEntry(TypedDict):
    """A device that the plan drives.

    Attributes
    ----------
    id : resource id, such as ``load-1/electric-vehicle``
    peer : id of its owner
    kind : how it can be driven
    name : what people call it, such as ``electric vehicle``
    power_w : W, rated, positive
    first_mtu, end_mtu : MTUs ``[first, end)`` in which it may run; ``None`` unless interruptible
    required_mtus : MTUs that it must run for; ``None`` unless interruptible
    """

    id: str
    peer: str
    kind: DeviceKind
    name: str
    power_w: int
    first_mtu: int | None
    end_mtu: int | None
    required_mtus: int | None


class LoadSeries(TypedDict):
    """Power at the connection point, W; negative is feeding in.

    Attributes
    ----------
    before_w : every appliance runs as soon as its window opens, batteries rest
    without_limit_w : planned before the DSO tightened the envelope; ``None`` where there was no such plan
    scheduled_w : planned
    metered_w : metered
    upper_w, lower_w : the operating envelope
    """

    before_w: list[int]
    without_limit_w: list[int | None]
    scheduled_w: list[int]
    metered_w: list[int]
    upper_w: list[int]
    lower_w: list[int]


class PriceSeries(TypedDict):
    """Prices, micro-currency/kWh.

    Attributes
    ----------
    import_micro_per_kwh, export_micro_per_kwh : the tariff: what the grid takes and what it pays
    trade_mean_micro_per_kwh : energy-weighted mean of neighbour trades; ``None`` where there was none
    trade_min_micro_per_kwh, trade_max_micro_per_kwh : cheapest and dearest neighbour trade, or ``None``
    """

    import_micro_per_kwh: list[int]
    export_micro_per_kwh: list[int]
    trade_mean_micro_per_kwh: list[int | None]
    trade_min_micro_per_kwh: list[int | None]
    trade_max_micro_per_kwh: list[int | None]


class TradeTotal(TypedDict):
    """What one neighbour sold to another over the whole day.

    Attributes
    ----------
    seller, buyer : peer ids
    energy_wh : Wh, non-negative
    amount_micro : micro-currency that the buyer paid
    """

    seller: str
    buyer: str
    energy_wh: int
    amount_micro: int


class LedgerEntry(TypedDict):
    """What a peer paid on the day, by kind; negative is received.

    Attributes
    ----------
    peer : id
    trades_micro : with neighbours and the grid
    network_charges_micro : for neighbours' energy
    imbalances_micro : for what meters saw beyond or short of trades
    uplifts_micro : contributed to those who would have paid more than alone, less what it received itself
    """

    peer: str
    trades_micro: int
    network_charges_micro: int
    imbalances_micro: int
    uplifts_micro: int


class WindowEntry(TypedDict):
    """How one dispatch window ended.

    Attributes
    ----------
    window : resource name, such as ``microgrids/rural1/windows/20160120T050000Z``
    state : state of its life, ``ANCHORED`` when it is complete
    gap : certificate's relative gap to the best possible dispatch, a fraction
    trades : number of trades, those with the grid included
    """

    window: str
    state: str
    gap: float
    trades: int


class DaySummary(TypedDict):
    """The day's totals.

    Attributes
    ----------
    traded_wh : Wh that neighbours sold to each other
    neighbour_trades : number of those trades
    bill_before_micro : the baseline (``LoadSeries.before_w``) at the tariff
    bill_tariff_micro : the metered energies at the tariff alone, without neighbours
    bill_micro : what was posted
    saved_micro : what trading saved against the same metered energies at the tariff alone
    peak_before_w, peak_scheduled_w, peak_metered_w : highest power of the baseline, the plan, the meters
    envelope_binding_mtus : MTUs in which the plan touched the envelope
    evening_limit_w : upper bound after the DSO tightened it
    peak_without_limit_w : highest power of the plan made before that
    switchings : commands that turned a device on or off
    devices_driven : devices that received setpoints
    imbalance_wh : Wh, metered minus traded, in absolute values summed
    uplift_micro : received in the end by peers who would have paid more than their own best plan alone
    uplift_members : how many peers these are
    gas_per_window, gas_per_trade : measured cost of anchoring
    root : 0x-prefixed hash of the last header: what a verifier compares with
    currency : ISO 4217 code
    """

    traded_wh: int
    neighbour_trades: int
    bill_before_micro: int
    bill_tariff_micro: int
    bill_micro: int
    saved_micro: int
    peak_before_w: int
    peak_scheduled_w: int
    peak_metered_w: int
    envelope_binding_mtus: int
    evening_limit_w: int
    peak_without_limit_w: int
    switchings: int
    devices_driven: int
    imbalance_wh: int
    uplift_micro: int
    uplift_members: int
    gas_per_window: int
    gas_per_trade: float
    root: str
    currency: str


class Check(TypedDict):
    """One promise, recomputed at the end of the day.

    Attributes
    ----------
    name : what was promised
    passed : whether it held
    detail : the numbers behind it
    """

    name: str
    passed: bool
    detail: str


class DayResult(TypedDict):
    """A demonstration day.

    Attributes
    ----------
    format : ``gridpact.day.v1``
    grid : name of the grid
    day : ISO date on which it starts
    time_zone : IANA name, in which tariffs and appliance windows are meant
    mtu_minutes : length of an MTU
    start : Unix seconds of the first MTU
    mtus : number of MTUs: 92, 96 or 100 quarter-hours
    peers, devices : who takes part, and what of theirs is driven
    load, prices : series of the microgrid
    schedule, acted : W per MTU by device id: what was planned, what the device did
    trades : neighbour trades, summed over the day
    ledger : what each peer paid
    windows : dispatch windows in order
    summary : totals
    checks : promises and whether they held
    """

    format: str
    grid: str
    day: str
    time_zone: str
    mtu_minutes: int
    start: int
    mtus: int
    peers: list[PeerEntry]
    devices: list[DeviceEntry]
    load: LoadSeries
    schedule: dict[str, list[int]]
    acted: dict[str, list[int]]
    prices: PriceSeries
    trades: list[TradeTotal]
    ledger: list[LedgerEntry]
    windows: list[WindowEntry]
    summary: DaySummary
    checks: list[Check]
