-- Reads what a provider billed and what was recorded, day by day and item by item.
-- Locks: none; it only creates.

create type observability_internal.recorded_day as (
  day date,
  family text,
  is_failed boolean,
  requests bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  audio_input_tokens bigint,
  audio_output_tokens bigint,
  cost numeric,
  fees numeric,
  credits numeric,
  fallback_cost numeric,
  unpriced_requests bigint,
  fallback_requests bigint,
  estimated_requests bigint
);

comment on type observability_internal.recorded_day is
'What was recorded of one model family on one UTC day, failed calls apart. Fees and credits (below zero) are parts of'
' the cost.';

create type observability_internal.drift_item as (
  day date,
  family text,
  item text,
  billed_cost numeric,
  list_price numeric,
  billed_tokens numeric,
  recorded_tokens numeric,
  failed_tokens numeric,
  rounding_bound numeric
);

comment on type observability_internal.drift_item is
'One kind of tokens of one model family on one UTC day, billed and recorded; an empty item is all kinds together. '
'Null is unknown.';

create function observability_internal.drift_fraction(billed numeric, recorded numeric) returns numeric
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case when billed <> 0 then (billed - recorded) / abs(billed) when billed = 0 then -sign(recorded) end;
$$;

comment on function observability_internal.drift_fraction is
'What the bill has more (positive) or less than the record, as a fraction of the bill; -1 where nothing was billed '
'but something recorded.';
revoke execute on function observability_internal.drift_fraction from public;
grant execute on function observability_internal.drift_fraction to authenticated, service_role;

create function observability_internal.billed_lines(provider text, from_day date, to_day date)
returns setof observability_internal.provider_costs
language sql
stable
security invoker
set search_path = ''
as $$
  select c.*
  from observability_internal.provider_costs as c
  where c.provider = billed_lines.provider and c.day >= billed_lines.from_day and c.day < billed_lines.to_day
    -- What was read before the day was over is only a part of it.
    and c.fetched_at >= (c.day + 1)::timestamp at time zone 'UTC'
    and (
      c.kind = 'usage' or c.source = 'import' or not exists (
        select from observability_internal.provider_costs as i
        where i.provider = c.provider and i.day = c.day and i.kind = 'cost' and i.source = 'import'
      )
    );
$$;

comment on function observability_internal.billed_lines is 'The lines that count: of whole days, and an imported invoice instead of the API''s amounts.';
revoke execute on function observability_internal.billed_lines from public;
grant execute on function observability_internal.billed_lines to authenticated, service_role;

-- The rollups hold no fees; the few calls that have one, or are a credit, are read as they are.
create function observability_internal.recorded_extras(
  provider text, from_day date, to_day date, environments text[]
) returns setof observability_internal.recorded_day
language sql
stable
security invoker
set search_path = ''
as $$
  select
    (m.created_at at time zone 'UTC')::date, observability_internal.model_family(m.model), m.status = 'error', 0, 0, 0, 0,
    0, 0, 0, 0::numeric,
    coalesce(sum(least(m.request_fees, m.estimated_cost)) filter (where m.estimated_cost > 0), 0),
    coalesce(sum(m.estimated_cost) filter (where m.estimated_cost < 0), 0), 0::numeric, 0, 0, 0
  from observability_internal.ai_usage_metrics as m
  where (m.request_fees is not null or m.estimated_cost < 0)
    and m.created_at >= recorded_extras.from_day::timestamp at time zone 'UTC'
    and m.created_at < recorded_extras.to_day::timestamp at time zone 'UTC'
    and m.provider = recorded_extras.provider
    and case when environments is null then m.environment <> 'demo' else m.environment = any (environments) end
  group by 1, 2, 3;
$$;

comment on function observability_internal.recorded_extras is
'Fees and credits inside what was recorded, by UTC day and model family; of raw rows, so only within their retention.';
revoke execute on function observability_internal.recorded_extras from public;
grant execute on function observability_internal.recorded_extras to authenticated, service_role;

