-- Purpose: the customer's own prices: long-context bands, prices by the hour, and the functions that append and read them.
-- Locks: ACCESS EXCLUSIVE on model_prices, for a moment.

alter table observability.model_prices
add column per_hour numeric,
add column long_context jsonb,
add constraint "a price by the hour is from 0 to a million dollars" check (per_hour >= 0 and per_hour < 1e6),
add constraint "long-context bands are a list" check (jsonb_typeof(long_context) = 'array'),
add constraint "a price names provider, model and tier in lower case" check (
  provider = lower(btrim(provider)) and model = lower(btrim(model)) and service_tier = lower(btrim(service_tier))
),
add constraint "a price has a rate for tokens, requests or hours" check (
  num_nonnulls(
    input_per_mtok, output_per_mtok, audio_input_per_mtok, audio_output_per_mtok, request_fee, per_hour
  ) > 0
),
drop constraint "a price has at least one rate";

comment on column observability.model_prices.service_tier is 'Tier as served; null prices every tier.';

comment on column observability.model_prices.per_hour is 'US dollars per hour that a request takes.';

comment on column observability.model_prices.long_context is 'Bands [{above, input, …}]: rates of the whole request when its input exceeds so many tokens.';

-- A mistake is corrected by a row with the same start: of two, the one appended last counts.
drop index observability.model_prices_start_idx;

create index model_prices_start_idx on observability.model_prices (provider, model, service_tier, valid_from);

drop policy "ops append prices" on observability.model_prices;

create policy "ops append prices in their own name" on observability.model_prices
for insert to authenticated
with check ((select observability_internal.is_ops()) and created_by = ((select auth.jwt()) ->> 'sub'));

create function observability_internal.price_rates(price observability.model_prices) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'input', price.input_per_mtok::text, 'cached_input', price.cached_input_per_mtok::text,
    'cache_write', price.cache_write_per_mtok::text, 'output', price.output_per_mtok::text,
    'reasoning', price.reasoning_per_mtok::text, 'audio_input', price.audio_input_per_mtok::text,
    'audio_output', price.audio_output_per_mtok::text, 'request_fee', price.request_fee::text,
    'per_hour', price.per_hour::text
  ));
$$;

comment on function observability_internal.price_rates(observability.model_prices) is 'The rates of a price by name, as exact text.';

