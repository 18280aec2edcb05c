"""The price book: three layers of dated rows, looked up by name, tier and time."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pricing.errors import PriceBookError, UnknownModelError, UsageError
from pricing.fills import Fill, filled
from pricing.names import candidates, free_variant, has_no_price, is_bedrock_path, is_host, is_reseller
from pricing.overlay import known_regions, overlay
from pricing.plan import Plan, make_plan
from pricing.rates import Rates, add_units, sum_exactly
from pricing.results import NO_PARTS, Cost, Explanation
from pricing.rows import DEFAULT_TIER, PriceRow, parse_price_row, refuse_ambiguous_rows
from pricing.second import SecondCatalogue, completed, same_name
from pricing.tiers import tier_rows
from pricing.uplift import uplifted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pricing.catalogue import Catalogue
    from pricing.second import SecondEntry
    from pricing.usage import TokenUsage

DEFAULT_PROVIDER: Final = "openai"
# "auto" is what was asked for, not what was served; OpenAI renamed priority processing to fast at the same prices.
_TIER_ALIASES: Final = {
    "": DEFAULT_TIER,
    "auto": DEFAULT_TIER,
    "standard": DEFAULT_TIER,
    "on_demand": DEFAULT_TIER,
    "fast": "priority",
}
# Model names come from requests, so a client could send any number of them. Real traffic has dozens.
_MAX_PLANS: Final = 4096
# Of the others, Anthropic has a fast mode that is no other name of anything.
_RENAMES_TIERS: Final = frozenset({"openai", "azure"})
# Vertex has prices of its own beside those of Google's developer API, under whichever of its names.
_OTHER_NAMES: Final = {"gcp.vertex_ai": "vertex_ai", "vertexai": "vertex_ai", "google-vertex": "vertex_ai"}


class PriceBook:
    """Dated prices in three layers: genai-prices, corrected by ours, corrected by the customer's.

    A book never changes, so that it is safe to share between threads; `with_rows` and its sisters return a new one.

    Args:
        rows: The customer's rows (`PriceRow`, or mappings as `parse_price_row` takes them).
        deployments: Names of the customer's own (Azure deployments, gateway routes) to model names: "my-gpt" or
            "azure/my-gpt" to "gpt-4o" or "azure/gpt-4o".
        providers: Hosts or other names of the customer's own to providers: "llm-gw.example.com" to "openai".
        region: Region ("eu", "us") whose data-residency uplift applies to the models that have one.
        catalogue: Base layer, default genai-prices' active snapshot.

    Raises:
        PriceBookError: A row, a deployment or the region is wrong.
    """

    def __init__(
        self,
        rows: Iterable[PriceRow | Mapping[str, object]] = (),
        *,
        deployments: Mapping[str, str] | None = None,
        providers: Mapping[str, str] | None = None,
        region: str | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        if catalogue is None:
            from pricing.catalogue import Catalogue  # genai-prices takes half a second to import

            catalogue = Catalogue()
        self._catalogue = catalogue
        self._customer_rows = tuple(row if isinstance(row, PriceRow) else parse_price_row(row) for row in rows)
        self._deployments = {_clean(name): _clean(model) for name, model in (deployments or {}).items()}
        if not all(self._deployments) or not all(self._deployments.values()):
            raise PriceBookError("a deployment and its model both need a name")
        self._providers = {_clean(name): _clean(provider) for name, provider in (providers or {}).items()}
        self._region = region
        own_rows = overlay().rows
        if region is not None and region not in known_regions():
            raise PriceBookError(f"region {region!r} has no uplift; known are {sorted(known_regions())}")
        self._second = SecondCatalogue.default()
        refuse_ambiguous_rows((*self._customer_rows, *own_rows))
        self._rows: defaultdict[tuple[str, str], list[PriceRow]] = defaultdict(list)
        for row in (*self._customer_rows, *own_rows):
            for model in row.models:
                self._rows[row.provider, model].append(row)
        self._row_providers = {provider for provider, _ in self._rows}
        self._plans: dict[tuple[str, str, str | None], Plan] = {}
        self._unknown: set[tuple[str, str, str | None]] = set()

    @staticmethod
    def default() -> PriceBook:
        """Return the shared book without customer rows; loaded once per process."""
        return _default_book()

    def with_rows(self, rows: Iterable[PriceRow | Mapping[str, object]]) -> PriceBook:
        """Return a book that has these customer rows too."""
        return self._with(rows=(*self._customer_rows, *rows))

    def with_catalogue(self, catalogue: Catalogue) -> PriceBook:
        """Return a book over another base layer."""
        return self._with(catalogue=catalogue)

    def with_deployments(self, deployments: Mapping[str, str]) -> PriceBook:
        """Return a book that knows these names of the customer's own too."""
        return self._with(deployments={**self._deployments, **deployments})

    def _with(
        self,
        rows: Iterable[PriceRow | Mapping[str, object]] | None = None,
        deployments: Mapping[str, str] | None = None,
        catalogue: Catalogue | None = None,
    ) -> PriceBook:
        return PriceBook(
            self._customer_rows if rows is None else rows,
            deployments=self._deployments if deployments is None else deployments,
            providers=self._providers,
            region=self._region,
            catalogue=catalogue or self._catalogue,
        )

    def price(
        self,
        model: str,
        usage: TokenUsage,
        *,
        provider: str = DEFAULT_PROVIDER,
        service_tier: str | None = None,
        duration_ms: Decimal | float | None = None,
        at: datetime | None = None,
    ) -> Cost:
        """Price one request.

        Args:
            model: Model that answered, as for `calculate_cost`.
            usage: What it used.
            provider: Provider that billed it.
            service_tier: Tier that was served; None is the default one.
            duration_ms: How long the request took, for models that are paid by the hour; None is unknown.
            at: Instant of the request (aware); None is now.

        Raises:
            UnknownModelError: No layer of the book knows the model.
            UsageError: The duration is negative, or `at` has no time zone.
        """
        plan = self._plans.get((provider, model, service_tier))
        if plan is None:
            plan = self._remember(provider, model, service_tier)
        if at is not None and at.tzinfo is None:
            raise UsageError("`at` needs a time zone")
        compiled = plan.always
        if compiled is None:
            compiled = next(plan.in_force(at), None)
            if compiled is None:
                return Cost(None, NO_PARTS, None, "unpriced", ("row",))
        band = compiled.bands[compiled.band_index(usage.prompt_tokens)]
        total, parts, unknown = band.charge(usage, duration_ms)
        if unknown:
            return Cost(None, NO_PARTS, compiled.price_id, "unpriced", unknown, parts)
        seen = MappingProxyType(parts)
        return Cost(total, seen, compiled.price_id, "priced", (), seen)

    def price_units(
        self, model: str, units: Mapping[str, int | Decimal], *, provider: str, at: datetime | None = None
    ) -> Cost:
        """Price what a request used by other units than tokens, where no row prices the request itself.

        Returns:
            The cost of the units; `total` is None where one of them has no price, and `unknown` names those.
        """
        tier, instant = DEFAULT_TIER, datetime.now(UTC) if at is None else at
        readings = list(self._readings(provider, model))
        owners, names = {owner for owner, _, _ in readings}, {name for _, name, _ in readings}
        fills = [fill for fill in self._fills(owners, names, tier) if fill.applies_on(instant)]
        parts: dict[str, Decimal] = {}
        (band,) = filled((Rates(),), fills)
        unknown = add_units(units, band.units, parts)
        if unknown:
            return Cost(None, NO_PARTS, None, "unpriced", unknown, parts)
        return Cost(sum_exactly(parts.values()), parts, None, "priced", (), parts)

    def explain(
        self,
        model: str,
        *,
        provider: str = DEFAULT_PROVIDER,
        service_tier: str | None = None,
        at: datetime | None = None,
        input_tokens: int = 0,
    ) -> Explanation:
        """Say which row prices a model at a time (None is now), and why.

        Raises:
            UnknownModelError: No layer knows the model.
            UsageError: `at` has no time zone.
        """
        if at is not None and at.tzinfo is None:
            raise UsageError("`at` needs a time zone")
        plan = self._plan(provider, model, service_tier)
        in_force = list(plan.in_force(at))
        if not in_force:
            steps = (*plan.steps, f"no row for service tier {plan.service_tier!r} is in force at that time")
            return Explanation(plan.provider, plan.model, plan.service_tier, None, None, steps)
        chosen, *others = in_force
        band = chosen.rates[chosen.band_index(input_tokens)]
        steps = (*plan.steps, f"row of layer {chosen.row.layer!r} is in force")
        if band.above_tokens:
            steps += (f"input above {band.above_tokens} tokens: long-context figures",)
        passed_over = tuple(other.price_id for other in others)
        return Explanation(plan.provider, plan.model, plan.service_tier, chosen.row, band, steps, passed_over)

    def rows(self, model: str, *, provider: str = DEFAULT_PROVIDER, service_tier: str | None = None) -> list[PriceRow]:
        """Return every row that prices a model on a tier at some time, oldest first, each once.

        Raises:
            UnknownModelError: No layer knows the model.
        """
        plan = self._plan(provider, model, service_tier)
        return list({compiled.price_id: compiled.row for span in plan.spans for compiled in span}.values())

    def figures(self, model: str, *, provider: str = DEFAULT_PROVIDER, service_tier: str | None = None) -> list[object]:
        """Return all that prices a model on a tier: instants, rows and their figures, fees of tools included.

        Two books that return the same charge the same.

        Raises:
            UnknownModelError: No layer knows the model.
        """
        plan = self._plan(provider, model, service_tier)
        spans = [[(compiled.row, compiled.rates) for compiled in span] for span in plan.spans]
        return [plan.starts, spans]

    def models(self, provider: str = DEFAULT_PROVIDER) -> list[str]:
        """Return the names of the models that the book prices for a provider, sorted."""
        own = {model for name, model in self._rows if name == provider}
        return sorted(own | set(self._catalogue.models(provider)))

    def _remember(self, provider: str, model: str, service_tier: str | None) -> Plan:
        key = (provider, model, service_tier)
        if key in self._unknown:
            raise UnknownModelError(provider, model)
        if len(self._plans) + len(self._unknown) >= _MAX_PLANS:
            self._plans.clear()
            self._unknown.clear()
        try:
            plan = self._plans[key] = self._plan(provider, model, service_tier)
        except UnknownModelError:
            self._unknown.add(key)
            raise
        return plan

    def _plan(self, provider: str, model: str, service_tier: str | None) -> Plan:
        asked = self._asked(provider)
        tier, _, region = _clean(service_tier or "").partition("+")
        if asked in _RENAMES_TIERS or tier != "fast":
            tier = _TIER_ALIASES.get(tier, tier)
        places = {self._region, region, f"+{region}"}
        uplifts = [uplift for uplift in overlay().uplifts if uplift.regions & places]
        readings = list(self._readings(provider, model))
        free = free_variant(asked, _clean(model), [self._seller(owner) for owner, _, _ in readings])
        if free is not None and not any(reading[:2] in self._rows for reading in readings):
            return make_plan(free[0], _clean(model), tier, ("its name says that it is free",), [_free_row(*free)])
        # The catalogue takes a fine-tune by how its name begins; a row of another layer that names it goes first.
        named = [reading for reading in readings if reading[1].startswith("ft:") and reading[:2] in self._rows]
        for owner, name, steps in (*named, *sorted(readings, key=self._is_read_last)):
            keys, found = self._keys(owner, name)
            entry = self._second.find(owner, self._seller(owner), name)
            if has_no_price(self._seller(owner), name):
                found = entry = None
            known = found is not None or entry is not None or any(key in self._rows for key in keys)
            if known or self._pattern_rows(keys[0]):
                sellers = (owner, self._seller(owner))
                rows = self._candidates(sellers, keys, found, entry, tier)
                if tier != DEFAULT_TIER and all(row.valid_from is not None for row in rows):
                    standard = self._candidates(sellers, keys, found, entry, DEFAULT_TIER)
                    names = [model for _, model in keys]
                    rows += tier_rows(overlay().tiers, keys[0][0], names, tier, standard, until=_first_start(rows))
                rows = [uplifted(row, uplifts) for row in rows]
                fills = self._fills(sellers, {name, *(model for _, model in keys)}, tier)
                return make_plan(*(found or keys[0]), tier, steps, rows, fills, sellers=sellers)
        raise UnknownModelError(provider, model)

    def _is_read_last(self, reading: tuple[str, str, tuple[str, ...]]) -> bool:
        owner, name, _ = reading
        seller = self._seller(owner)
        listed = {(owner, name), (seller, name)} & self._rows.keys() or self._second.find(owner, seller, name)
        return is_bedrock_path(seller, name) and not listed

    def _seller(self, provider: str) -> str:
        return self._catalogue.provider_id(provider) or provider

    def _asked(self, provider: str) -> str:
        name = _clean(provider)
        return self._providers.get(name, _OTHER_NAMES.get(name, name))

    def _readings(self, provider: str, model: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield (provider, model, steps) for each way to read a name, the most exact first."""
        asked, name = self._asked(provider), _clean(model)
        steps: tuple[str, ...] = ()
        mapped = self._deployments.get(f"{asked}/{name}") or self._deployments.get(name)
        if mapped is not None:
            steps = (f"deployment {name!r} is mapped to {mapped!r}",)
            name = mapped
        # The default provider says nothing, and a gateway unknown to the book sells under the makers' names.
        said = asked != DEFAULT_PROVIDER and self._is_provider(asked) and not is_host(asked)
        said = said or is_reseller(asked)
        for owner, reading, how in candidates(asked, name, is_provider=self._is_provider, said=said):
            yield owner, reading, (*steps, how) if how else steps

    def _is_provider(self, name: str) -> bool:
        return name in self._row_providers or self._catalogue.provider_id(name) is not None

    def _keys(self, provider: str, model: str) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
        """Return the (provider, model) pairs whose rows apply, and the catalogue's own pair."""
        seller = self._seller(provider)
        found = self._catalogue.find(provider, model)
        keys = [(seller, model), (provider, model)]
        if model.startswith("ft:") and (seller, model) in self._rows:
            found = None  # our row names the fine-tune exactly, the catalogue's only by how its name begins
        if found is not None:
            keys += [(seller, found[1].lower()), (found[0], model), (found[0], found[1].lower())]
        return list(dict.fromkeys(keys)), found

    def _fills(self, owners: Iterable[str], names: Iterable[str], tier: str) -> list[Fill]:
        owners = {name for owner in owners for name in (owner, self._seller(owner))}
        return [fill for fill in overlay().fills if fill.covers(owners, names, tier)]

    def _candidates(
        self,
        sellers: Sequence[str],
        keys: Sequence[tuple[str, str]],
        found: tuple[str, str] | None,
        entry: SecondEntry | None,
        tier: str,
    ) -> list[PriceRow]:
        seller, model = keys[0]

        # Azure sells OpenAI's models at OpenAI's list prices, but its batch and priority discounts are its own.
        def shared(owner: str) -> bool:
            return owner in sellers or tier == DEFAULT_TIER

        rows = [row for row in self._named_rows(keys) if row.service_tier in (tier, None) and shared(row.provider)]
        base: list[PriceRow] = []
        if found is not None and shared(found[0]):
            base = self._catalogue.rows(*found, tier)
        is_exact = found is not None and found[0] == seller and same_name(found[1], model)
        if entry is not None and entry.wins(is_exact=is_exact):
            rows = [row for row in rows if row.layer == "customer" or row.names(seller, model)]
        rows += completed(base, entry, tier, is_exact=is_exact)
        if not rows and tier == DEFAULT_TIER:
            rows = self._pattern_rows(keys[0])
        return list({id(row): row for row in rows}.values())

    def _named_rows(self, keys: Sequence[tuple[str, str]]) -> list[PriceRow]:
        """Return the rows of the name that was asked for, else of the name the catalogue has for it."""
        model = keys[0][1]
        rows = [row for key in keys for row in self._rows.get(key, ())]
        exact = any(row.layer != "customer" and model in row.models for row in rows)
        return [row for row in rows if row.layer == "customer" or model in row.models or not exact]

    @staticmethod
    def _pattern_rows(key: tuple[str, str]) -> list[PriceRow]:
        provider, model = key
        return [
            row
            for row in overlay().patterns
            if row.provider == provider and any(fnmatchcase(model, pattern) for pattern in row.models)
        ]


@cache
def _default_book() -> PriceBook:
    return PriceBook()


@cache
def _free_row(seller: str, ending: str) -> PriceRow:
    rates = Rates(input=Decimal(0), output=Decimal(0))
    return PriceRow("treering", seller, (f"*{ending}",), (rates,), service_tier=None)


def _first_start(rows: Iterable[PriceRow]) -> datetime | None:
    return min((row.valid_from for row in rows if row.valid_from is not None), default=None)


def _clean(name: str) -> str:
    return name.strip().lower()
