-- When a rule would have fired over the past days.
-- Locks: none; it only creates.

create function observability_internal.backtest_rows(
  rule observability_internal.alert_rules, from_time timestamptz, to_time timestamptz, step interval
) returns table (
  bucket timestamptz, requests numeric, tokens bigint, cost numeric, unpriced_requests bigint, estimated_requests bigint,
  is_error boolean, histogram bigint[], key text
)
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_is_route constant boolean := rule.metric like '%route\_%';
  v_by_user constant boolean := observability_internal.is_by_user(rule);
  v_dims constant integer[] := observability_internal.resolve_dimensions(rule.scope);
  v_user_keys constant integer[] := observability_internal.resolve_user_keys(rule.scope, 'service');
  v_routes constant text[] := observability_internal.filter_values(rule.scope, 'route');
  v_methods constant text[] := observability_internal.filter_values(rule.scope, 'method');
  v_environments constant text[] := observability_internal.filter_values(rule.scope, 'environment');
  v_is_first constant boolean := rule.metric like '%first\_%';
  v_group_by constant text := coalesce(rule.group_by, '');
  v_hours constant timestamptz[] := case when step = interval '1 hour' then
    (observability_internal.split_range(backtest_rows.from_time, backtest_rows.to_time, '{}', 'hour')).hours
  else '{}' end;
begin
  return query
  with cells as (
    select r.bucket, r.dim_id, null::integer as user_key, r.requests::numeric as requests,
      r.prompt_tokens + r.completion_tokens as tokens, r.cost + coalesce(r.fallback_cost, 0) as cost,
      coalesce(r.unpriced_requests, 0) as unpriced_requests,
      coalesce(r.estimated_requests, 0) as estimated_requests,
      case when v_is_first then r.time_to_first_token else r.latency end as histogram
    from (
      select m.*
      from observability_internal.minutes_within(backtest_rows.from_time, backtest_rows.to_time) as m
      where date_trunc('hour', m.bucket) <> all (v_hours)
      union all
      select h.* from observability_internal.usage_by_hour as h where h.bucket = any (v_hours)
    ) as r
    where not v_is_route and not v_by_user and (v_dims is null or r.dim_id = any (v_dims))
    union all
    select r.bucket, r.dim_id, r.user_key, r.requests, r.prompt_tokens + r.completion_tokens,
      r.cost + coalesce(r.fallback_cost, 0), coalesce(r.unpriced_requests, 0), coalesce(r.estimated_requests, 0),
      case when v_is_first then r.time_to_first_token else r.latency end
    from observability_internal.usage_by_user as r
    where v_by_user and r.bucket >= backtest_rows.from_time and r.bucket < backtest_rows.to_time
      and (v_dims is null or r.dim_id = any (v_dims)) and (v_user_keys is null or r.user_key = any (v_user_keys))
  )
  select
    date_bin(step, c.bucket, '2000-01-01 00:00:00+00') as bucket, c.requests, c.tokens, c.cost, c.unpriced_requests,
    c.estimated_requests, d.status = 'error' as is_error, c.histogram,
    case v_group_by
      when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
      when 'environment' then d.environment when 'user_id' then u.user_id when 'tenant_id' then a.tenant_id
      else coalesce(a.tags ->> substr(v_group_by, 6), '')
    end as key
  from cells as c
  inner join observability_internal.dimensions as d using (dim_id)
  left join observability_internal.users as u on observability_internal.is_attributed(v_group_by) and c.user_key = u.user_key
  left join observability_internal.attributions as a on u.attribution_id = a.attribution_id
  where (v_group_by <> 'tenant_id' or a.tenant_id <> '') and (v_group_by not like 'tags.%' or a.tags ? substr(v_group_by, 6))
  union all
  select
    date_bin(step, r.bucket, '2000-01-01 00:00:00+00'), r.requests::numeric, 0, 0, 0, 0,
    d.status_code >= 500 or d.error_type <> '', case when v_is_first then r.time_to_first_byte else r.latency end,
    case v_group_by when 'route' then d.method || ' ' || d.route when 'environment' then d.environment else '' end
  from observability_internal.performance_by_minute as r
  inner join observability_internal.route_dimensions as d using (route_id)
  where v_is_route and r.bucket >= backtest_rows.from_time and r.bucket < backtest_rows.to_time
    and (v_routes is null or d.route = any (v_routes)) and (v_methods is null or d.method = any (v_methods))
    and (v_environments is null or d.environment = any (v_environments));
