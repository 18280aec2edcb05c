-- Compares what providers billed with what was recorded, and explains the difference.
-- Locks: none; it only creates.

create type observability_internal.recorded_day as (
  day date,
  family text,
  requests bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cost numeric,
  fallback_cost numeric,
  unpriced_requests bigint,
  fallback_requests bigint,
  estimated_requests bigint
);

comment on type observability_internal.recorded_day is
'What was recorded of one model family on one UTC day. A document reads the rollups once and hands this on.';

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

create function observability_internal.model_family(model text) returns text
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select lower(regexp_replace(regexp_replace(model, '^[a-z_-]+/', ''), '-20[0-9]{2}-[0-9]{2}-[0-9]{2}$', ''));
$$;

comment on function observability_internal.model_family is
'A model''s name without provider prefix and snapshot date: the bill and the record need not name the same snapshot.';
revoke execute on function observability_internal.model_family from public;
grant execute on function observability_internal.model_family to authenticated, service_role;

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
      select d.dim_id, d.status, observability_internal.model_family(d.model) as family
      from observability_internal.dimensions as d
      where d.provider = recorded_usage.provider
        and case when environments is null then d.environment <> 'demo' else d.environment = any (environments) end
    )
    select
      row(
        (r.bucket at time zone 'UTC')::date, d.family,
        -- A provider counts no request that failed.
        coalesce(sum(r.requests) filter (where d.status <> 'error'), 0), sum(r.prompt_tokens),
        sum(r.completion_tokens), sum(r.cost + r.fallback_cost), sum(r.fallback_cost),
        coalesce(sum(r.unpriced_requests) filter (where d.status <> 'error'), 0),
        coalesce(sum(r.fallback_requests) filter (where d.status <> 'error'), 0), sum(r.estimated_requests)
      )::observability_internal.recorded_day
    from observability_internal.alert_cells(
      array(select d.dim_id from dims as d), recorded_usage.from_day::timestamp at time zone 'UTC',
      recorded_usage.to_day::timestamp at time zone 'UTC'
    ) as r
    inner join dims as d using (dim_id)
    group by (r.bucket at time zone 'UTC')::date, d.family
  );
$$;

comment on function observability_internal.recorded_usage is 'What was recorded, by UTC day and model family. Without environments everything but demo data.';
revoke execute on function observability_internal.recorded_usage from public;
grant execute on function observability_internal.recorded_usage to authenticated, service_role;

create function observability_internal.reconcile_days(
  provider text, from_day date, to_day date, recorded observability_internal.recorded_day[]
) returns table (
  day date, source text, fetched_at timestamptz, billed_cost numeric, billed_requests bigint,
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
      sum(b.amount) filter (where b.currency = 'usd') as billed_cost, sum(b.requests)::bigint as billed_requests,
      count(*) filter (where b.kind = 'cost' and b.currency <> 'usd') as other_currency_lines
    from observability_internal.billed_lines(
      reconcile_days.provider, reconcile_days.from_day, reconcile_days.to_day
    ) as b
    group by b.day
  ),
  recorded_days as (
    select
      r.day, sum(r.cost) as cost, sum(r.requests)::bigint as requests, sum(r.unpriced_requests)::bigint as unpriced,
      sum(r.fallback_requests)::bigint as fallback, sum(r.estimated_requests)::bigint as estimated
    from unnest(reconcile_days.recorded) as r
    group by r.day
  )
  select
    coalesce(b.day, r.day), b.source, b.fetched_at, b.billed_cost, b.billed_requests,
    coalesce(b.other_currency_lines, 0), coalesce(r.cost, 0), coalesce(r.requests, 0), coalesce(r.unpriced, 0),
    coalesce(r.fallback, 0), coalesce(r.estimated, 0)
  from billed as b
  full join recorded_days as r on b.day = r.day;
$$;

comment on function observability_internal.reconcile_days is
'Bill and record of each UTC day that has either. A null billed_cost is unknown: such a day is not compared.';
revoke execute on function observability_internal.reconcile_days from public;
grant execute on function observability_internal.reconcile_days to authenticated, service_role;

