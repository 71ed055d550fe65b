"""A portfolio folder as frozen values, or every fault of all its files at once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vpp.domain.envelope import ReceivedLimits
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.forecast import Series
from vpp.domain.market import Event
from vpp.domain.portfolio import (
    AssetState,
    CongestionPoint,
    MeteringPoint,
    Outage,
    Portfolio,
    Site,
    TradingUnit,
)
from vpp.domain.stage import Stage, check_cascade
from vpp.domain.time import utc
from vpp.service import contract_files
from vpp.service import portfolio_files as files
from vpp.service.asset_checks import CONFIG, Known, build_asset, device_profiles, fleet_faults, shared_meters
from vpp.service.layered_files import read_layered
from vpp.service.limit_files import read_limits
from vpp.service.market_config import MarketConfig
from vpp.service.references import References, references_of
from vpp.service.rule_files import load_rules
from vpp.service.series import load_series
from vpp.service.stage_checks import stage_faults
from vpp.service.yaml_files import items, raw_ids, validated

if TYPE_CHECKING:
    from dispatch.product import Contract
    from dispatch.rules import RuleFile
    from grid_models.spec import NetworkSpec

FILES = ("portfolio", "market", "stages", "network", "limits", "events")
OPTIONAL = ("network", "limits", "events")
LISTS = ("series", "sites", "metering_points", "assets", "trading_units", "congestion_points")


@dataclass(frozen=True)
class EventPlan:
    """A call, and what the sites of the virtual world answer to it."""

    event: Event
    answers: tuple[files.AnswerFile, ...]
    fills_gap: tuple[str, ...]


@dataclass(frozen=True)
class LoadedPortfolio:
    """A portfolio with everything its folder states.

    `network` is the specification of the network model, its file as a path (None: no model is given);
    `series` are the portfolio's own; `devices` names each asset's device profile; `issue` is the local time of D-1 at
    which the day-ahead run of day D starts; `digest` is the SHA-256 of all files; `contracts` are those of
    market.yaml with the assets they bind, `rules` the operator's contract rules; `received` are the issuers of limits
    with their places and defaults, and the envelopes of limits.yaml.
    """

    directory: Path
    portfolio: Portfolio
    network: NetworkSpec | None
    market: MarketConfig
    stages: tuple[Stage, ...]
    release: Literal["auto", "manual"]
    issue: time
    events: tuple[EventPlan, ...]
    initial: Mapping[str, files.InitialFile]
    devices: Mapping[str, str]
    series: Mapping[str, Series]
    location: files.Location
    response: files.Response
    digest: str
    contracts: tuple[Contract, ...] = ()
    rules: RuleFile | None = None
    received: ReceivedLimits = field(default_factory=ReceivedLimits)

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises KeyError."""
        return {s.name: s for s in self.stages}[name]

    def states(self, at: datetime) -> dict[str, AssetState]:
        """The stated initial state of every asset, as of `at`."""
        return {
            asset: AssetState(asset, utc(at), utc(at), s.power_mw, s.stored_mwh, s.on, s.minutes_in_state)
            for asset, s in self.initial.items()
        }


@dataclass(frozen=True)
class Reading:
    """A folder as far as it could be read; `loaded` is None where there are faults.

    `given` says that there is a network.yaml, `network` is None also where its model is faulty.
    """

    loaded: LoadedPortfolio | None
    faults: tuple[Fault, ...]
    given: bool
    network: NetworkSpec | None
    outages: tuple[Outage, ...]
    references: References


def load_portfolio(directory: Path) -> LoadedPortfolio:
    """What the folder states, not held against its network. Raises InputFaults with every fault of all files."""
    read = read_portfolio(directory)
    if read.loaded is None:
        raise InputFaults(read.faults)
    return read.loaded


