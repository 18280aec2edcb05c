-- Measures the metric of a rule over its window, for each of its groups.
-- Locks: none; it only creates.

create type observability_internal.alert_figure as (
  group_key text,
  window_start timestamptz,
  window_end timestamptz,
  value numeric,
  sample_count bigint,
  evidence jsonb
);

comment on type observability_internal.alert_figure is 'What a metric came to over one window for one group; a null value is unknown.';

create function observability_internal.is_by_user(rule observability_internal.alert_rules) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select observability_internal.counts_users(rule.group_by, rule.scope);
$$;

comment on function observability_internal.is_by_user is 'Whether a rule reads the rollup by user, whose rows are quarters of an hour.';
revoke execute on function observability_internal.is_by_user from public;
grant execute on function observability_internal.is_by_user to authenticated, service_role;

create function observability_internal.metric_quantile(metric text) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select substring(metric from '^p([0-9]{2})\_')::double precision / 100;
$$;

comment on function observability_internal.metric_quantile is 'The quantile (0 to 1) that a metric is; null where it is none.';
revoke execute on function observability_internal.metric_quantile from public;
grant execute on function observability_internal.metric_quantile to authenticated, service_role;

create function observability_internal.histogram_share_above(histogram bigint[], limit_ms numeric) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  -- What lies in a higher bin than the limit is beyond it.
  select
    sum((e.entry & 17592186044415)::double precision)
    filter (where e.entry >> 44 > ceil(ln(greatest(limit_ms, 0.001)) / 0.020000666706669435)::bigint + 400)
    / nullif(sum((e.entry & 17592186044415)::double precision), 0)
  from (select unnest(histogram) as entry) as e;
$$;

comment on function observability_internal.histogram_share_above is
'The share (0 to 1) of durations beyond a limit in ms, the limit within 1 %; null when none is or the histogram is empty.';
revoke execute on function observability_internal.histogram_share_above from public;
grant execute on function observability_internal.histogram_share_above to authenticated, service_role;

create function observability_internal.histogram_figure(histogram bigint[], quantile double precision, limit_ms numeric)
returns numeric
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when quantile is not null then observability_internal.histogram_quantile(histogram, quantile)
    else coalesce(observability_internal.histogram_share_above(histogram, limit_ms), 0)
  end::numeric;
$$;

comment on function observability_internal.histogram_figure is 'A quantile in ms, or without one the share of durations beyond a limit.';
revoke execute on function observability_internal.histogram_figure from public;
grant execute on function observability_internal.histogram_figure to authenticated, service_role;

-- A lower limit on a sum exists to catch zero traffic, so it needs no minimum sample; what a change compares with has its
-- own.
create function observability_internal.needed_sample(rule observability_internal.alert_rules) returns bigint
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when rule.comparator = 'below' and observability_internal.metric_kinds() ->> rule.metric in ('amount', 'change') then 0
    else rule.minimum_sample
  end;
$$;

comment on function observability_internal.needed_sample is 'Calls that a rule needs before a breach counts: none for a lower limit of what is counted.';
revoke execute on function observability_internal.needed_sample from public;
grant execute on function observability_internal.needed_sample to authenticated, service_role;

create function observability_internal.measure_provider_drift(
  scope jsonb, window_start timestamptz, window_end timestamptz
) returns table (value numeric, sample_count bigint)
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  with days as (
    select
      coalesce((observability_internal.filter_values(scope, 'provider'))[1], 'openai') as provider,
      (date_trunc('day', measure_provider_drift.window_start + interval '1 day' - interval '1 microsecond'))::date as from_day,
      date_trunc('day', measure_provider_drift.window_end)::date as to_day,
      observability_internal.filter_values(scope, 'environment') as environments
  )
  select abs(observability_internal.drift_fraction(sum(d.billed_cost), sum(d.recorded_cost))), count(*)
  from days as w
  cross join lateral observability_internal.reconcile_days(
    w.provider, w.from_day, w.to_day,
    observability_internal.recorded_usage(w.provider, w.from_day, w.to_day, w.environments)
  ) as d
  where d.billed_cost is not null;
$$;

comment on function observability_internal.measure_provider_drift is
'The drift without its sign, as a fraction of the bill, over the whole UTC days of the window that have a bill; null '
'where none has.';
revoke execute on function observability_internal.measure_provider_drift from public;
grant execute on function observability_internal.measure_provider_drift to authenticated, service_role;

