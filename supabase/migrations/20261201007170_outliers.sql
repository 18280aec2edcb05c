-- The hours that the worker judges for rules on what is unusual: of every group, only of those that may be.
-- Locks: none; it only creates.

create type observability_internal.outlier_hour as (
  key text,
  hour timestamptz,
  amount numeric,
  requests bigint
);

comment on type observability_internal.outlier_hour is 'What one group came to in one hour; a null amount is unknown.';

create function observability_internal.outlier_amount(
  metric text, cost numeric, tokens numeric, errors numeric, requests numeric
) returns numeric
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case metric
    when 'anomaly' then cost
    when 'anomaly_tokens' then tokens
    when 'anomaly_errors' then errors
    else requests
  end;
$$;

comment on function observability_internal.outlier_amount is 'Which of these a rule on what is unusual judges.';
revoke execute on function observability_internal.outlier_amount from public;
grant execute on function observability_internal.outlier_amount to service_role;

create function observability_internal.minimum_change(rule observability_internal.alert_rules) returns numeric
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select coalesce(rule.minimum_change, case rule.metric
    when 'anomaly' then 1
    when 'anomaly_tokens' then 10000
    when 'anomaly_errors' then 5
    when 'anomaly_latency_ms' then 500
    else 20
  end);
$$;

comment on function observability_internal.minimum_change is
'How far from the usual something must be before a rule tells: US dollars, tokens, calls, errors or ms.';
revoke execute on function observability_internal.minimum_change from public;
grant execute on function observability_internal.minimum_change to service_role;

create function observability_internal.open_groups(rule_id bigint) returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
  select s.group_key from observability_internal.alert_states as s
  where s.rule_id = open_groups.rule_id and s.state in ('pending', 'firing') and s.group_key <> '';
$$;

comment on function observability_internal.open_groups is 'The groups of a rule that fire or are about to.';
revoke execute on function observability_internal.open_groups from public;
grant execute on function observability_internal.open_groups to service_role;

create function observability_internal.group_of_key(group_by text, user_id text, tenant_id text, tags jsonb) returns text
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case group_by
    when 'user_id' then user_id when 'tenant_id' then nullif(tenant_id, '') else tags ->> substr(group_by, 6)
  end;
$$;

comment on function observability_internal.group_of_key is
'The group of a key of the rollup by user: its user, its tenant or the value of a tag; null where it has none.';
revoke execute on function observability_internal.group_of_key from public;
grant execute on function observability_internal.group_of_key to service_role;

-- Whoever came to less than the minimum in a day cannot be above the usual by as much: one reading of a day leaves most
-- groups out. Of the others those count that are above their own mean hour or day of four weeks by the minimum. A person
-- with several tenants or tags has several keys, which are judged together.
create function observability_internal.suspect_keys(
  rule observability_internal.alert_rules, scope observability_internal.read_scope, most integer
) returns table (user_key integer, key text)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  v_hour constant timestamptz := scope.to_time - interval '1 hour';
  v_before constant timestamptz := scope.to_time - interval '24 hours';
  v_minimum constant numeric := observability_internal.minimum_change(rule);
begin
  return query
  with recent as (
    select
      r.user_key, r.bucket, observability_internal.outlier_amount(
        rule.metric, r.cost + coalesce(r.fallback_cost, 0), r.prompt_tokens + r.completion_tokens,
        case when d.status = 'error' then r.requests else 0 end, r.requests
      ) as amount
    from observability_internal.usage_by_user as r
    inner join observability_internal.dimensions as d using (dim_id)
    where r.bucket >= v_before and r.bucket < scope.to_time and (scope.dims is null or r.dim_id = any (scope.dims))
      and (scope.user_keys is null or r.user_key = any (scope.user_keys))
  ),
  of_keys as (
    select
      r.user_key, sum(r.amount) as of_day, coalesce(sum(r.amount) filter (where r.bucket >= v_hour), 0) as running,
      coalesce(sum(r.amount) filter (where r.bucket >= v_hour - interval '1 hour' and r.bucket < v_hour), 0) as latest
    from recent as r
    group by r.user_key
  ),
  keys as (
    select u.user_key, observability_internal.group_of_key(rule.group_by, u.user_id, a.tenant_id, a.tags) as key
    from observability_internal.users as u
    inner join observability_internal.attributions as a using (attribution_id)
    where rule.group_by <> 'user_id' or u.user_id is distinct from observability_internal.forgotten_user()
  ),
  summed as (
    select k.key, sum(o.of_day) as of_day, sum(o.running) as running, sum(o.latest) as latest
    from of_keys as o
    inner join keys as k using (user_key)
    where k.key is not null
    group by k.key
    having sum(o.of_day) >= v_minimum
  ),
  past as (
    select k.key, sum(observability_internal.outlier_amount(
      rule.metric, s.cost, s.prompt_tokens + s.completion_tokens, s.errors, s.requests
    )) as amount
    from observability_internal.user_sums(scope, v_before - interval '28 days', v_before) as s
    inner join keys as k using (user_key)
    group by k.key
  ),
  compared as (
    select
      s.key, greatest(s.running, s.latest) - coalesce(p.amount, 0) / 672 as above_hour,
      s.of_day - coalesce(p.amount, 0) / 28 as above_day
    from summed as s
    left join past as p using (key)
  ),
  ranked as (
    select
      c.key, row_number() over (order by c.above_hour desc, c.key) as by_hour,
      row_number() over (order by c.above_day desc, c.key) as by_day
    from compared as c
    where greatest(c.above_hour, c.above_day) >= v_minimum
  )
  select k.user_key, k.key
  from keys as k
  where k.key in (select r.key from ranked as r where least(r.by_hour, r.by_day) <= most)
    or k.key in (select observability_internal.open_groups(rule.rule_id));
