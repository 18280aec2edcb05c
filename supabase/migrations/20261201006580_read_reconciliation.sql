-- The document that compares bill and record.
-- Locks: none; it only creates.

create function observability_internal.item_parts(
  parts observability_internal.drift_part[], items observability_internal.drift_item[]
) returns setof observability_internal.drift_part
language sql
stable
security invoker
set search_path = ''
as $$
  with priced as (
    select
      i.day, i.family, i.item, i.recorded_tokens * i.billed_cost / i.billed_tokens as at_bill,
      (i.billed_tokens - i.recorded_tokens - least(greatest(i.billed_tokens - i.recorded_tokens, 0), i.failed_tokens))
      * i.billed_cost / i.billed_tokens as volume,
      -- The record's own price of a kind of tokens is not stored: its list price is the best guess at its share.
      i.recorded_tokens * coalesce(nullif(i.list_price, 0) / 1e6, i.billed_cost / i.billed_tokens) as weight
    from unnest(items) as i
    where i.billed_tokens > 0 and i.billed_cost is not null
  ),
  shared as (
    select
      p.day, p.family, q.item, p.cause, p.name, p.amount, p.requests,
      round(case
        when p.cause <> 'price' then q.volume
        when sum(q.weight) over w <> 0
          then q.at_bill - (sum(q.at_bill) over w - p.amount) * q.weight / sum(q.weight) over w
      end, 12) as share
    from unnest(parts) as p
    inner join priced as q on p.day = q.day and p.family = q.family
    where p.cause in ('calls_not_recorded', 'calls_not_billed', 'price')
    window w as (partition by p.day, p.family, p.cause)
  ),
  ranked as (
    select
      s.*, row_number() over (partition by s.day, s.family, s.cause order by abs(s.share) desc, s.item) as rank,
      sum(s.share) over (partition by s.day, s.family, s.cause) as total
    from shared as s
    where s.share <> 0
  )
  select
    r.day, r.family, r.item, r.cause, r.name,
    -- What rounding left over goes to the largest, so that the shares add up.
    case when r.rank = 1 then r.share + r.amount - r.total else r.share end,
    case when r.rank = 1 then r.requests end
  from ranked as r
  where abs(r.amount - r.total) < 1e-6
  union all
  select p.*
  from unnest(parts) as p
  where not exists (
    select from ranked as r
    where p.day = r.day and p.family = r.family and p.cause = r.cause and abs(r.amount - r.total) < 1e-6
  );
$$;

comment on function observability_internal.item_parts is
'The parts with volume and price split by kind of tokens where the bill tells them apart; the sum stays the same.';
revoke execute on function observability_internal.item_parts from public;
grant execute on function observability_internal.item_parts to authenticated, service_role;