create function observability_internal.check_rates(rates jsonb, names text[]) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_rate record;
begin
  if rates is null or jsonb_typeof(rates) <> 'object' then
    raise exception 'rates must be a JSON object' using errcode = '22023';
  end if;
  for v_rate in select r.key, r.value from jsonb_each(rates) as r loop
    if not v_rate.key = any (names) then
      raise exception 'unknown rate %', left(v_rate.key, 100) using errcode = '22023';
    end if;
    -- Text, because a JSON number may have passed through binary floats on its way.
    if jsonb_typeof(v_rate.value) <> 'string' or (v_rate.value #>> '{}') !~ '^[0-9]{1,6}(\.[0-9]{1,18})?$' then
      raise exception 'the rate % must be a decimal as text', v_rate.key using errcode = '22023';
    end if;
  end loop;
end;
$$;

comment on function observability_internal.check_rates(jsonb, text[]) is 'Refuses (22023) rates with other names, or whose values are not decimals as text.';

create function observability_internal.check_price(price jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_names constant text[] := array[
    'input', 'cached_input', 'cache_write', 'output', 'reasoning', 'audio_input', 'audio_output', 'request_fee'
  ];
  v_unknown text;
  v_band jsonb;
  v_above bigint := 0;
begin
  if price is null or jsonb_typeof(price) <> 'object' then
    raise exception 'a price must be a JSON object' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(price) as k (key)
  where k.key <> all (array[
    'provider', 'model', 'service_tier', 'valid_from', 'valid_to', 'rates', 'long_context', 'source', 'note'
  ])
  limit 1;
  if v_unknown is not null then
    raise exception 'unknown key %', left(v_unknown, 100) using errcode = '22023';
  end if;
  perform observability_internal.check_rates(price -> 'rates', v_names || 'per_hour'::text);
  if jsonb_typeof(coalesce(price -> 'long_context', '[]')) not in ('array', 'null') then
    raise exception 'long_context must be a list' using errcode = '22023';
  end if;
  for v_band in select b.value from jsonb_array_elements(nullif(price -> 'long_context', 'null')) as b loop
    if jsonb_typeof(v_band -> 'above') is distinct from 'number' or (v_band ->> 'above') !~ '^[0-9]{1,12}$'
      or (v_band ->> 'above')::bigint <= v_above then
      raise exception 'each long_context band needs a rising whole number "above"' using errcode = '22023';
    end if;
    v_above := (v_band ->> 'above')::bigint;
    perform observability_internal.check_rates(v_band - 'above', v_names);
    if v_band - 'above' = '{}' then
      raise exception 'each long_context band needs a rate' using errcode = '22023';
    end if;
  end loop;
end;
$$;

comment on function observability_internal.check_price(jsonb) is 'Refuses (22023) a price document that add_price does not take.';

create function observability_internal.describe_price(price observability.model_prices) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'price_id', price.price_id, 'provider', price.provider, 'model', price.model, 'service_tier', price.service_tier,
    'valid_from', price.valid_from, 'valid_to', price.valid_to, 'rates', observability_internal.price_rates(price),
    'long_context', price.long_context, 'source', price.source, 'note', price.note, 'created_at', price.created_at,
    'created_by', price.created_by,
    'is_superseded', exists (
      select from observability.model_prices as later
      where later.provider = price.provider and later.model = price.model
        and later.service_tier is not distinct from price.service_tier and later.valid_from = price.valid_from
        and later.price_id > price.price_id
    )
  );
$$;

comment on function observability_internal.describe_price(observability.model_prices) is 'A price as JSON, rates as exact text; is_superseded when a later one has the same start.';

create function observability.add_price(price jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_price observability.model_prices;
  v_rates constant jsonb := add_price.price -> 'rates';
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_price(add_price.price);
  insert into observability.model_prices as p (
    provider, model, service_tier, valid_from, valid_to, input_per_mtok, cached_input_per_mtok, cache_write_per_mtok,
    output_per_mtok, reasoning_per_mtok, audio_input_per_mtok, audio_output_per_mtok, request_fee, per_hour,
    long_context, source, note, created_by
  )
  values (
    lower(btrim(coalesce(add_price.price ->> 'provider', 'openai'))), lower(btrim(add_price.price ->> 'model')),
    -- Left out it is the standard tier; an explicit null prices every tier.
    case when add_price.price ? 'service_tier' then lower(btrim(add_price.price ->> 'service_tier')) else 'default' end,
    coalesce((add_price.price ->> 'valid_from')::timestamptz, now()),
    (add_price.price ->> 'valid_to')::timestamptz, (v_rates ->> 'input')::numeric,
    (v_rates ->> 'cached_input')::numeric, (v_rates ->> 'cache_write')::numeric, (v_rates ->> 'output')::numeric,
    (v_rates ->> 'reasoning')::numeric, (v_rates ->> 'audio_input')::numeric, (v_rates ->> 'audio_output')::numeric,
    (v_rates ->> 'request_fee')::numeric, (v_rates ->> 'per_hour')::numeric,
    nullif(nullif(add_price.price -> 'long_context', 'null'), '[]'), add_price.price ->> 'source',
    add_price.price ->> 'note', coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  )
  returning p.* into v_price;
  return observability_internal.describe_price(v_price);
end;
$$;

comment on function observability.add_price(jsonb) is 'Appends a price {model, rates, source, provider, service_tier, valid_from, valid_to, long_context, note}; nothing is ever changed. Ops only. Returns the row.';

grant execute on function observability_internal.price_rates(observability.model_prices) to authenticated, service_role;

grant execute on function observability_internal.check_rates(jsonb, text[]) to authenticated, service_role;

grant execute on function observability_internal.check_price(jsonb) to authenticated, service_role;

grant execute on function observability_internal.describe_price(observability.model_prices) to authenticated, service_role;

grant execute on function observability.add_price(jsonb) to authenticated, service_role;
