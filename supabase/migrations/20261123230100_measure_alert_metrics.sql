-- Purpose: the figure of every metric over a rule's window, for each of its groups.
-- Locks: none.

create type observability_internal.alert_figure as (
  group_key text,
  window_start timestamptz,
  window_end timestamptz,
  value numeric,
  sample_count bigint,
  evidence jsonb
);

comment on type observability_internal.alert_figure is 'What a metric came to over one window for one group; a null value is unknown.';

create function observability_internal.route_alert_cells(window_start timestamptz, window_end timestamptz)
returns setof observability_internal.performance_by_minute
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_split constant observability_internal.range_split := observability_internal.split_range(
    route_alert_cells.window_start, route_alert_cells.window_end, '{}',
    case
      when route_alert_cells.window_end - route_alert_cells.window_start < interval '1 hour' then 'minute'
      when route_alert_cells.window_end - route_alert_cells.window_start < interval '1 day' then 'hour'
      else 'day'
    end
  );
begin
  return query
  select r.* from observability_internal.performance_by_day as r where r.bucket = any (v_split.days)
  union all
  select r.* from observability_internal.performance_by_hour as r where r.bucket = any (v_split.hours)
  union all
  select r.* from observability_internal.performance_by_minute as r where r.bucket = any (v_split.minutes);
end;
$$;

comment on function observability_internal.route_alert_cells(timestamptz, timestamptz) is 'The rollup rows of HTTP requests of a window of whole minutes.';

create function observability_internal.is_by_user(rule observability.alert_rules) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select rule.group_by is not distinct from 'user_id' or rule.scope ? 'user_id';
$$;

comment on function observability_internal.is_by_user(observability.alert_rules) is 'Whether a rule reads the rollup by user, whose rows are quarters of an hour.';

create function observability_internal.metric_quantile(metric text) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select substring(metric from '^p([0-9]{2})\_')::double precision / 100;
$$;

comment on function observability_internal.metric_quantile(text) is 'The quantile (0 to 1) that a metric is; null where it is none.';

-- That nothing comes is what a lower limit of a sum is there to see.
create function observability_internal.needed_sample(rule observability.alert_rules) returns bigint
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when rule.comparator = 'below' and rule.metric in ('spend', 'tokens', 'requests', 'route_requests') then 0
    else rule.minimum_sample
  end;
$$;

comment on function observability_internal.needed_sample(observability.alert_rules) is 'Calls that a rule needs before a breach counts: none for a lower limit of what is counted.';

create function observability_internal.measure_calls(
  rule observability.alert_rules, window_start timestamptz, window_end timestamptz
) returns table (group_key text, value numeric, sample_count bigint)
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_dims constant integer[] := observability_internal.resolve_dimensions(rule.scope);
  v_users constant text[] := observability_internal.filter_values(rule.scope, 'user_id');
  v_by_user constant boolean := observability_internal.is_by_user(rule);
  v_group_by constant text := coalesce(rule.group_by, '');
  v_metric constant text := rule.metric;
  v_quantile constant double precision := observability_internal.metric_quantile(rule.metric);
  v_user_keys constant integer[] := case when v_users is not null then array(
    select u.user_key from observability_internal.users as u where u.user_id = any (v_users)
  ) end;