def read_portfolio(directory: Path, config: Path = CONFIG) -> Reading:
    """Read portfolio.yaml, market.yaml, stages.yaml and, where given, network, limits and events.yaml and rules.py.

    `config` holds the device profiles. Raises InputFaults where there is no folder.
    """
    faults: list[Fault] = []
    if not directory.is_dir():
        raise InputFaults([Fault(str(directory), "", "is no folder")])
    bases: list[Path] = []
    found = {name: read_layered(directory / f"{name}.yaml", faults, name in OPTIONAL, bases) for name in FILES}
    raw = {name: mapping or {} for name, mapping in found.items()}
    read = frozenset(name for name, mapping in found.items() if mapping is not None)
    own = {key: value for key, value in raw["portfolio"].items() if key not in LISTS}
    header = validated(files.Header, own, "portfolio.yaml", faults) if "portfolio" in read else None
    own_market = {key: value for key, value in raw["market"].items() if key not in contract_files.SECTIONS}
    market = validated(MarketConfig, own_market, "market.yaml", faults) if "market" in read else None
    lists = raw["portfolio"] if "portfolio" in read else None
    defined = contract_files.definitions(raw["market"], lists, faults)
    stages_file = validated(files.StagesFile, raw["stages"], "stages.yaml", faults) if "stages" in read else None
    stages = _stages(stages_file, faults) if stages_file else ()
    series = _series(directory, raw["portfolio"], faults)
    outages, network = _network(directory, raw["network"], faults) if "network" in read else ((), None)
    portfolio, initial, devices = _portfolio(header, raw["portfolio"], outages, config, faults)
    faults += contract_files.provider_faults(defined, portfolio.assets if portfolio else ())
    faults += _missing_lists(lists) if lists is not None else []
    events = _events(raw["events"], lists, faults)
    faults += _misfits(header, market, stages_file)
    received = read_limits(raw["limits"], lists, portfolio, [terms.id for _, terms in defined], faults)
    contracts = _contracts(defined, portfolio) if portfolio and not faults else ()
    faults += contract_files.overlaps(contracts)
    rules = load_rules(directory, portfolio if not faults else None, stages, initial, faults)
    loaded = None
    if not faults and header and market and stages_file and portfolio:
        loaded = LoadedPortfolio(
            directory, portfolio, network, market, stages, stages_file.release, stages_file.issue, events, initial,
            devices, series, header.location, header.response, _digest(directory, bases), contracts,
            rules, received,
        )  # fmt: skip
    given = (directory / "network.yaml").exists()
    return Reading(loaded, tuple(dict.fromkeys(faults)), given, network, outages, references_of(raw["portfolio"]))


def _contracts(defined: Sequence[tuple[str, Any]], portfolio: Portfolio) -> tuple[Contract, ...]:
    from dispatch.product import Contract

    units = {u.id: u.sites for u in portfolio.trading_units}
    return tuple(
        Contract(product, terms, contract_files.bound_assets(product, terms, portfolio.assets, units))
        for product, terms in defined
    )


def _missing_lists(raw: Mapping[str, Any]) -> list[Fault]:
    """A portfolio without assets has nothing to do, one without trading units sells nothing it plans."""
    return [
        Fault("portfolio.yaml", name, "is empty" if raw.get(name) == [] else "is missing")
        for name in ("assets", "trading_units")
        if not raw.get(name)
    ]


def _misfits(
    header: files.Header | None, market: MarketConfig | None, stages: files.StagesFile | None
) -> Iterator[Fault]:
    """Where market.yaml says otherwise than the other files, or of kinds that there are not."""
    from dispatch.registry import KINDS

    if header and market and header.currency != market.currency:
        yield Fault("market.yaml", "currency", f"{market.currency} is not the portfolio's {header.currency}")
    if market and stages and market.energy.issue != stages.issue:
        other = f"{market.energy.issue:%H:%M} is not the {stages.issue:%H:%M} of stages.yaml, when the bid is made"
        yield Fault("market.yaml", "energy.issue", other)
    for kind in market.stored_energy_eur_per_mwh if market else ():
        if kind not in KINDS:
            close = get_close_matches(kind, list(KINDS), n=1)
            told = f"unknown kind {kind}" + (f"; did you mean {close[0]}?" if close else "")
            yield Fault("market.yaml", "stored_energy_eur_per_mwh", told)


def _digest(directory: Path, bases: Sequence[Path]) -> str:
    """SHA-256 over names and contents of all files of the folder, and contents of the files that they build on."""
    total = hashlib.sha256()
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(directory)).encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for path in bases:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _stages(given: files.StagesFile, faults: list[Fault]) -> tuple[Stage, ...]:
    stages = tuple(
        Stage(name, s.step, s.horizon, s.every, s.commits, s.deadline, s.tail_step) for name, s in given.named()
    )
    try:
        check_cascade(stages)
    except InputFaults as error:
        faults += error.faults
    faults += stage_faults(given)
    return stages


def _series(directory: Path, raw: Mapping[str, Any], faults: list[Fault]) -> dict[str, Series]:
    loaded = {}
    for spec in items(files.SeriesFile, raw.get("series"), "series", "portfolio.yaml", faults):
        try:
            loaded[spec.id] = load_series(spec, directory / spec.file)
        except InputFaults as error:
            faults += error.faults
    return loaded