end;
$$;

comment on function observability_internal.backtest_rows is 'The rollup rows that a rule looks at, with the key of their group.';
revoke execute on function observability_internal.backtest_rows from public;
grant execute on function observability_internal.backtest_rows to authenticated, service_role;

create function observability_internal.backtest_cells(
  rule observability_internal.alert_rules, from_time timestamptz, to_time timestamptz, step interval
) returns table (group_key text, bucket timestamptz, amount numeric, base numeric, sample numeric, critical numeric, resolve numeric)
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_is_quantile constant boolean := observability_internal.metric_quantile(rule.metric) is not null;
  v_metric constant text := rule.metric;
  -- The bin of a threshold: what lies in a higher bin is beyond it.
  v_bins constant bigint[] := array(
    select ceil(ln(greatest(t.threshold, 0.001)) / 0.020000666706669435)::bigint + 400
    from unnest(array[rule.threshold, coalesce(rule.critical_threshold, rule.threshold), coalesce(rule.resolve_threshold, rule.threshold)])
      with ordinality as t (threshold, position)
    order by t.position
  );
begin
  return query
  with named as materialized (
    select r.* from observability_internal.backtest_rows(rule, backtest_cells.from_time, backtest_cells.to_time, step) as r
  )
  select s.key, s.bucket, p.amount, p.base, (s.sums).requests, 0::numeric, 0::numeric
  from (
    select n.key, n.bucket, row(
      sum(n.requests), sum(case when n.is_error then n.requests else 0 end), sum(n.unpriced_requests),
      sum(n.estimated_requests), sum(n.tokens), sum(n.cost)
    )::observability_internal.metric_sums as sums
    from named as n
    where not v_is_quantile
    group by n.key, n.bucket
  ) as s
  cross join lateral observability_internal.metric_parts(v_metric, s.sums) as p
  union all
  select
    e.key, e.bucket, sum(e.weight) filter (where e.bin > v_bins[1]), sum(e.weight), sum(e.weight),
    sum(e.weight) filter (where e.bin > v_bins[2]), sum(e.weight) filter (where e.bin > v_bins[3])
  from (
    select n.key, n.bucket, h.entry >> 44 as bin, (h.entry & 17592186044415)::numeric / 1024 as weight
    from named as n
    cross join lateral unnest(n.histogram) as h (entry)
    where v_is_quantile
  ) as e
  group by e.key, e.bucket;
end;
$$;

comment on function observability_internal.backtest_cells is
'What a rule counts, by group and step: for a quantile, how many calls lie beyond each of its thresholds.';
revoke execute on function observability_internal.backtest_cells from public;
grant execute on function observability_internal.backtest_cells to authenticated, service_role;

create function observability_internal.backtest_windows(
  rule observability_internal.alert_rules, from_time timestamptz, to_time timestamptz, step interval
) returns table (group_key text, bucket timestamptz, amount numeric, base numeric, sample numeric, critical numeric, resolve numeric)
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_window constant interval := make_interval(secs => rule.window_s);
  v_first constant timestamptz := case
    when rule.period is null then backtest_windows.from_time - v_window
    else observability_internal.period_start(rule.period, rule.timezone, backtest_windows.from_time)
  end;