create function observability_internal.describe_causes(parts observability_internal.drift_part[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with named as (
    select p.cause, p.name, sum(p.amount) as amount
    from unnest(parts) as p
    where p.name <> ''
    group by p.cause, p.name
  ),
  ranked as (
    select n.*, row_number() over (partition by n.cause order by abs(n.amount) desc, n.name) as rank from named as n
  ),
  details as (
    select
      r.cause,
      jsonb_agg(jsonb_build_object('name', r.name, 'amount', trim_scale(r.amount)::text) order by r.rank) as names
    from ranked as r
    where r.rank <= 5 and r.amount <> 0
    group by r.cause
  ),
  causes as (
    select p.cause, trim_scale(sum(p.amount)) as amount, sum(p.requests)::bigint as requests
    from unnest(parts) as p
    group by p.cause
    having sum(p.amount) <> 0
  )
  select coalesce(jsonb_agg(
    jsonb_build_object('cause', c.cause, 'requests', c.requests, 'amount', c.amount::text, 'details', d.names)
    order by c.cause in ('rounding', 'unexplained'), abs(c.amount) desc, c.cause
  ), '[]')
  from causes as c
  left join details as d using (cause);
$$;

comment on function observability_internal.describe_causes is
'The causes of a drift, the weightiest first: [{cause, requests, amount, details: [{name, amount}]}]. The amounts add'
' up to the drift.';
revoke execute on function observability_internal.describe_causes from public;
grant execute on function observability_internal.describe_causes to authenticated, service_role;

create function observability_internal.describe_items(
  parts observability_internal.drift_part[], items observability_internal.drift_item[], max_rows integer
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with ranked as (
    select
      p.day, p.family, p.item, p.cause, p.name, p.amount, p.requests, i.billed_cost, i.billed_tokens, i.recorded_tokens,
      row_number() over (order by abs(p.amount) desc, p.day, p.family, p.item, p.cause) as rank
    from observability_internal.item_parts(parts, items) as p
    left join unnest(items) as i
      on p.day = i.day and p.family = i.family and p.item = i.item
      and p.cause in ('calls_not_recorded', 'calls_not_billed', 'price')
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'day', r.day, 'model', r.family, 'item', r.item, 'cause', r.cause, 'name', r.name,
    'amount', trim_scale(r.amount)::text, 'requests', r.requests, 'billed_cost', trim_scale(r.billed_cost)::text,
    'billed_tokens', trim_scale(r.billed_tokens)::text, 'recorded_tokens', trim_scale(r.recorded_tokens)::text
  ) order by r.day, r.rank), '[]')
  from ranked as r
  where r.rank <= max_rows;
$$;

comment on function observability_internal.describe_items is 'The weightiest parts of the drift by day, model and item, in the order of days.';
revoke execute on function observability_internal.describe_items from public;
grant execute on function observability_internal.describe_items to authenticated, service_role;

create function observability_internal.describe_hints(
  parts observability_internal.drift_part[], lines observability_internal.provider_costs[],
  recorded observability_internal.recorded_day[]
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('hint', h.hint, 'requests', h.requests) order by h.hint), '[]')
  from (values
    ('estimated_usage', (select sum(r.estimated_requests)::bigint from unnest(recorded) as r), '{calls_not_recorded,calls_not_billed}'::text[]),
    (
      'service_tiers', (
        select sum(l.requests)::bigint
        from unnest(lines) as l
        where l.is_batch or l.service_tier not in ('', 'default', 'auto', 'standard')
      ), '{price}'
    ),
    ('not_rolled_up', observability_internal.pending_rows(), '{calls_not_recorded,unexplained}')
  ) as h (hint, requests, causes)
  where h.requests > 0 and exists (select from unnest(parts) as p where p.cause = any (h.causes));
$$;

comment on function observability_internal.describe_hints is 'What may stand behind a cause without an amount of its own: [{hint, requests}].';
revoke execute on function observability_internal.describe_hints from public;
grant execute on function observability_internal.describe_hints to authenticated, service_role;

create function observability_internal.describe_models(
  parts observability_internal.drift_part[], lines observability_internal.provider_costs[],
  recorded observability_internal.recorded_day[]
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with billed as (
    select
      case when l.model <> '' then l.family end as family, sum(l.amount) as cost,
      sum(l.requests)::bigint as requests, sum(l.input_tokens)::bigint as input_tokens,
      sum(l.output_tokens)::bigint as output_tokens
    from unnest(lines) as l
    group by 1
    having sum(l.amount) <> 0 or sum(l.requests) > 0 or sum(l.input_tokens) > 0
  ),
  kept as (
    select
      r.family, sum(r.cost) as cost, coalesce(sum(r.requests) filter (where not r.is_failed), 0)::bigint as requests,
      sum(r.prompt_tokens)::bigint as input_tokens, sum(r.completion_tokens)::bigint as output_tokens
    from unnest(recorded) as r
    group by r.family
  ),
  models as (
    select
      coalesce(b.family, k.family) as family, coalesce(b.cost, 0) - coalesce(k.cost, 0) as drift, b.cost as billed,
      b.requests as billed_requests, b.input_tokens as billed_input, b.output_tokens as billed_output,
      k.cost as recorded, k.requests, k.input_tokens, k.output_tokens
    from billed as b
    full join kept as k on b.family = k.family
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'key', m.family, 'billed_cost', m.billed::text, 'recorded_cost', m.recorded::text, 'drift', m.drift::text,
    'billed_requests', m.billed_requests, 'recorded_requests', coalesce(m.requests, 0),
    'billed_input_tokens', m.billed_input, 'recorded_input_tokens', coalesce(m.input_tokens, 0),
    'billed_output_tokens', m.billed_output, 'recorded_output_tokens', coalesce(m.output_tokens, 0),
    'causes', observability_internal.describe_causes(array(
      select p from unnest(parts) as p where p.family <> '' and p.family = m.family
    ))
  ) order by abs(m.drift) desc, m.family), '[]')
  from models as m;