create function observability_internal.reconcile_models(
  provider text, days date[], recorded observability_internal.recorded_day[]
)
returns table (
  family text, billed_cost numeric, billed_requests bigint, billed_input_tokens bigint,
  billed_output_tokens bigint, other_tier_requests bigint, recorded_cost numeric, recorded_requests bigint,
  recorded_input_tokens bigint, recorded_output_tokens bigint, fallback_cost numeric, unpriced_requests bigint,
  fallback_requests bigint, estimated_requests bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
  with by_name as materialized (
    select
      b.model, sum(b.amount) filter (where b.currency = 'usd') as cost, sum(b.requests) as requests,
      sum(b.input_tokens) as input_tokens, sum(b.output_tokens) as output_tokens,
      sum(b.requests) filter (where b.is_batch or b.service_tier not in ('', 'default', 'auto')) as other_tier
    from observability_internal.billed_lines(
      reconcile_models.provider, (select min(d.day) from unnest(days) as d (day)),
      (select max(d.day) + 1 from unnest(days) as d (day))
    ) as b
    where b.day = any (days)
    group by b.model
  ),
  billed as (
    select
      case when n.model <> '' then observability_internal.model_family(n.model) end as family, sum(n.cost) as cost,
      sum(n.requests)::bigint as requests, sum(n.input_tokens)::bigint as input_tokens,
      sum(n.output_tokens)::bigint as output_tokens, sum(n.other_tier)::bigint as other_tier
    from by_name as n
    group by 1
  ),
  recorded_models as (
    select
      r.family, sum(r.cost) as cost, sum(r.requests)::bigint as requests, sum(r.prompt_tokens)::bigint as input_tokens,
      sum(r.completion_tokens)::bigint as output_tokens, sum(r.fallback_cost) as fallback_cost,
      sum(r.unpriced_requests)::bigint as unpriced, sum(r.fallback_requests)::bigint as fallback,
      sum(r.estimated_requests)::bigint as estimated
    from unnest(reconcile_models.recorded) as r
    where r.day = any (days)
    group by r.family
  )
  select
    coalesce(b.family, r.family), b.cost, b.requests, b.input_tokens, b.output_tokens,
    coalesce(b.other_tier, 0), r.cost, coalesce(r.requests, 0), coalesce(r.input_tokens, 0),
    coalesce(r.output_tokens, 0), coalesce(r.fallback_cost, 0), coalesce(r.unpriced, 0), coalesce(r.fallback, 0),
    coalesce(r.estimated, 0)
  from billed as b
  full join recorded_models as r on b.family = r.family;
$$;

comment on function observability_internal.reconcile_models is
'Bill and record of some days by model family; lines that name no model have a null family, a null side is absent.';
revoke execute on function observability_internal.reconcile_models from public;
grant execute on function observability_internal.reconcile_models to authenticated, service_role;

create function observability_internal.explain_drift(
  provider text, days date[], recorded observability_internal.recorded_day[], drift numeric
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with models as materialized (
    select
      m.*,
      -- Usage is known when the provider told of any request at all; an invoice has amounts alone.
      coalesce(m.billed_requests, case when sum(m.billed_requests) over () is not null then 0 end) as counted_requests
    from observability_internal.reconcile_models(explain_drift.provider, days, recorded) as m
  ),
  shares as (
    select
      m.*, greatest(m.counted_requests - m.recorded_requests, 0) as missing,
      greatest(m.recorded_requests - m.counted_requests, 0) as extra,
      m.billed_cost / nullif(greatest(m.recorded_requests, m.counted_requests), 0) as billed_per_request
    from models as m
  ),
  items as materialized (
    select
      b.line_item, case when b.model <> '' then observability_internal.model_family(b.model) end as family,
      sum(b.amount) as amount
    from observability_internal.billed_lines(
      explain_drift.provider, (select min(d.day) from unnest(days) as d (day)),
      (select max(d.day) + 1 from unnest(days) as d (day))
    ) as b
    where b.day = any (days) and b.kind = 'cost' and b.currency = 'usd' and b.line_item <> ''
    group by b.line_item, b.model
  ),
  lines as (
    select i.line_item, sum(i.amount) as amount
    from items as i
    where not exists (
      select from models as m where m.family = i.family and (m.recorded_requests > 0 or m.counted_requests > 0)
    )
    group by i.line_item
  ),
  causes (position, cause, requests, amount, details) as (
    select 1, 'calls_not_recorded', sum(s.missing), sum(s.missing * s.billed_per_request), null::jsonb from shares as s
    union all
    select
      2, 'calls_not_billed', sum(s.extra) filter (where s.family is not null),
      -sum(s.extra * s.recorded_cost / nullif(s.recorded_requests, 0)), null
    from shares as s
    union all
    select 3, 'unpriced_models', sum(s.unpriced_requests), sum(s.unpriced_requests * s.billed_per_request), null
    from shares as s
    union all
    select
      4, 'fallback_prices', sum(s.fallback_requests),
      sum(s.fallback_requests * s.billed_per_request - s.fallback_cost) filter (where s.fallback_requests > 0), null
    from shares as s
    union all
    select 5, 'other_services', null, sum(l.amount), to_jsonb((array_agg(l.line_item order by l.amount desc))[1:5])
    from lines as l
    union all
    select 6, 'estimated_usage', sum(s.estimated_requests), null, null from shares as s
    union all
    select 7, 'service_tiers', sum(s.other_tier_requests), null, null from shares as s
    union all
    select 8, 'not_rolled_up', observability_internal.pending_rows(), null, null
    union all
    -- Half of the last digit of each amount, and no more than half a cent.
    select 9, 'rounding', null, sum(0.5 * 10::numeric ^ -greatest(scale(b.amount), 2)), '{"is_bound": true}'
    from observability_internal.billed_lines(
      explain_drift.provider, (select min(d.day) from unnest(days) as d (day)),
      (select max(d.day) + 1 from unnest(days) as d (day))
    ) as b
    where b.day = any (days) and b.kind = 'cost' and b.amount <> 0
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'cause', c.cause, 'requests', c.requests, 'amount', trim_scale(round(c.amount, 12))::text, 'details', c.details
    ) order by c.position
  ) filter (where coalesce(c.requests, 0) <> 0 or coalesce(c.amount, 0) <> 0), '[]')
  || jsonb_build_array(jsonb_build_object(
    'cause', 'unexplained', 'requests', null,
    'amount', trim_scale(round(drift - coalesce(sum(c.amount) filter (where c.position <= 5), 0), 12))::text,
    'details', null
  ))
  from causes as c;