begin
  return query
  with cells as materialized (
    select c.* from observability_internal.backtest_cells(rule, v_first, backtest_windows.to_time, step) as c
  ),
  -- A sum changes where calls come in and where they leave the window: only these moments are looked at.
  changes as (
    select c.group_key, c.bucket, c.amount, c.base, c.sample, c.critical, c.resolve from cells as c
    union all
    select
      c.group_key,
      case
        when rule.period is null then c.bucket + v_window
        else (observability_internal.period_start(rule.period, rule.timezone, c.bucket) at time zone rule.timezone
          + ('1 ' || rule.period)::interval) at time zone rule.timezone
      end,
      0, 0, 0, 0, 0
    from cells as c
  ),
  points as (
    select
      c.group_key, c.bucket, sum(c.amount) as amount, sum(c.base) as base, sum(c.sample) as sample,
      sum(c.critical) as critical, sum(c.resolve) as resolve
    from changes as c
    group by c.group_key, c.bucket
  )
  select
    p.group_key, p.bucket, sum(p.amount) over sliding as amount, sum(p.base) over sliding as base,
    sum(p.sample) over sliding as sample, sum(p.critical) over sliding as critical, sum(p.resolve) over sliding as resolve
  from points as p
  where rule.period is null
  window sliding as (partition by p.group_key order by p.bucket range between (v_window - step) preceding and current row)
  union all
  select
    p.group_key, p.bucket, sum(p.amount) over running, sum(p.base) over running, sum(p.sample) over running, 0, 0
  from points as p
  where rule.period is not null
  window running as (
    partition by p.group_key, observability_internal.period_start(rule.period, rule.timezone, p.bucket)
    order by p.bucket
  );
end;
$$;

comment on function observability_internal.backtest_windows is 'What a rule counts in its window or period, at every step at which it changes.';
revoke execute on function observability_internal.backtest_windows from public;
grant execute on function observability_internal.backtest_windows to authenticated, service_role;

create function observability_internal.backtest_points(
  rule observability_internal.alert_rules, from_time timestamptz, to_time timestamptz, step interval
) returns table (group_key text, moment timestamptz, value numeric, sample numeric, level integer, is_held boolean)
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_quantile constant numeric := observability_internal.metric_quantile(rule.metric)::numeric;
  v_is_share constant boolean := observability_internal.metric_kinds() ->> rule.metric = 'share';
begin
  return query
  with valued as (
    select
      w.*,
      case
        when v_quantile is not null then null
        when v_is_share then w.amount / nullif(w.base, 0)
        when w.base = 0 and w.sample > 0 then null
        else w.amount
      end as value,
      -- How many calls must be slower for the quantile to be.
      w.sample - ceil(v_quantile * greatest(w.sample - 1, 0)) as needed
    from observability_internal.backtest_windows(rule, backtest_points.from_time, backtest_points.to_time, step) as w
    where w.bucket >= backtest_points.from_time - step and w.bucket < backtest_points.to_time
  )
  select
    v.group_key, v.bucket + step, v.value, v.sample,
    case
      when v_quantile is null then (select l.level from observability_internal.alert_level(rule, v.value) as l)
      when v.sample = 0 then null
      when rule.comparator = 'below' then case when coalesce(v.amount, 0) < v.needed then 1 end
      when rule.critical_threshold is not null and v.critical >= v.needed then 2
      when v.amount >= v.needed then 1
    end,
    case
      when v_quantile is not null and rule.comparator = 'above' then v.sample > 0 and v.resolve >= v.needed
      when v_quantile is not null then v.sample > 0 and coalesce(v.resolve, 0) < v.needed
      when rule.comparator = 'above' then v.value > coalesce(rule.resolve_threshold, rule.threshold)
      else v.value < coalesce(rule.resolve_threshold, rule.threshold)
    end
  from valued as v;
end;
$$;

comment on function observability_internal.backtest_points is
'A rule''s figure at every moment at which it changes; level is null where nothing is breached, is_held keeps an '
'alert firing.';
revoke execute on function observability_internal.backtest_points from public;
grant execute on function observability_internal.backtest_points to authenticated, service_role;