begin
  return query
  with cells as (
    select
      c.dim_id, null::integer as user_key, c.requests, c.prompt_tokens + c.completion_tokens as tokens, c.cost,
      c.unpriced_requests, c.estimated_requests,
      case when v_metric like '%first\_token%' then c.time_to_first_token else c.latency end as histogram
    from observability_internal.alert_cells(v_dims, measure_calls.window_start, measure_calls.window_end) as c
    where not v_by_user
    union all
    select
      r.dim_id, r.user_key, r.requests, r.prompt_tokens + r.completion_tokens, r.cost,
      coalesce(r.unpriced_requests, 0), coalesce(r.estimated_requests, 0),
      case when v_metric like '%first\_token%' then r.time_to_first_token else r.latency end
    from observability_internal.usage_by_user as r
    where v_by_user and r.bucket >= measure_calls.window_start and r.bucket < measure_calls.window_end
      and (v_dims is null or r.dim_id = any (v_dims)) and (v_user_keys is null or r.user_key = any (v_user_keys))
  ),
  keyed as (
    select
      c.*, d.status,
      case v_group_by
        when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
        when 'environment' then d.environment when 'user_id' then u.user_id else ''
      end as key
    from cells as c
    inner join observability_internal.dimensions as d using (dim_id)
    left join observability_internal.users as u on v_group_by = 'user_id' and c.user_key = u.user_key
    -- What forgotten people left behind is nobody's.
    where u.user_id is distinct from observability_internal.forgotten_user()
  ),
  sums as (
    select
      k.key,
      case v_metric
        -- Where nothing was priced the spend is unknown, not zero.
        when 'spend' then case when sum(k.unpriced_requests) < sum(k.requests) then sum(k.cost) end
        when 'tokens' then sum(k.tokens)
        when 'requests' then sum(k.requests)
        when 'error_rate' then
          coalesce(sum(k.requests) filter (where k.status = 'error'), 0) / nullif(sum(k.requests), 0)
        when 'unpriced_share' then sum(k.unpriced_requests) / nullif(sum(k.requests), 0)
        when 'estimated_share' then sum(k.estimated_requests) / nullif(sum(k.requests), 0)
      end as value,
      sum(k.requests)::bigint as sample_count
    from keyed as k
    where v_quantile is null
    group by k.key
  ),
  quantiles as (
    select
      e.key, observability_internal.histogram_quantile(array_agg(e.entry), v_quantile)::numeric as value,
      observability_internal.histogram_weight(array_agg(e.entry))::bigint as sample_count
    from (select k.key, unnest(k.histogram) as entry from keyed as k where v_quantile is not null) as e
    group by e.key
  )
  select s.key, s.value, s.sample_count from sums as s
  union all
  select q.key, q.value, q.sample_count from quantiles as q;
end;
$$;

comment on function observability_internal.measure_calls(observability.alert_rules, timestamptz, timestamptz) is 'A metric of LLM calls over a window, a row per group that has calls.';

create function observability_internal.measure_routes(
  rule observability.alert_rules, window_start timestamptz, window_end timestamptz
) returns table (group_key text, value numeric, sample_count bigint)
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_routes constant text[] := observability_internal.filter_values(rule.scope, 'route');
  v_methods constant text[] := observability_internal.filter_values(rule.scope, 'method');
  v_environments constant text[] := observability_internal.filter_values(rule.scope, 'environment');
  v_group_by constant text := coalesce(rule.group_by, '');
  v_metric constant text := rule.metric;
  v_quantile constant double precision := observability_internal.metric_quantile(rule.metric);
begin
  return query
  with keyed as (
    select
      c.requests, d.status_code >= 500 or d.error_type <> '' as is_error,
      case when v_metric like '%first\_byte%' then c.time_to_first_byte else c.latency end as histogram,
      case v_group_by when 'route' then d.method || ' ' || d.route when 'environment' then d.environment else '' end as key
    from observability_internal.route_alert_cells(measure_routes.window_start, measure_routes.window_end) as c
    inner join observability_internal.route_dimensions as d using (route_id)
    where (v_routes is null or d.route = any (v_routes)) and (v_methods is null or d.method = any (v_methods))
      and (v_environments is null or d.environment = any (v_environments))
  ),
  sums as (
    select
      k.key,
      case v_metric
        when 'route_requests' then sum(k.requests)
        else coalesce(sum(k.requests) filter (where k.is_error), 0) / nullif(sum(k.requests), 0)
      end::numeric as value,
      sum(k.requests)::bigint as sample_count
    from keyed as k
    where v_quantile is null
    group by k.key
  ),
  quantiles as (
    select
      e.key, observability_internal.histogram_quantile(array_agg(e.entry), v_quantile)::numeric as value,
      observability_internal.histogram_weight(array_agg(e.entry))::bigint as sample_count
    from (select k.key, unnest(k.histogram) as entry from keyed as k where v_quantile is not null) as e
    group by e.key
  )
  select s.key, s.value, s.sample_count from sums as s
  union all
  select q.key, q.value, q.sample_count from quantiles as q;
