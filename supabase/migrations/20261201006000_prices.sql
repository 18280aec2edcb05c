-- The customer's own prices and the versions of the published price catalogue.
-- Locks: none; it only creates.

create table observability_internal.model_prices (
  price_id bigint generated always as identity,
  provider text not null default 'openai',
  model text not null,
  service_tier text,
  valid_from timestamptz not null,
  valid_to timestamptz,
  input_per_mtok numeric,
  cached_input_per_mtok numeric,
  cache_write_per_mtok numeric,
  output_per_mtok numeric,
  reasoning_per_mtok numeric,
  audio_input_per_mtok numeric,
  audio_output_per_mtok numeric,
  request_fee numeric,
  source text not null,
  note text,
  created_at timestamptz not null default now(),
  created_by text,
  per_hour numeric,
  long_context jsonb,
  constraint model_prices_pkey primary key (price_id),
  constraint "a price ends after it begins" check (valid_to > valid_from),
  constraint "a price names its model and source" check (
    char_length(model) between 1 and 200 and char_length(provider) between 1 and 200
    and char_length(source) between 1 and 500 and char_length(note) <= 2000 and char_length(service_tier) <= 50
  ),
  constraint "rates are from 0 to a million dollars" check (
    input_per_mtok >= 0 and input_per_mtok < 1e6 and cached_input_per_mtok >= 0 and cached_input_per_mtok < 1e6
    and cache_write_per_mtok >= 0 and cache_write_per_mtok < 1e6 and output_per_mtok >= 0 and output_per_mtok < 1e6
    and reasoning_per_mtok >= 0 and reasoning_per_mtok < 1e6 and audio_input_per_mtok >= 0
    and audio_input_per_mtok < 1e6 and audio_output_per_mtok >= 0 and audio_output_per_mtok < 1e6
    and request_fee >= 0 and request_fee < 1e6
  ),
  constraint "a price by the hour is from 0 to a million dollars" check (per_hour >= 0 and per_hour < 1e6),
  constraint "long-context bands are a list" check (jsonb_typeof(long_context) = 'array'),
  constraint "a price names provider, model and tier in lower case" check (
    provider = lower(btrim(provider)) and model = lower(btrim(model)) and service_tier = lower(btrim(service_tier))
  ),
  constraint "a price has a rate for tokens, requests or hours" check (
    num_nonnulls(
      input_per_mtok, output_per_mtok, audio_input_per_mtok, audio_output_per_mtok, request_fee, per_hour
    ) > 0
  )
);

comment on table observability_internal.model_prices is
'The customer''s own prices, US dollars per million tokens, valid in [valid_from, valid_to). Appended, never changed.';

comment on column observability_internal.model_prices.service_tier is 'Tier as served; null prices every tier.';

comment on column observability_internal.model_prices.per_hour is 'US dollars per hour that a request takes.';

comment on column observability_internal.model_prices.long_context is
'Bands [{above, input, …}]: rates of the whole request when its input exceeds that number of tokens.';

-- Not unique: a mistake is corrected by a row with the same start, and of two the one appended last counts.
create index model_prices_start_idx on observability_internal.model_prices (provider, model, service_tier, valid_from);

alter table observability_internal.model_prices enable row level security;

grant select on table observability_internal.model_prices to authenticated;

grant select, insert on table observability_internal.model_prices to service_role;

create policy "analysts read prices" on observability_internal.model_prices
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.price_catalogues (
  catalogue_id bigint generated always as identity,
  fetched_at timestamptz not null default now(),
  source_url text not null,
  reader_version text not null,
  sha256 text not null,
  content text not null,
  constraint price_catalogues_pkey primary key (catalogue_id),
  constraint "a catalogue names its source and reader" check (
    char_length(source_url) between 1 and 500 and char_length(reader_version) between 1 and 50
    and char_length(sha256) = 64
  ),
  constraint "a catalogue has at most 32 MiB" check (octet_length(content) <= 33554432)
);

comment on table observability_internal.price_catalogues is
'The last ten versions of genai-prices'' published catalogue; reader_version is the release of genai-prices that '
'could read it.';

alter table observability_internal.price_catalogues enable row level security;

grant select, insert, delete on table observability_internal.price_catalogues to service_role;

create function observability_internal.price_rates(price observability_internal.model_prices) returns jsonb
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

comment on function observability_internal.price_rates is 'The rates of a price by name, as exact text.';
revoke execute on function observability_internal.price_rates from public;
grant execute on function observability_internal.price_rates to authenticated, service_role;

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

comment on function observability_internal.check_rates is 'Refuses (22023) rates with other names, or whose values are not decimals as text.';
revoke execute on function observability_internal.check_rates from public;
grant execute on function observability_internal.check_rates to authenticated, service_role;

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

comment on function observability_internal.check_price is 'Refuses (22023) a price document that add_price does not take.';
revoke execute on function observability_internal.check_price from public;
grant execute on function observability_internal.check_price to authenticated, service_role;