end;
$$;

comment on function observability_internal.suspect_keys is
'The keys of users, tenants or tags whose last hours or day may be unusual, at most so many by either, and of open alerts.';
revoke execute on function observability_internal.suspect_keys from public;
grant execute on function observability_internal.suspect_keys to service_role;

create function observability_internal.user_hours(
  rule observability_internal.alert_rules, scope observability_internal.read_scope, most integer
) returns setof observability_internal.outlier_hour
language sql
stable
security invoker
set search_path = ''
as $$
  select
    s.key, date_trunc('hour', r.bucket, 'UTC'), sum(observability_internal.outlier_amount(
      rule.metric, r.cost + coalesce(r.fallback_cost, 0), r.prompt_tokens + r.completion_tokens,
      case when d.status = 'error' then r.requests else 0 end, r.requests
    )), sum(r.requests)::bigint
  from observability_internal.suspect_keys(rule, scope, most) as s
  cross join lateral (
    select u.* from observability_internal.usage_by_user as u
    where u.user_key = s.user_key and u.bucket >= (scope).from_time and u.bucket < (scope).to_time
      and ((scope).dims is null or u.dim_id = any ((scope).dims))
  ) as r
  inner join observability_internal.dimensions as d using (dim_id)
  group by s.key, date_trunc('hour', r.bucket, 'UTC');
$$;

comment on function observability_internal.user_hours is 'The hours of eight weeks of the users, tenants or tags that may be unusual.';
revoke execute on function observability_internal.user_hours from public;
grant execute on function observability_internal.user_hours to service_role;

create function observability_internal.latency_hours(
  rule observability_internal.alert_rules, scope observability_internal.read_scope, most integer
) returns setof observability_internal.outlier_hour
language sql
stable
security invoker
set search_path = ''
as $$
  -- The slowest tenth of fewer than 20 calls are one or two.
  with hours as (
    select p.key, p.bucket_start, p.latency_p90, p.latency_count
    from observability_internal.percentiles(
      scope, (scope).from_time, (scope).to_time, coalesce(rule.group_by, 'total'), true, false
    ) as p
  ),
  busiest as (
    select h.key from hours as h group by h.key order by sum(h.latency_count) desc, h.key limit most
  )
  select
    h.key, h.bucket_start, case when h.latency_count >= 20 then h.latency_p90::numeric end, h.latency_count::bigint
  from hours as h
  inner join busiest as b using (key);
$$;

comment on function observability_internal.latency_hours is 'The 90th percentile of latency (ms) by hour, of the busiest groups.';
revoke execute on function observability_internal.latency_hours from public;
grant execute on function observability_internal.latency_hours to service_role;

create function observability_internal.group_hours(
  rule observability_internal.alert_rules, scope observability_internal.read_scope, most integer
) returns setof observability_internal.outlier_hour
language sql
stable
security invoker
set search_path = ''
as $$
  with hours as materialized (
    select
      coalesce(case rule.group_by
        when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
        when 'environment' then d.environment
      end, '') as key, c.bucket_start as hour, sum(observability_internal.outlier_amount(
        rule.metric, c.cost + coalesce(c.fallback_cost, 0), c.prompt_tokens + c.completion_tokens,
        case when d.status = 'error' then c.requests else 0 end, c.requests
      )) as amount, sum(c.requests)::bigint as requests
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time, true) as c
    inner join observability_internal.dimensions as d using (dim_id)
    group by 1, 2
  ),
  summed as (
    select
      h.key, sum(h.amount) as amount,
      greatest(max(h.amount) filter (where h.hour >= (scope).to_time - interval '2 hours'), 0) as of_hour,
      coalesce(sum(h.amount) filter (where h.hour >= (scope).to_time - interval '24 hours'), 0) as of_day
    from hours as h
    group by h.key
  ),
  -- What falls silent has nothing in its last hours: there the largest are judged.
  ranked as (
    select s.key, row_number() over (
      order by
        case when rule.metric = 'anomaly_requests_below' then s.amount else greatest(s.of_hour - s.amount / 1344, s.of_day - s.amount / 56) end
        desc, s.key
    ) as place
    from summed as s
    where rule.group_by is null or rule.metric = 'anomaly_requests_below'
      or greatest(s.of_hour, s.of_day) >= observability_internal.minimum_change(rule)
  )
  select h.key, h.hour, h.amount, h.requests
  from hours as h
  where h.key in (select r.key from ranked as r where r.place <= most)
    or h.key in (select observability_internal.open_groups(rule.rule_id));