end;
$$;

comment on function observability_internal.measure_routes(observability.alert_rules, timestamptz, timestamptz) is 'A metric of HTTP requests over a window, a row per group that has requests.';

create function observability_internal.period_start(period text, timezone text, as_of timestamptz) returns timestamptz
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select date_trunc(period, as_of at time zone timezone) at time zone timezone;
$$;

comment on function observability_internal.period_start(text, text, timestamptz) is 'When the calendar day, week or month of a moment began in a time zone.';

create function observability_internal.measure_budget(rule observability.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_budget observability.budgets;
  v_start timestamptz;
  v_end timestamptz;
  v_spend record;
  v_elapsed numeric;
  v_rule observability.alert_rules := rule;
  v_evidence jsonb;
begin
  select * into strict v_budget from observability.budgets as b where b.budget_id = rule.budget_id;
  v_start := observability_internal.period_start(v_budget.period, v_budget.timezone, as_of);
  v_end := ((v_start at time zone v_budget.timezone) + ('1 ' || v_budget.period)::interval) at time zone v_budget.timezone;
  v_rule.metric := 'spend';
  v_rule.scope := v_budget.scope;
  select m.value, m.sample_count into v_spend
  from observability_internal.measure_calls(v_rule, v_start, date_trunc('minute', as_of) + interval '1 minute') as m;
  v_evidence := jsonb_build_object(
    'budget', v_budget.name, 'amount', v_budget.amount::text, 'spent', trim_scale(v_spend.value)::text,
    'period', v_budget.period, 'period_start', v_start, 'period_end', v_end, 'timezone', v_budget.timezone
  );
  if rule.metric = 'budget_used' then
    return query select '', v_start, as_of, v_spend.value / v_budget.amount, coalesce(v_spend.sample_count, 0), v_evidence;
    return;
  end if;
  -- Until the worker has written a forecast, the run rate stands in, from a tenth of the period on.
  v_elapsed := extract(epoch from as_of - v_start) / extract(epoch from v_end - v_start);
  return query
  select
    '', v_start, as_of, case when v_elapsed >= 0.1 then v_spend.value / v_elapsed / v_budget.amount end,
    coalesce(v_spend.sample_count, 0),
    v_evidence || jsonb_build_object('method', 'run_rate', 'forecast', trim_scale(round(v_spend.value / nullif(v_elapsed, 0), 6))::text);
end;
$$;

comment on function observability_internal.measure_budget(observability.alert_rules, timestamptz) is 'The share of a budget that its running period has used, or will have used at its end.';

create function observability_internal.measure_outside(rule observability.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language sql
stable
security invoker
set search_path = ''
as $$
  select v.group_key, v.window_start, v.window_end, v.value, v.sample_count, v.evidence
  from observability_internal.metric_values as v
  where v.rule_id = rule.rule_id and v.evaluated_at <= as_of and v.valid_until > as_of;
$$;

comment on function observability_internal.measure_outside(observability.alert_rules, timestamptz) is 'The values that the worker has written for a rule and that still hold.';

-- Two windows of the same length: the one that the running minute ends, and the last one of whole minutes. The first
-- sees a breach within seconds; the second keeps it in sight when the next minute begins almost empty. A lower limit is
-- judged over the whole window alone, for the running one is not full yet. By user, minutes are quarters of an hour.
create function observability_internal.alert_windows(rule observability.alert_rules, as_of timestamptz)
returns table (window_start timestamptz, window_end timestamptz)
language sql
stable
security invoker
set search_path = ''
as $$
  select
    case
      when rule.period is null then ends.tick - make_interval(secs => rule.window_s)
      else observability_internal.period_start(rule.period, rule.timezone, as_of)
    end,
    ends.tick
  from (select case when observability_internal.is_by_user(rule) then interval '15 minutes' else interval '1 minute' end as step) as s
  cross join lateral (
    values
    (date_bin(s.step, as_of, '2000-01-01 00:00:00+00') + s.step, true),
    (date_bin(s.step, as_of, '2000-01-01 00:00:00+00'), false)
  ) as ends (tick, is_running)
  where case
    -- A bill has days, not minutes: the second window would hold the same ones.
    when rule.period is not null or rule.metric = 'provider_drift' then ends.is_running
    when rule.comparator = 'below' then not ends.is_running
    else true
  end;
$$;

comment on function observability_internal.alert_windows(observability.alert_rules, timestamptz) is 'The windows that a rule is judged over at a moment.';

create function observability_internal.measure_window(
  rule observability.alert_rules, window_start timestamptz, window_end timestamptz, as_of timestamptz
) returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_end constant timestamptz := least(window_end, as_of);
begin
  if rule.metric like '%route\_%' then
    return query
    select m.group_key, measure_window.window_start, v_end, m.value, m.sample_count, '{}'::jsonb
    from observability_internal.measure_routes(rule, measure_window.window_start, measure_window.window_end) as m;
  elsif rule.metric = 'provider_drift' then
    return query
    select '', measure_window.window_start, v_end, d.value, d.sample_count, '{}'::jsonb
    from observability_internal.measure_provider_drift(rule.scope, measure_window.window_start, v_end) as d;
  else
    return query
    select m.group_key, measure_window.window_start, v_end, m.value, m.sample_count, '{}'::jsonb
    from observability_internal.measure_calls(rule, measure_window.window_start, measure_window.window_end) as m;
  end if;
end;
$$;

comment on function observability_internal.measure_window(observability.alert_rules, timestamptz, timestamptz, timestamptz) is 'A rule''s metric over one window.';

create function observability_internal.measure_alert(rule observability.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if rule.metric = 'pipeline_lag_s' then
    return query
    select
      '', as_of, as_of,
      greatest(coalesce(extract(epoch from as_of - min(p.enqueued_at)), 0), 0), 1::bigint,
      jsonb_build_object('pending_rows', coalesce(sum(p.row_count), 0))
    from observability_internal.pending_batches as p;
  elsif rule.metric = 'anomaly' then
    return query select * from observability_internal.measure_outside(rule, as_of);
  elsif rule.budget_id is not null then
    return query select * from observability_internal.measure_outside(rule, as_of) where rule.metric = 'budget_forecast';
    if not found then
      return query select * from observability_internal.measure_budget(rule, as_of);
    end if;
  else
    return query
    select f.*
    from observability_internal.alert_windows(rule, as_of) as w
    cross join lateral observability_internal.measure_window(rule, w.window_start, w.window_end, as_of) as f;
    -- No calls at all are a figure too: zero of what is counted, nothing known of the rest.
    if rule.group_by is null and not found then
      return query
      select
        '', w.window_start, least(w.window_end, as_of),
        case when rule.metric in ('spend', 'tokens', 'requests', 'route_requests') then 0::numeric end, 0::bigint, '{}'::jsonb
      from observability_internal.alert_windows(rule, as_of) as w
      order by w.window_end desc
      limit 1;
    end if;
  end if;
end;
$$;

comment on function observability_internal.measure_alert(observability.alert_rules, timestamptz) is 'A rule''s metric as of a moment: a figure per window and group.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_catalog.pg_proc as p
    where p.pronamespace = 'observability_internal'::regnamespace and p.proname in (
      'route_alert_cells', 'is_by_user', 'metric_quantile', 'needed_sample', 'measure_calls', 'measure_routes',
      'period_start', 'measure_budget', 'measure_outside', 'alert_windows', 'measure_window', 'measure_alert',
      'measure_provider_drift', 'split_range'
    )
  loop
    execute format('grant execute on function %s to authenticated, service_role', v_function);
  end loop;
end;
$$;