$$;

comment on function observability_internal.explain_drift is
'What could explain a drift: [{cause, requests, amount, details}]; amounts are shares of the drift in US dollars, '
'estimated by request.';
revoke execute on function observability_internal.explain_drift from public;
grant execute on function observability_internal.explain_drift to authenticated, service_role;

create function observability.get_reconciliation(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_access constant text := observability_internal.require_access('{analyst,ops,service}');
  v_environments constant text[] := observability_internal.filter_values(filters, 'environment');
  v_providers constant text[] := coalesce(observability_internal.filter_values(filters, 'provider'), '{openai}');
  v_from_day date;
  v_to_day date;
  v_compared date[];
  v_unsplit text;
  v_usage observability_internal.recorded_day[];
  v_days jsonb;
  v_totals jsonb;
  v_billed numeric;
  v_recorded numeric;
begin
  perform observability_internal.check_filters(get_reconciliation.from_time, get_reconciliation.to_time, filters);
  select n.name into v_unsplit
  from unnest('{model,feature,operation,status,user_id}'::text[]) as n (name)
  where observability_internal.filter_values(filters, n.name) is not null limit 1;
  if v_unsplit is not null then
    raise exception 'a bill cannot be filtered by %', v_unsplit using errcode = '22023';
  end if;
  if cardinality(v_providers) <> 1 then
    raise exception 'a reconciliation is of one provider' using errcode = '22023';
  end if;
  v_from_day := date_trunc('day', get_reconciliation.from_time)::date;
  v_to_day := (date_trunc('day', get_reconciliation.to_time - interval '1 microsecond') + interval '1 day')::date;
  v_usage := observability_internal.recorded_usage(v_providers[1], v_from_day, v_to_day, v_environments);
  select
    coalesce(jsonb_agg(jsonb_build_object(
      'day', d.day, 'source', d.source, 'billed_cost', d.billed_cost::text, 'recorded_cost', d.recorded_cost::text,
      'drift', (d.billed_cost - d.recorded_cost)::text,
      'drift_fraction', round(observability_internal.drift_fraction(d.billed_cost, d.recorded_cost), 6)::text,
      'billed_requests', d.billed_requests, 'recorded_requests', d.recorded_requests,
      'unpriced_requests', d.unpriced_requests, 'fallback_requests', d.fallback_requests,
      'estimated_requests', d.estimated_requests, 'other_currency_lines', d.other_currency_lines,
      'fetched_at', d.fetched_at
    ) order by d.day), '[]'),
    coalesce(array_agg(d.day) filter (where d.billed_cost is not null), '{}'), sum(d.billed_cost),
    sum(d.recorded_cost) filter (where d.billed_cost is not null),
    jsonb_build_object(
      'days', count(d.billed_cost), 'days_without_bill', count(*) - count(d.billed_cost),
      'billed_requests', sum(d.billed_requests) filter (where d.billed_cost is not null),
      'recorded_requests', sum(d.recorded_requests) filter (where d.billed_cost is not null),
      'other_currency_lines', coalesce(sum(d.other_currency_lines), 0), 'fetched_at', max(d.fetched_at)
    )
  into v_days, v_compared, v_billed, v_recorded, v_totals
  from observability_internal.reconcile_days(v_providers[1], v_from_day, v_to_day, v_usage) as d;
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end, 'provider', v_providers[1],
    'currency', 'usd', 'from_day', v_from_day, 'to_day', v_to_day, 'generated_at', clock_timestamp(),
    'totals', v_totals || jsonb_build_object(
      'billed_cost', v_billed::text, 'recorded_cost', v_recorded::text, 'drift', (v_billed - v_recorded)::text,
      'drift_fraction', round(observability_internal.drift_fraction(v_billed, v_recorded), 6)::text
    ),
    'days', v_days, 'by_model', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'key', m.family, 'billed_cost', m.billed_cost::text, 'recorded_cost', m.recorded_cost::text,
        'drift', (coalesce(m.billed_cost, 0) - coalesce(m.recorded_cost, 0))::text,
        'billed_requests', m.billed_requests, 'recorded_requests', m.recorded_requests,
        'billed_input_tokens', m.billed_input_tokens, 'recorded_input_tokens', m.recorded_input_tokens,
        'billed_output_tokens', m.billed_output_tokens, 'recorded_output_tokens', m.recorded_output_tokens
      ) order by abs(coalesce(m.billed_cost, 0) - coalesce(m.recorded_cost, 0)) desc, m.family), '[]')
      from observability_internal.reconcile_models(v_providers[1], v_compared, v_usage) as m
    ),
    'explanations', case when cardinality(v_compared) > 0 then observability_internal.explain_drift(
      v_providers[1], v_compared, v_usage, v_billed - v_recorded
    ) else '[]'::jsonb end
  );
end;
$$;

comment on function observability.get_reconciliation is
'The provider''s bill beside what was recorded: {totals, days, by_model, explanations}, whole UTC days around the '
'range. Filters: provider, environment. Analysts and ops.';
revoke execute on function observability.get_reconciliation from public;
grant execute on function observability.get_reconciliation to authenticated, service_role;