$$;

comment on function observability_internal.group_hours is
'The hours of eight weeks of all calls, or of the features, models, providers or environments that may be unusual.';
revoke execute on function observability_internal.group_hours from public;
grant execute on function observability_internal.group_hours to service_role;

-- Who has no history of their own is judged by this. Scopes are left out: a part of the calls is not more than all of them.
create function observability_internal.user_day_bound(metric text, to_time timestamptz) returns numeric
language sql
stable
security invoker
set search_path = ''
as $$
  select case when count(*) >= 20 then percentile_cont(0.99) within group (order by d.amount::double precision)::numeric end
  from (
    -- A person with several tenants or tags has several keys.
    select sum(observability_internal.outlier_amount(
      user_day_bound.metric, r.cost, r.prompt_tokens + r.completion_tokens, r.errors, r.requests
    )) as amount
    from observability_internal.users_of_days as r
    inner join observability_internal.users as u using (user_key)
    where r.bucket >= user_day_bound.to_time - interval '29 days' and r.bucket < user_day_bound.to_time - interval '1 day'
    group by coalesce(u.person_key, u.user_key), r.bucket
  ) as d;
$$;

comment on function observability_internal.user_day_bound is
'What 99 of 100 days of single users came to at most in the last four weeks; null of fewer than 20.';
revoke execute on function observability_internal.user_day_bound from public;
grant execute on function observability_internal.user_day_bound to service_role;

create function observability.get_outlier_series(rule_id bigint, as_of timestamptz default null) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set work_mem = '32MB'
set jit = off
as $$
#variable_conflict use_column
declare
  v_most constant integer := 40;
  v_to constant timestamptz := date_trunc('hour', coalesce(get_outlier_series.as_of, clock_timestamp()), 'UTC') + interval '1 hour';
  v_rule observability_internal.alert_rules;
  v_is_by_key boolean;
  v_scope observability_internal.read_scope;
  v_groups jsonb;
begin
  select * into v_rule from observability_internal.alert_rules as r
  where r.rule_id = get_outlier_series.rule_id and r.metric like 'anomaly%';
  if not found then
    raise exception 'there is no rule % on what is unusual', get_outlier_series.rule_id using errcode = '22023';
  end if;
  v_is_by_key := coalesce(v_rule.group_by in ('user_id', 'tenant_id') or v_rule.group_by like 'tags.%', false);
  v_scope := observability_internal.make_scope(
    v_to - interval '56 days', v_to, v_rule.scope || '{"bucket": "hour", "timezone": "UTC"}'
  );
  with hours as (
    select h.* from observability_internal.user_hours(v_rule, v_scope, v_most) as h where v_is_by_key
    union all
    select h.* from observability_internal.latency_hours(v_rule, v_scope, v_most) as h where v_rule.metric = 'anomaly_latency_ms'
    union all
    select h.* from observability_internal.group_hours(v_rule, v_scope, v_most) as h
    where not v_is_by_key and v_rule.metric <> 'anomaly_latency_ms'
  ),
  lines as (
    select h.key, jsonb_agg(
      jsonb_build_object('hour', h.hour, 'amount', h.amount::text, 'requests', h.requests) order by h.hour
    ) as hours
    from hours as h
    group by h.key
  )
  select coalesce(jsonb_agg(jsonb_build_object('key', l.key, 'hours', l.hours) order by l.key), '[]') into v_groups from lines as l;
  return jsonb_build_object(
    'minimum_change', observability_internal.minimum_change(v_rule)::text, 'groups', v_groups,
    'user_day_bound', case when v_rule.group_by = 'user_id' and v_groups <> '[]' then
      trim_scale(observability_internal.user_day_bound(v_rule.metric, v_to))::text
    end
  );
end;
$$;

comment on function observability.get_outlier_series is
'What a rule on what is unusual judges: {minimum_change, user_day_bound, groups: [{key, hours: [{hour, amount, '
'requests}]}]}, of groups that may be unusual alone.';
revoke execute on function observability.get_outlier_series from public;
grant execute on function observability.get_outlier_series to service_role;