create function observability_internal.draft_rule(rule jsonb) returns observability_internal.alert_rules
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_rule observability_internal.alert_rules;
  v_saved jsonb;
begin
  -- Saved and taken back: so a draft is checked exactly as a rule is.
  begin
    v_saved := observability.save_alert_rule(
      (rule - '{rule_id,channels}'::text[]) || jsonb_build_object('name', gen_random_uuid()::text, 'is_enabled', false)
    );
    select * into strict v_rule
    from observability_internal.alert_rules as r
    where r.rule_id = (v_saved ->> 'rule_id')::bigint;
    raise exception 'taken back' using errcode = 'TR001';
  exception
    when sqlstate 'TR001' then
      v_rule.name := rule ->> 'name';
  end;
  return v_rule;
end;
$$;

comment on function observability_internal.draft_rule is 'The rule that a document describes, checked as if it were saved.';
revoke execute on function observability_internal.draft_rule from public;
grant execute on function observability_internal.draft_rule to authenticated, service_role;

create function observability_internal.backtest_series(
  rule observability_internal.alert_rules, from_time timestamptz, to_time timestamptz, step interval, days integer
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('moment', s.slot, 'value', s.value::text) order by s.slot), '[]')
  from (
    select
      date_bin(make_interval(mins => greatest(days * 4, 5)), p.moment, '2000-01-01 00:00:00+00') as slot,
      trim_scale(case (rule).comparator when 'above' then max(p.value) else min(p.value) end) as value
    from observability_internal.backtest_points(rule, backtest_series.from_time, backtest_series.to_time, step) as p
    where p.value is not null and p.moment <= backtest_series.to_time
    group by 1
  ) as s;
$$;

comment on function observability_internal.backtest_series is 'The figure of a rule without groups over the days, at most 360 points: the worst of each.';
revoke execute on function observability_internal.backtest_series from public;
grant execute on function observability_internal.backtest_series to authenticated, service_role;