$$;

comment on function observability_internal.describe_models is
'Bill, record and causes by model family; lines that name no model have a null key, a null side is absent.';
revoke execute on function observability_internal.describe_models from public;
grant execute on function observability_internal.describe_models to authenticated, service_role;

create function observability_internal.describe_days(
  provider text, from_day date, to_day date, recorded observability_internal.recorded_day[],
  parts observability_internal.drift_part[]
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'day', d.day, 'state', d.state, 'source', d.source, 'billed_cost', d.billed_cost::text,
    'recorded_cost', d.recorded_cost::text, 'drift', (d.billed_cost - d.recorded_cost)::text,
    'drift_fraction', round(observability_internal.drift_fraction(d.billed_cost, d.recorded_cost), 6)::text,
    'billed_requests', d.billed_requests, 'recorded_requests', d.recorded_requests,
    'unpriced_requests', d.unpriced_requests, 'fallback_requests', d.fallback_requests,
    'estimated_requests', d.estimated_requests, 'other_currency_lines', d.other_currency_lines,
    'fetched_at', d.fetched_at,
    'causes', observability_internal.describe_causes(array(select p from unnest(parts) as p where p.day = d.day))
  ) order by d.day), '[]')
  from observability_internal.reconcile_days(
    describe_days.provider, describe_days.from_day, describe_days.to_day, recorded
  ) as d;
$$;

comment on function observability_internal.describe_days is 'Bill, record and causes by UTC day.';
revoke execute on function observability_internal.describe_days from public;
grant execute on function observability_internal.describe_days to authenticated, service_role;

create function observability_internal.describe_totals(
  provider text, from_day date, to_day date, recorded observability_internal.recorded_day[]
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with totals as (
    select
      sum(d.billed_cost) as billed, sum(d.recorded_cost) filter (where d.billed_cost is not null) as recorded,
      count(d.billed_cost) as days, count(*) filter (where d.state = 'open') as open_days,
      count(*) - count(d.billed_cost) as days_without_bill,
      sum(d.billed_requests) filter (where d.billed_cost is not null) as billed_requests,
      sum(d.recorded_requests) filter (where d.billed_cost is not null) as recorded_requests,
      coalesce(sum(d.other_currency_lines), 0) as other_currency_lines, max(d.fetched_at) as fetched_at
    from observability_internal.reconcile_days(
      describe_totals.provider, describe_totals.from_day, describe_totals.to_day, describe_totals.recorded
    ) as d
  )
  select jsonb_build_object(
    'days', t.days, 'open_days', t.open_days, 'days_without_bill', t.days_without_bill,
    'billed_requests', t.billed_requests, 'recorded_requests', t.recorded_requests,
    'other_currency_lines', t.other_currency_lines, 'fetched_at', t.fetched_at, 'billed_cost', t.billed::text,
    'recorded_cost', t.recorded::text, 'drift', (t.billed - t.recorded)::text,
    'drift_fraction', round(observability_internal.drift_fraction(t.billed, t.recorded), 6)::text
  )
  from totals as t;
$$;

comment on function observability_internal.describe_totals is 'Bill and record of all compared days together.';
revoke execute on function observability_internal.describe_totals from public;
grant execute on function observability_internal.describe_totals to authenticated, service_role;

create function observability_internal.describe_revisions(provider text, from_day date, to_day date) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'day', r.day, 'source', r.source, 'old_cost', r.old_amount::text, 'new_cost', r.new_amount::text,
    'amount', (r.new_amount - r.old_amount)::text, 'revised_at', r.revised_at
  ) order by r.day, r.revision_id), '[]')
  from observability_internal.provider_cost_revisions as r
  where r.provider = describe_revisions.provider and r.day >= describe_revisions.from_day
    and r.day < describe_revisions.to_day;
$$;

comment on function observability_internal.describe_revisions is
'The days whose bill changed after it had been read: [{day, source, old_cost, new_cost, amount, revised_at}].';
revoke execute on function observability_internal.describe_revisions from public;
grant execute on function observability_internal.describe_revisions to authenticated, service_role;

create function observability_internal.one_bill(filters jsonb) returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_providers constant text[] := coalesce(observability_internal.filter_values(filters, 'provider'), '{openai}');
  v_unsplit text;