create function observability_internal.recorded_usage(
  provider text, from_day date, to_day date, environments text[]
) returns observability_internal.recorded_day[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    with dims as materialized (
      select d.dim_id, d.status = 'error' as is_failed, observability_internal.model_family(d.model) as family
      from observability_internal.dimensions as d
      where d.provider = recorded_usage.provider
        and case when environments is null then d.environment <> 'demo' else d.environment = any (environments) end
    ),
    calls as (
      select
        (r.bucket at time zone 'UTC')::date as day, d.family, d.is_failed, sum(r.requests)::bigint,
        sum(r.prompt_tokens)::bigint, sum(r.completion_tokens)::bigint, sum(r.cached_tokens)::bigint,
        sum(r.cache_write_tokens)::bigint, sum(r.audio_input_tokens)::bigint, sum(r.audio_output_tokens)::bigint,
        sum(r.cost + r.fallback_cost), 0::numeric, 0::numeric, sum(r.fallback_cost), sum(r.unpriced_requests)::bigint,
        sum(r.fallback_requests)::bigint, sum(r.estimated_requests)::bigint
      from observability_internal.alert_cells(
        array(select d.dim_id from dims as d), recorded_usage.from_day::timestamp at time zone 'UTC',
        recorded_usage.to_day::timestamp at time zone 'UTC'
      ) as r
      inner join dims as d using (dim_id)
      group by 1, 2, 3
    )
    select c::observability_internal.recorded_day from calls as c
    union all
    select e
    from observability_internal.recorded_extras(
      recorded_usage.provider, recorded_usage.from_day, recorded_usage.to_day, environments
    ) as e
  );
$$;

comment on function observability_internal.recorded_usage is 'What was recorded, by UTC day and model family. Without environments everything but demo data.';
revoke execute on function observability_internal.recorded_usage from public;
grant execute on function observability_internal.recorded_usage to authenticated, service_role;