create function observability_internal.backtest_firings(
  rule observability_internal.alert_rules, from_time timestamptz, to_time timestamptz, step interval
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_point record;
  v_figure observability_internal.alert_figure;
  v_level record;
  v_group text;
  v_pending_since timestamptz;
  v_firing jsonb;
  v_firings jsonb := '[]'::jsonb;
  v_firing_s numeric := 0;
  v_points integer := 0;
begin
  for v_point in
    select p.*, lead(p.moment) over (partition by p.group_key order by p.moment) as next_moment
    from observability_internal.backtest_points(rule, backtest_firings.from_time, backtest_firings.to_time, step) as p
    order by p.group_key, p.moment
  loop
    v_points := v_points + 1;
    if v_group is distinct from v_point.group_key then
      v_group := v_point.group_key;
      v_pending_since := null;
      v_firing := null;
    end if;
    if v_firing is not null and not coalesce(v_point.level is not null or v_point.is_held, rule.no_data <> 'ok') then
      v_firings := v_firings || (v_firing || jsonb_build_object('resolved_at', v_point.moment));
      v_firing_s := v_firing_s + extract(epoch from v_point.moment - (v_firing ->> 'started_at')::timestamptz);
      v_firing := null;
      v_pending_since := null;
    elsif v_firing is null and v_point.level is not null and v_point.sample >= observability_internal.needed_sample(rule) then
      v_pending_since := coalesce(v_pending_since, v_point.moment);
      -- It fires at the next look after its duration, or in between where nothing changes until then.
      if coalesce(v_point.next_moment, backtest_firings.to_time) - v_pending_since >= make_interval(secs => rule.for_s) then
        select f.* into v_figure
        from observability_internal.measure_window(
          rule,
          coalesce(
            observability_internal.period_start(rule.period, rule.timezone, v_point.moment - step),
            v_point.moment - make_interval(secs => rule.window_s)
          ),
          v_point.moment, v_point.moment
        ) as f
        where f.group_key = v_point.group_key;
        select l.* into v_level from observability_internal.alert_level(rule, coalesce(v_figure.value, v_point.value)) as l;
        if v_level.level is not null then
          v_firing := jsonb_build_object(
            'group_key', v_point.group_key,
            'started_at', greatest(v_point.moment, v_pending_since + make_interval(secs => rule.for_s)),
            'value', trim_scale(coalesce(v_figure.value, v_point.value))::text, 'threshold', v_level.threshold::text,
            'severity', v_level.severity, 'sample_count', v_point.sample::bigint
          );
        end if;
      end if;
    elsif v_firing is null then
      v_pending_since := null;
    end if;
    if v_firing is not null and v_point.next_moment is null then
      v_firings := v_firings || (v_firing || jsonb_build_object('resolved_at', null));
      v_firing_s := v_firing_s + extract(epoch from backtest_firings.to_time - (v_firing ->> 'started_at')::timestamptz);
    end if;
  end loop;
  return jsonb_build_object(
    'points', v_points, 'firing_count', jsonb_array_length(v_firings), 'firing_s', round(v_firing_s),
    'firings', (
      select coalesce(jsonb_agg(f.firing order by f.firing ->> 'started_at' desc), '[]')
      from (
        select e.firing from jsonb_array_elements(v_firings) as e (firing) order by e.firing ->> 'started_at' desc limit 200
      ) as f
    )
  );
end;
$$;

comment on function observability_internal.backtest_firings is 'When a rule would have fired: {points, firing_count, firing_s, firings}, the latest 200 first.';
revoke execute on function observability_internal.backtest_firings from public;
grant execute on function observability_internal.backtest_firings to authenticated, service_role;

create function observability.backtest_rule(rule jsonb, days integer default 30, as_of timestamptz default null) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '30s'
set jit = off
as $$
#variable_conflict use_column
declare
  v_rule observability_internal.alert_rules;
  v_to constant timestamptz := date_trunc('minute', coalesce(backtest_rule.as_of, clock_timestamp()));
  v_from constant timestamptz := v_to - make_interval(days => days);
  v_step interval;
  v_series jsonb := '[]'::jsonb;
begin
  perform observability_internal.require_access('{ops,service}');
  if days is null or days not between 1 and 90 then
    raise exception 'days is from 1 to 90' using errcode = '22023';
  end if;
  v_rule := observability_internal.draft_rule(rule);
  if observability_internal.metric_kinds() ->> v_rule.metric = 'figure' then
    raise exception 'the metric % keeps no history to test a rule on', v_rule.metric using errcode = '22023';
  end if;
  if observability_internal.metric_kinds() ->> v_rule.metric in ('change', 'burn') or v_rule.conditions <> '[]' then
    raise exception 'comparisons, burn rates and conditions are not back-tested' using errcode = '22023';
  end if;
  v_step := case
    when observability_internal.is_by_user(v_rule) then interval '15 minutes'
    when v_rule.window_s <= 21600 or v_rule.metric like '%route\_%' then interval '1 minute'
    else interval '1 hour'
  end;
  if v_rule.group_by is null and observability_internal.metric_quantile(v_rule.metric) is null then
    v_series := observability_internal.backtest_series(v_rule, v_from, v_to, v_step, days);
  end if;
  return observability_internal.backtest_firings(v_rule, v_from, v_to, v_step) || jsonb_build_object(
    'from_time', v_from, 'to_time', v_to, 'step_s', extract(epoch from v_step)::integer, 'series', v_series
  );
end;
$$;

comment on function observability.backtest_rule is
'When a drafted rule would have fired over the last days (1 to 90): {firing_count, firing_s, firings, series, '
'step_s}. Ops only; nothing is saved.';
revoke execute on function observability.backtest_rule from public;
grant execute on function observability.backtest_rule to authenticated, service_role;