begin
  select n.name into v_unsplit
  from unnest('{model,feature,operation,status,user_id,tenant_id,tags,metadata}'::text[]) as n (name)
  where coalesce(filters -> n.name, 'null') not in ('null', '[]', '{}')
    or coalesce(filters -> 'not' -> n.name, 'null') not in ('null', '[]', '{}')
  limit 1;
  if v_unsplit is not null then
    raise exception 'a bill cannot be filtered by %', v_unsplit using errcode = '22023';
  end if;
  if cardinality(v_providers) <> 1 or v_providers && observability_internal.filter_values(filters -> 'not', 'provider') then
    raise exception 'a reconciliation is of one provider' using errcode = '22023';
  end if;
  return v_providers[1];
end;
$$;

comment on function observability_internal.one_bill is 'The provider whose bill the filters ask for; refuses what a bill cannot be filtered by.';
revoke execute on function observability_internal.one_bill from public;
grant execute on function observability_internal.one_bill to authenticated, service_role;

create function observability.get_reconciliation(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
-- The arrays' sizes are unknown to the planner: it would take them for small and compare each row with each.
set enable_nestloop = off
set timezone = 'UTC'
as $$
declare
  v_access constant text := observability_internal.require_access('{analyst,ops,service}');
  -- Where none is named, all but demo data count: so they do where some are left out.
  v_environments constant text[] := case
    when observability_internal.filter_values(filters, 'environment') is not null
      then observability_internal.kept_names(filters, 'environment')
    else array_remove(observability_internal.kept_names(filters, 'environment'), 'demo')
  end;
  v_provider constant text := observability_internal.one_bill(filters);
  v_from_day constant date := date_trunc('day', get_reconciliation.from_time)::date;
  v_to_day constant date := (date_trunc('day', get_reconciliation.to_time - interval '1 microsecond') + interval '1 day')::date;
  v_compared date[];
  v_all observability_internal.recorded_day[];
  v_recorded observability_internal.recorded_day[];
  v_lines observability_internal.provider_costs[];
  v_parts observability_internal.drift_part[];
  v_items observability_internal.drift_item[];
begin
  perform observability_internal.check_filters(get_reconciliation.from_time, get_reconciliation.to_time, filters);
  v_all := observability_internal.recorded_usage(v_provider, v_from_day, v_to_day, v_environments);
  v_compared := array(
    select d.day
    from observability_internal.reconcile_days(v_provider, v_from_day, v_to_day, v_all) as d
    where d.billed_cost is not null
  );
  v_recorded := array(select r from unnest(v_all) as r where r.day = any (v_compared));
  v_lines := array(
    select b
    from observability_internal.billed_lines(v_provider, v_from_day, v_to_day) as b
    where b.day = any (v_compared) and (b.kind = 'usage' or b.currency = 'usd')
  );
  v_parts := array(select p from observability_internal.drift_parts(v_lines, v_recorded) as p);
  v_items := array(
    select i
    from observability_internal.drift_items(array(
      select l from unnest(v_lines) as l
      where l.project_id not in (select p.name from unnest(v_parts) as p where p.cause = 'unrecorded_projects')
    ), v_recorded) as i
  );
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end, 'provider', v_provider,
    'currency', 'usd', 'from_day', v_from_day, 'to_day', v_to_day, 'generated_at', clock_timestamp(),
    'totals', observability_internal.describe_totals(v_provider, v_from_day, v_to_day, v_all),
    'days', observability_internal.describe_days(v_provider, v_from_day, v_to_day, v_all, v_parts),
    'by_model', observability_internal.describe_models(v_parts, v_lines, v_recorded),
    'items', observability_internal.describe_items(v_parts, v_items, 500),
    'explanations', observability_internal.describe_causes(v_parts),
    'hints', observability_internal.describe_hints(v_parts, v_lines, v_recorded),
    'revisions', observability_internal.describe_revisions(v_provider, v_from_day, v_to_day)
  );
end;
$$;

comment on function observability.get_reconciliation is
'The provider''s bill beside what was recorded: {totals, days, by_model, items, explanations, hints, revisions}, '
'whole UTC days. Filters: provider, environment. Analysts and ops.';
revoke execute on function observability.get_reconciliation from public;
grant execute on function observability.get_reconciliation to authenticated, service_role;