create function observability_internal.measure_calls(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz
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
  v_by_user constant boolean := observability_internal.is_by_user(rule);
  v_group_by constant text := coalesce(rule.group_by, '');
  v_metric constant text := rule.metric;
  v_is_share constant boolean := observability_internal.metric_kinds() ->> rule.metric = 'share';
  v_quantile constant double precision := observability_internal.metric_quantile(rule.metric);
  v_limit_ms constant numeric := case when rule.metric like '%latency\_burn\_rate' then rule.objective_ms end;
  v_user_keys constant integer[] := observability_internal.resolve_user_keys(rule.scope, 'service');
begin
  return query
  with cells as (
    select
      c.dim_id, null::integer as user_key, c.requests, c.prompt_tokens + c.completion_tokens as tokens, c.cost + c.fallback_cost as cost,
      c.unpriced_requests, c.estimated_requests,
      case when v_metric like '%first\_token%' then c.time_to_first_token else c.latency end as histogram
    from observability_internal.alert_cells(v_dims, measure_calls.window_start, measure_calls.window_end) as c
    where not v_by_user
    union all
    select
      r.dim_id, r.user_key, r.requests, r.prompt_tokens + r.completion_tokens, r.cost + coalesce(r.fallback_cost, 0),
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
        when 'environment' then d.environment when 'user_id' then u.user_id when 'tenant_id' then a.tenant_id
        else coalesce(a.tags ->> substr(v_group_by, 6), '')
      end as key
    from cells as c
    inner join observability_internal.dimensions as d using (dim_id)
    left join observability_internal.users as u on observability_internal.is_attributed(v_group_by) and c.user_key = u.user_key
    left join observability_internal.attributions as a on u.attribution_id = a.attribution_id
    -- Rows of forgotten people belong to no user, and calls without a tenant or tag to none.
    where (v_group_by <> 'user_id' or u.user_id is distinct from observability_internal.forgotten_user())
      and (v_group_by <> 'tenant_id' or a.tenant_id <> '')
      and (v_group_by not like 'tags.%' or a.tags ? substr(v_group_by, 6))
  ),
  sums as (
    select k.key, row(
      sum(k.requests), coalesce(sum(k.requests) filter (where k.status = 'error'), 0), sum(k.unpriced_requests),
      sum(k.estimated_requests), sum(k.tokens), sum(k.cost)
    )::observability_internal.metric_sums as sums
    from keyed as k
    where num_nulls(v_quantile, v_limit_ms) = 2
    group by k.key
  ),
  quantiles as (
    select
      e.key, observability_internal.histogram_figure(array_agg(e.entry), v_quantile, v_limit_ms) as value,
      observability_internal.histogram_weight(array_agg(e.entry))::bigint as sample_count
    from (select k.key, unnest(k.histogram) as entry from keyed as k where num_nulls(v_quantile, v_limit_ms) < 2) as e
    group by e.key
  )
  select
    s.key,
    case when v_is_share then p.amount / nullif(p.base, 0) when p.base > 0 then p.amount end,
    (s.sums).requests::bigint
  from sums as s
  cross join lateral observability_internal.metric_parts(v_metric, s.sums) as p
  union all
  select q.key, q.value, q.sample_count from quantiles as q;
end;
$$;

comment on function observability_internal.measure_calls is 'A metric of LLM calls over a window, a row per group that has calls.';
revoke execute on function observability_internal.measure_calls from public;
grant execute on function observability_internal.measure_calls to authenticated, service_role;

create function observability_internal.measure_routes(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz
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
  v_is_share constant boolean := observability_internal.metric_kinds() ->> rule.metric = 'share';
  v_quantile constant double precision := observability_internal.metric_quantile(rule.metric);
  v_limit_ms constant numeric := case when rule.metric like '%latency\_burn\_rate' then rule.objective_ms end;
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
    select k.key, row(
      sum(k.requests), coalesce(sum(k.requests) filter (where k.is_error), 0), 0, 0, 0, 0
    )::observability_internal.metric_sums as sums
    from keyed as k
    where num_nulls(v_quantile, v_limit_ms) = 2
    group by k.key
  ),
  quantiles as (
    select
      e.key, observability_internal.histogram_figure(array_agg(e.entry), v_quantile, v_limit_ms) as value,
      observability_internal.histogram_weight(array_agg(e.entry))::bigint as sample_count
    from (select k.key, unnest(k.histogram) as entry from keyed as k where num_nulls(v_quantile, v_limit_ms) < 2) as e
    group by e.key
  )
  select
    s.key,
    case when v_is_share then p.amount / nullif(p.base, 0) when p.base > 0 then p.amount end,
    (s.sums).requests::bigint
  from sums as s
  cross join lateral observability_internal.metric_parts(v_metric, s.sums) as p
  union all
  select q.key, q.value, q.sample_count from quantiles as q;
end;
$$;

comment on function observability_internal.measure_routes is 'A metric of HTTP requests over a window, a row per group that has requests.';
revoke execute on function observability_internal.measure_routes from public;
grant execute on function observability_internal.measure_routes to authenticated, service_role;