create function observability_internal.describe_price(price observability_internal.model_prices) returns jsonb
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
      select from observability_internal.model_prices as later
      where later.provider = price.provider and later.model = price.model
        and later.service_tier is not distinct from price.service_tier and later.valid_from = price.valid_from
        and later.price_id > price.price_id
    )
  );
$$;

comment on function observability_internal.describe_price is 'A price as JSON, rates as exact text; is_superseded when a later one has the same start.';
revoke execute on function observability_internal.describe_price from public;
grant execute on function observability_internal.describe_price to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.add_price(price jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_price observability_internal.model_prices;
  v_rates constant jsonb := add_price.price -> 'rates';
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_price(add_price.price);
  insert into observability_internal.model_prices as p (
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

comment on function observability.add_price is
'Appends a price {model, rates, source, provider, service_tier, valid_from, valid_to, long_context, note}; nothing is'
' ever changed. Ops only. Returns the row.';
revoke execute on function observability.add_price from public;
grant execute on function observability.add_price to authenticated, service_role;

create function observability.save_price_catalogue(source_url text, reader_version text, content text) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
as $$
#variable_conflict use_column
declare
  v_sha256 constant text := encode(sha256(convert_to(save_price_catalogue.content, 'UTF8')), 'hex');
  v_catalogue_id bigint;
  v_is_new boolean := false;
begin
  perform pg_advisory_xact_lock(hashtextextended('treering.price_catalogue', 0));
  select c.catalogue_id into v_catalogue_id
  from (select l.* from observability_internal.price_catalogues as l order by l.catalogue_id desc limit 1) as c
  where c.sha256 = v_sha256 and c.reader_version = save_price_catalogue.reader_version;
  if v_catalogue_id is null then
    insert into observability_internal.price_catalogues (source_url, reader_version, sha256, content)
    values (
      save_price_catalogue.source_url, save_price_catalogue.reader_version, v_sha256, save_price_catalogue.content
    )
    returning catalogue_id into v_catalogue_id;
    v_is_new := true;
    delete from observability_internal.price_catalogues as c
    where c.catalogue_id not in (
      select l.catalogue_id from observability_internal.price_catalogues as l order by l.catalogue_id desc limit 10
    );
  end if;
  return jsonb_build_object('catalogue_id', v_catalogue_id, 'is_new', v_is_new);
end;
$$;

comment on function observability.save_price_catalogue is 'Keeps a fetched catalogue unless it is the last one again. Returns {catalogue_id, is_new}.';
revoke execute on function observability.save_price_catalogue from public;
grant execute on function observability.save_price_catalogue to service_role;

-- Security definer: analysts and ops have no rights on the table of catalogues.
create function observability_internal.stored_catalogue() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  select to_jsonb(c)
  from observability_internal.price_catalogues as c
  where observability_internal.can_read_all()
  order by c.catalogue_id desc
  limit 1;
$$;

comment on function observability_internal.stored_catalogue is 'The catalogue fetched last with its content; null for none and for members.';
revoke execute on function observability_internal.stored_catalogue from public;
grant execute on function observability_internal.stored_catalogue to authenticated, service_role;

create function observability.get_price_catalogue() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return observability_internal.stored_catalogue();
end;
$$;

comment on function observability.get_price_catalogue is
'The catalogue fetched last {catalogue_id, fetched_at, source_url, reader_version, sha256, content}; null for none. Analysts and ops.';
revoke execute on function observability.get_price_catalogue from public;
grant execute on function observability.get_price_catalogue to authenticated, service_role;

-- Security definer: analysts see which catalogue is in force without rights on its table.
create function observability_internal.current_catalogue() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  select jsonb_build_object(
    'catalogue_id', c.catalogue_id, 'fetched_at', c.fetched_at, 'source_url', c.source_url,
    'reader_version', c.reader_version, 'sha256', c.sha256
  )
  from observability_internal.price_catalogues as c
  where observability_internal.can_read_all()
  order by c.catalogue_id desc
  limit 1;
$$;

comment on function observability_internal.current_catalogue is 'Which catalogue was fetched last, without its content; null for none and for members.';
revoke execute on function observability_internal.current_catalogue from public;
grant execute on function observability_internal.current_catalogue to authenticated, service_role;

create function observability.get_prices() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return jsonb_build_object(
    'generated_at', now(),
    'catalogue', observability_internal.current_catalogue(),
    'prices', (
      select coalesce(jsonb_agg(observability_internal.describe_price(p) order by p.price_id), '[]')
      from observability_internal.model_prices as p
    )
  );
end;
$$;

comment on function observability.get_prices is
'The customer''s prices, superseded ones too, and which catalogue is in force: {generated_at, catalogue, prices}. '
'Analysts and ops.';
revoke execute on function observability.get_prices from public;
grant execute on function observability.get_prices to authenticated, service_role;