create function observability_internal.reconcile_days(
  provider text, from_day date, to_day date, recorded observability_internal.recorded_day[]
) returns table (
  day date, state text, source text, fetched_at timestamptz, billed_cost numeric, billed_requests bigint,
  other_currency_lines bigint, recorded_cost numeric, recorded_requests bigint, unpriced_requests bigint,
  fallback_requests bigint, estimated_requests bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
  with billed as (
    select
      b.day, max(b.source) filter (where b.kind = 'cost') as source, max(b.fetched_at) as fetched_at,
      sum(b.amount) filter (where b.currency = 'usd') as cost, sum(b.requests)::bigint as requests,
      count(*) filter (where b.kind = 'cost' and b.currency <> 'usd') as other_currency_lines,
      bool_and(observability_internal.is_quiet_line(b)) filter (where b.kind = 'cost') as is_quiet,
      coalesce(sum(coalesce(b.input_tokens, 0) + coalesce(b.output_tokens, 0)), 0) as counted_tokens,
      sum(b.tokens) filter (where b.charge = 'usage') as billed_tokens
    from observability_internal.billed_lines(
      reconcile_days.provider, reconcile_days.from_day, reconcile_days.to_day
    ) as b
    group by b.day
  ),
  recorded_days as (
    select
      r.day, sum(r.cost) as cost, coalesce(sum(r.requests) filter (where not r.is_failed), 0)::bigint as requests,
      coalesce(sum(r.unpriced_requests) filter (where not r.is_failed), 0)::bigint as unpriced,
      coalesce(sum(r.fallback_requests) filter (where not r.is_failed), 0)::bigint as fallback,
      sum(r.estimated_requests)::bigint as estimated
    from unnest(reconcile_days.recorded) as r
    group by r.day
  ),
  days as (
    select
      coalesce(b.day, r.day) as day, b.source, b.fetched_at, b.cost, b.requests, b.other_currency_lines,
      r.cost as recorded_cost, r.requests as recorded_requests, r.unpriced,
      r.fallback, r.estimated,
      case
        when b.day is null or b.is_quiet is null then 'no_bill'
        when b.cost is null then 'other_currency'
        -- Nothing billed of what was recorded or counted: the provider has not come to it yet.
        when b.is_quiet and (coalesce(r.cost, 0) <> 0 or b.counted_tokens + coalesce(b.requests, 0) > 0) then 'open'
        -- A provider goes on billing a day for some days; until then its own count is ahead of its bill.
        when b.fetched_at < (b.day + 4)::timestamp at time zone 'UTC' and b.counted_tokens * 0.99 > b.billed_tokens
          then 'open'
        else 'compared'
      end as state
    from billed as b
    full join recorded_days as r on b.day = r.day
  )
  select
    d.day, d.state, d.source, d.fetched_at, case when d.state = 'compared' then d.cost end, d.requests,
    coalesce(d.other_currency_lines, 0), coalesce(d.recorded_cost, 0), coalesce(d.recorded_requests, 0),
    coalesce(d.unpriced, 0), coalesce(d.fallback, 0), coalesce(d.estimated, 0)
  from days as d;
$$;

comment on function observability_internal.reconcile_days is
'Bill and record of each UTC day that has either. A null billed_cost is unknown, as state says (open, no_bill, '
'other_currency): such a day is not compared.';
revoke execute on function observability_internal.reconcile_days from public;
grant execute on function observability_internal.reconcile_days to authenticated, service_role;

create function observability_internal.rounding_bound(amount numeric) returns numeric
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case when amount <> 0 then 0.5 * 10::numeric ^ -greatest(scale(amount), 2) else 0 end;
$$;

comment on function observability_internal.rounding_bound is 'How far a billed amount may be from the exact one: half of its last digit, at most half a cent.';
revoke execute on function observability_internal.rounding_bound from public;
grant execute on function observability_internal.rounding_bound to authenticated, service_role;

create function observability_internal.counted_items(lines observability_internal.provider_costs[])
returns setof observability_internal.drift_item
language sql
stable
security invoker
set search_path = ''
as $$
  select
    l.day, l.family, i.item, null::numeric, null::numeric, i.tokens, null::numeric,
    null::numeric, 0::numeric
  from unnest(lines) as l
  cross join lateral (values
    ('input', greatest(
      l.input_tokens - coalesce(l.cached_tokens, 0) - coalesce(l.cache_write_tokens, 0) - coalesce(l.audio_input_tokens, 0), 0
    )),
    ('cached_input', l.cached_tokens), ('cache_write', l.cache_write_tokens), ('audio_input', l.audio_input_tokens),
    ('output', greatest(l.output_tokens - coalesce(l.audio_output_tokens, 0), 0)), ('audio_output', l.audio_output_tokens)
  ) as i (item, tokens)
  where l.kind = 'usage' and l.model is not null and l.model <> '' and i.tokens > 0;
$$;

comment on function observability_internal.counted_items is 'The tokens that a provider counted, by kind.';
revoke execute on function observability_internal.counted_items from public;
grant execute on function observability_internal.counted_items to authenticated, service_role;

create function observability_internal.recorded_items(recorded observability_internal.recorded_day[])
returns setof observability_internal.drift_item
language sql
stable
security invoker
set search_path = ''
as $$
  select
    r.day, r.family, i.item, null::numeric, null::numeric, null::numeric,
    case when r.is_failed then 0 else i.tokens end, case when r.is_failed then i.tokens else 0 end, 0::numeric
  from unnest(recorded) as r
  cross join lateral (values
    ('input', greatest(r.prompt_tokens - r.cached_tokens - r.cache_write_tokens - r.audio_input_tokens, 0)),
    ('cached_input', r.cached_tokens), ('cache_write', r.cache_write_tokens), ('audio_input', r.audio_input_tokens),
    ('output', greatest(r.completion_tokens - r.audio_output_tokens, 0)), ('audio_output', r.audio_output_tokens)
  ) as i (item, tokens)
  where i.tokens > 0;
$$;

comment on function observability_internal.recorded_items is 'The tokens that were recorded, by kind.';
revoke execute on function observability_internal.recorded_items from public;
grant execute on function observability_internal.recorded_items to authenticated, service_role;

create function observability_internal.drift_items(
  lines observability_internal.provider_costs[], recorded observability_internal.recorded_day[]
) returns setof observability_internal.drift_item
language sql
stable
security invoker
set search_path = ''
as $$
  with billed as (
    select l.day, l.family, l.item, l.amount, l.list_price, l.tokens
    from unnest(lines) as l
    where l.kind = 'cost' and l.charge = 'usage' and l.model <> ''
  ),
  told as (
    select
      b.day, b.family, b.item, b.amount, b.list_price, b.tokens as billed_tokens, null::numeric as counted_tokens,
      null::numeric as recorded_tokens, null::numeric as failed_tokens,
      observability_internal.rounding_bound(b.amount) as bound
    from billed as b
    union all
    select c.day, c.family, c.item, null, null, null, c.billed_tokens, null, null, 0
    from observability_internal.counted_items(lines) as c
    union all
    select r.day, r.family, r.item, null, null, null, null, r.recorded_tokens, r.failed_tokens, 0
    from observability_internal.recorded_items(recorded) as r
  ),
  -- Where the bill does not say which kind of tokens an amount is for, all kinds are one.
  mixed as (
    select distinct b.day, b.family from billed as b where b.item = '' and b.amount <> 0
  ),
  placed as (
    select t.*, case when m.day is null then t.item else '' end as kind_of_tokens
    from told as t
    left join mixed as m on t.day = m.day and t.family = m.family
  )
  select
    p.day, p.family, p.kind_of_tokens, sum(p.amount),
    max(p.list_price),
    coalesce(case when count(p.billed_tokens) = count(p.amount) then sum(p.billed_tokens) end, sum(p.counted_tokens)),
    coalesce(sum(p.recorded_tokens), 0), coalesce(sum(p.failed_tokens), 0), sum(p.bound)
  from placed as p
  group by p.day, p.family, p.kind_of_tokens;
$$;

comment on function observability_internal.drift_items is
'Bill and record by UTC day, model family and kind of tokens. The bill''s own quantities count before the provider''s'
' usage report.';
revoke execute on function observability_internal.drift_items from public;
grant execute on function observability_internal.drift_items to authenticated, service_role;