def _network(
    directory: Path, raw: Mapping[str, Any], faults: list[Fault]
) -> tuple[tuple[Outage, ...], NetworkSpec | None]:
    from grid_models.spec import NetworkSpec

    faults += [Fault("network.yaml", key, "unknown field") for key in raw.keys() - {"model", "outages"}]
    outages = items(files.OutageFile, raw.get("outages"), "outages", "network.yaml", faults)
    model = None
    if raw.get("model") is not None:
        model = validated(NetworkSpec, raw["model"], "network.yaml", faults)
    else:
        faults.append(Fault("network.yaml", "model", "is missing"))
    if model is not None and model.file is not None:
        model = model.model_copy(update={"file": str(directory / model.file)})
    return tuple(Outage(o.id, utc(o.start), utc(o.end), o.lines_out, o.switches) for o in outages), model


def _portfolio(
    header: files.Header | None, raw: Mapping[str, Any], outages: tuple[Outage, ...], config: Path,
    faults: list[Fault],
) -> tuple[Portfolio | None, dict[str, files.InitialFile], dict[str, str]]:  # fmt: skip
    from dispatch.registry import KINDS

    def read(model: Any, section: str) -> list[Any]:
        return items(model, raw.get(section), section, "portfolio.yaml", faults)

    site_ids = frozenset(raw_ids(raw.get("sites")))
    meters = read(files.MeteringPointFile, "metering_points")
    faults += [Fault(m.id, "site", f"unknown site {m.site}") for m in meters if m.site not in site_ids]
    known = Known(site_ids, {m.id: m.site for m in meters}, *device_profiles(config, faults))
    sites = read(files.SiteFile, "sites")
    given = read(files.AssetFile, "assets")
    built = [made for e in given if (made := build_asset(e, KINDS, known, faults)) is not None]
    entries = {entry.id: entry for entry in given}
    assets = list({asset.id: asset for asset in built}.values())
    faults += fleet_faults(assets, KINDS, {i: e.initial.stored_mwh for i, e in entries.items()})
    faults += shared_meters(assets)
    units = read(files.TradingUnitFile, "trading_units")
    faults += [Fault(u.id, "sites", f"unknown site {s}") for u in units for s in u.sites if s not in site_ids]
    if units and len(units) == len(raw["trading_units"]):
        faults += _unit_faults(site_ids, units)
    points = read(files.CongestionPointFile, "congestion_points")
    if header is None:
        return None, {}, {}
    portfolio = Portfolio(
        header.id, header.name, header.zone, header.currency,
        tuple(Site(s.id, s.name, s.show_single) for s in sites),
        tuple(MeteringPoint(m.id, m.site) for m in meters),
        tuple(assets),
        tuple(TradingUnit(u.id, u.node, u.sites) for u in units),
        tuple(CongestionPoint(p.id, p.name, p.buses, p.element) for p in points),
        outages,
        header.country,
    )  # fmt: skip
    initial = {i: e.initial for i, e in entries.items()}
    devices = {i: e.device or known.spoken.get(e.kind, "") for i, e in entries.items()}
    return portfolio, initial, devices


def _unit_faults(sites: Collection[str], units: Sequence[files.TradingUnitFile]) -> list[Fault]:
    """Faults of sites in no trading unit or in several: their energy would be sold never or twice."""
    listed = [site for unit in units for site in unit.sites]
    return [
        Fault(site, "trading_units", f"the site is listed {listed.count(site)} times, must be once")
        for site in sorted(sites)
        if listed.count(site) != 1
    ]


def _events(
    raw: Mapping[str, Any], portfolio: Mapping[str, Any] | None, faults: list[Fault]
) -> tuple[EventPlan, ...]:
    """The calls of events.yaml; what they name is looked up where the portfolio could be read."""
    faults += [Fault("events.yaml", key, "unknown field") for key in raw.keys() - {"events"}]
    given = items(files.EventFile, raw.get("events"), "events", "events.yaml", faults)
    plans = []
    for e in given:
        faults += _event_references(e, portfolio) if portfolio is not None else ()
        event = Event(
            e.id, e.version, e.programme, e.congestion_point, utc(e.called_at), utc(e.start), utc(e.end), e.mw,
            e.price_eur_per_mwh, e.penalty_eur_per_mwh, utc(e.accept_by), test=e.test,
        )  # fmt: skip
        plans.append(EventPlan(event, e.answers, e.fills_gap))
    return tuple(plans)


def _event_references(e: files.EventFile, portfolio: Mapping[str, Any]) -> Iterator[Fault]:
    points, sites, assets = (raw_ids(portfolio.get(name)) for name in ("congestion_points", "sites", "assets"))
    if e.congestion_point not in points:
        yield Fault(e.id, "congestion_point", f"unknown congestion point {e.congestion_point}")
    yield from (Fault(e.id, "answers", f"unknown site {a.site}") for a in e.answers if a.site not in sites)
    yield from (Fault(e.id, "fills_gap", f"unknown asset {a}") for a in e.fills_gap if a not in assets)
