-- Compares the levels of the rollups with the raw rows, and rebuilds those of a range.
-- Locks: none to apply, it only creates. At run time rebuilding takes the roll-up's advisory lock and ROW EXCLUSIVE on
-- the rollups; comparing takes none.

create type observability_internal.level_sum as (
  day timestamptz,
  level text,
  requests numeric,
  tokens numeric,
  cost numeric,
  samples numeric
);

-- Months without a partition are archived. An archived month can still have a partition, which holds late rows only.
create function observability_internal.has_raw_rows(kind text, day timestamptz) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select pg_catalog.to_regclass(
    'observability_internal.' || observability_internal.archive_table(kind) || '_' || to_char(day at time zone 'UTC', 'YYYYMM')
  ) is not null
  and not exists (
    select from observability_internal.archived_months as a
    where a.kind = has_raw_rows.kind and a.month = date_trunc('month', has_raw_rows.day at time zone 'UTC')::date
      and not a.is_restored
  )
  and not exists (
    select from observability_internal.restored_months as r
    where r.kind = has_raw_rows.kind and r.month = date_trunc('month', has_raw_rows.day at time zone 'UTC')::date
      and not r.is_complete
  );
$$;

comment on function observability_internal.has_raw_rows is
'Whether all raw rows (usage or performance) of a UTC day are in the database; if not, its rollups hold what is '
'archived.';
revoke execute on function observability_internal.has_raw_rows from public;
grant execute on function observability_internal.has_raw_rows to service_role;

create function observability_internal.sum_busy_users(days timestamptz[]) returns setof observability_internal.level_sum
language sql
stable
security invoker
set search_path = ''
as $$
  -- All calls, those of busy users as their merged histograms have them; where no user is busy there is nothing to compare.
  select m.bucket, 'busy user day', null::numeric, null::numeric, null::numeric, m.samples + (
    select coalesce(sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(q.latency) as e (entry))), 0)
    from observability_internal.usage_by_user as q
    where q.bucket >= m.bucket and q.bucket < m.bucket + interval '1 day' and q.user_key <> all (m.user_keys)
  )
  from (
    select r.bucket, array_agg(r.user_key) as user_keys,
      sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(r.latency) as e (entry))) as samples
    from observability_internal.latency_by_user as r
    inner join observability_internal.latency_groups as g on r.group_id = g.group_id and g.kind = 'total'
    where r.level = 'day' and r.bucket = any (sum_busy_users.days)
    group by r.bucket
  ) as m;
$$;

comment on function observability_internal.sum_busy_users is 'Calls with a latency by UTC day, those of busy users from their merged days.';
revoke execute on function observability_internal.sum_busy_users from public;
grant execute on function observability_internal.sum_busy_users to service_role;

-- One statement and so one snapshot: what is stored or rolled up meanwhile is in both sides or in neither.
create function observability_internal.sum_levels(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.level_sum
language sql
stable
security invoker
set search_path = ''
as $$
  with condensed as materialized (
    select g.day
    from generate_series(sum_levels.from_time, sum_levels.to_time - interval '1 microsecond', '1 day') as g (day)
    where not exists (
      select from observability_internal.stale_rollups as s
      where s.level in ('hour', 'day') and s.bucket >= g.day and s.bucket < g.day + interval '1 day'
    )
  )
  select date_trunc('day', m.created_at, 'UTC'), 'raw', count(*), sum(m.prompt_tokens + m.completion_tokens),
    coalesce(sum(m.estimated_cost) filter (where m.cost_source <> 'fallback'), 0), count(m.latency_ms)
  from observability_internal.ai_usage_metrics as m
  where m.created_at >= sum_levels.from_time and m.created_at < sum_levels.to_time
    and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
  group by 1
  union all
  select date_trunc('day', r.bucket, 'UTC'), 'minute', sum(r.requests), sum(r.prompt_tokens + r.completion_tokens),
    sum(r.cost), sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(r.latency) as e (entry)))
  from observability_internal.minutes_within(sum_levels.from_time, sum_levels.to_time) as r
  group by 1
  union all
  select date_trunc('day', r.bucket, 'UTC'), 'user', sum(r.requests), sum(r.prompt_tokens + r.completion_tokens),
    sum(r.cost), sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(r.latency) as e (entry)))
  from observability_internal.usage_by_user as r
  where r.bucket >= sum_levels.from_time and r.bucket < sum_levels.to_time
  group by 1
  union all
  select date_trunc('day', r.bucket, 'UTC'), 'hour', sum(r.requests), sum(r.prompt_tokens + r.completion_tokens),
    sum(r.cost), sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(r.latency) as e (entry)))
  from observability_internal.usage_by_hour as r
  inner join condensed as c on r.bucket >= c.day and r.bucket < c.day + interval '1 day'
  group by 1
  union all
  select r.bucket, 'day', sum(r.requests), sum(r.prompt_tokens + r.completion_tokens), sum(r.cost),
    sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(r.latency) as e (entry)))
  from observability_internal.usage_by_day as r
  inner join condensed as c on r.bucket = c.day
  group by r.bucket
  union all
  select r.bucket, 'user day', sum(r.requests), sum(r.prompt_tokens + r.completion_tokens), sum(r.cost), null
  from observability_internal.users_of_days as r
  inner join condensed as c on r.bucket = c.day
  group by r.bucket
  union all
  select b.* from observability_internal.sum_busy_users(array(select c.day from condensed as c)) as b
  union all
  select r.bucket, 'merged day', sum(r.requests), sum(r.prompt_tokens + r.completion_tokens), sum(r.cost),
    sum((select coalesce(sum((e.entry & 17592186044415)), 0) / 1024 from unnest(r.latency) as e (entry)))
  from observability_internal.latency_by_group as r
  inner join observability_internal.latency_groups as g on r.group_id = g.group_id and g.kind = 'total'
  inner join condensed as c on r.bucket = c.day
  where r.level = 'day'
  group by r.bucket
  union all
  select date_trunc('day', m.created_at, 'UTC'), 'raw requests', round(sum(m.sample_weight)::numeric, 3), null, null, count(*)
  from observability_internal.performance_metrics as m
  where m.created_at >= sum_levels.from_time and m.created_at < sum_levels.to_time
    and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
  group by 1
  union all
  select date_trunc('day', r.bucket, 'UTC'), 'minute of requests', round(sum(r.requests)::numeric, 3), null, null, null
  from observability_internal.performance_by_minute as r
  where r.bucket >= sum_levels.from_time and r.bucket < sum_levels.to_time
  group by 1
  union all
  select r.bucket, 'day of requests', round(sum(r.requests)::numeric, 3), null, null, null
  from observability_internal.performance_by_day as r
  inner join condensed as c on r.bucket = c.day
  group by r.bucket;
$$;

comment on function observability_internal.sum_levels is 'Sums of whole UTC days by level: raw rows that are rolled up, and each rollup that is condensed.';
revoke execute on function observability_internal.sum_levels from public;
grant execute on function observability_internal.sum_levels to service_role;

create function observability_internal.check_day(day timestamptz) returns jsonb
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  with sums as materialized (
    select s.* from observability_internal.sum_levels(check_day.day, check_day.day + interval '1 day') as s
    where observability_internal.has_raw_rows(case when s.level like '%requests' then 'performance' else 'usage' end, s.day)
  ),
  compared as (
    select
      l.day, l.level, l.requests, l.tokens, l.cost, l.samples, coalesce(r.requests, 0) as raw_requests,
      coalesce(r.tokens, 0) as raw_tokens, coalesce(r.cost, 0) as raw_cost, coalesce(r.samples, 0) as raw_samples
    from (
      -- A day with raw rows and none in the minutes is a difference too.
      select s.* from sums as s where s.level not in ('raw', 'raw requests')
      union all
      select s.day, v.level, 0, 0, 0, 0 from sums as s
      inner join (values ('raw', 'minute'), ('raw', 'user'), ('raw requests', 'minute of requests')) as v (source, level)
        on s.level = v.source
      where not exists (select from sums as o where o.day = s.day and o.level = v.level)
    ) as l
    left join sums as r
      on l.day = r.day and r.level = case when l.level like '%of requests' then 'raw requests' else 'raw' end
  ),
  judged as (
    select
      c.*,
      coalesce(abs(c.requests - c.raw_requests) <= 1e-6 * c.raw_requests, true)
      and coalesce(c.level like '%of requests' or c.tokens = c.raw_tokens and c.cost = c.raw_cost, true)
      and coalesce(c.level like '%of requests' or c.samples = c.raw_samples, true) as is_equal
    from compared as c
  )
  select jsonb_build_object(
    'is_exact', coalesce(bool_and(j.is_equal), true),
    'requests', coalesce(sum(j.raw_requests) filter (where j.level = 'minute'), 0),
    'tokens', coalesce(sum(j.raw_tokens) filter (where j.level = 'minute'), 0),
    'cost', coalesce(sum(j.raw_cost) filter (where j.level = 'minute'), 0)::text,
    'levels', coalesce(jsonb_object_agg(j.level, 1), '{}'), 'difference_count', count(*) filter (where not j.is_equal),
    'differences', coalesce(jsonb_agg(jsonb_build_object(
      'day', j.day, 'level', j.level, 'requests', j.requests, 'raw_requests', j.raw_requests, 'tokens', j.tokens,
      'raw_tokens', j.raw_tokens, 'cost', j.cost::text, 'raw_cost', j.raw_cost::text, 'samples', j.samples,
      'raw_samples', j.raw_samples
    ) order by j.level) filter (where not j.is_equal), '[]')
  )
  from judged as j;
$$;

comment on function observability_internal.check_day is 'Compares every level of a UTC day with its raw rows.';
revoke execute on function observability_internal.check_day from public;
grant execute on function observability_internal.check_day to service_role;

create function observability_internal.add_checks(one jsonb, other jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select one || jsonb_build_object(
    'is_exact', (one ->> 'is_exact')::boolean and (other ->> 'is_exact')::boolean,
    'requests', (one ->> 'requests')::numeric + (other ->> 'requests')::numeric,
    'tokens', (one ->> 'tokens')::numeric + (other ->> 'tokens')::numeric,
    'cost', ((one ->> 'cost')::numeric + (other ->> 'cost')::numeric)::text,
    'levels', (
      select coalesce(jsonb_object_agg(l.key, l.days), '{}')
      from (
        select e.key, sum(e.value::integer) as days
        from (select * from jsonb_each(one -> 'levels') union all select * from jsonb_each(other -> 'levels')) as e
        group by e.key
      ) as l
    ),
    'difference_count', (one ->> 'difference_count')::integer + (other ->> 'difference_count')::integer,
    'differences', (
      select coalesce(jsonb_agg(d.value order by d.place), '[]')
      from jsonb_array_elements((one -> 'differences') || (other -> 'differences')) with ordinality as d (value, place)
      where d.place <= 20
    )
  );
$$;

comment on function observability_internal.add_checks is 'What two comparisons of different days found, as one; the first twenty differences.';
revoke execute on function observability_internal.add_checks from public;
grant execute on function observability_internal.add_checks to service_role;

create function observability.verify_rollups(
  from_time timestamptz default null, to_time timestamptz default null, continues timestamptz default null
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set work_mem = '64MB'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_to constant timestamptz := date_trunc('day', coalesce(verify_rollups.to_time, now()) + interval '1 day' - interval '1 microsecond');
  v_from constant timestamptz := date_trunc('day', coalesce(verify_rollups.from_time, v_to - interval '3 days'));
  v_day timestamptz := v_from;
  v_result jsonb;
begin
  if v_from >= v_to or v_to - v_from > interval '400 days' then
    raise exception 'the range must begin before it ends and span at most 400 days' using errcode = '22023';
  end if;
  if verify_rollups.continues is null then
    v_result := jsonb_build_object(
      'checked_at', clock_timestamp(), 'from_time', v_from, 'is_exact', true, 'requests', 0, 'tokens', 0, 'cost', '0',
      'levels', '{}'::jsonb, 'difference_count', 0, 'differences', '[]'::jsonb
    );
  else
    delete from observability_internal.rollup_checks as c
    where c.checked_at = verify_rollups.continues and c.to_time = v_from
    returning c.result into v_result;
    if v_result is null then
      raise exception 'no comparison to continue ends there' using errcode = '22023';
    end if;
  end if;
  loop
    v_result := observability_internal.add_checks(v_result, observability_internal.check_day(v_day));
    v_day := v_day + interval '1 day';
    exit when v_day >= v_to or clock_timestamp() > statement_timestamp() + interval '15 seconds';
  end loop;
  v_result := v_result || jsonb_build_object('to_time', v_day, 'is_done', v_day >= v_to);
  insert into observability_internal.rollup_checks (checked_at, from_time, to_time, is_exact, result)
  values (
    (v_result ->> 'checked_at')::timestamptz, (v_result ->> 'from_time')::timestamptz, v_day, (v_result ->> 'is_exact')::boolean, v_result
  );
  delete from observability_internal.rollup_checks as c where c.checked_at < now() - interval '90 days';
  return v_result;
end;
$$;

comment on function observability.verify_rollups is
'Compares requests, tokens, cost and histogram weights of every level with the raw rows, by UTC days (default: the '
'last three), for about 15 s a call. Returns and keeps {is_exact, is_done, to_time, difference_count, differences, '
'levels, …}; until is_done call again from to_time, continuing its checked_at.';
revoke execute on function observability.verify_rollups from public;
grant execute on function observability.verify_rollups to service_role;

create function observability.rebuild_rollups(from_time timestamptz, to_time timestamptz) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set lock_timeout = '10s'
set work_mem = '64MB'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_day timestamptz := date_trunc('day', rebuild_rollups.from_time);
  v_batches bigint[];
  v_has_usage boolean;
  v_has_requests boolean;
  v_days integer := 0;
  v_skipped integer := 0;
  v_usage_rows bigint := 0;
  v_performance_rows bigint := 0;
begin
  if rebuild_rollups.from_time is null or rebuild_rollups.to_time is null or not rebuild_rollups.from_time < rebuild_rollups.to_time
    or rebuild_rollups.to_time - v_day > interval '32 days' then
    raise exception 'the range must begin before it ends and span at most 31 days' using errcode = '22023';
  end if;
  -- The lock has a statement of its own: what follows sees all that the last increment committed.
  perform pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0));
  while v_day < rebuild_rollups.to_time and clock_timestamp() < statement_timestamp() + interval '15 seconds' loop
    v_has_usage := observability_internal.has_raw_rows('usage', v_day);
    v_has_requests := observability_internal.has_raw_rows('performance', v_day);
    v_days := v_days + (v_has_usage or v_has_requests)::integer;
    v_skipped := v_skipped + (not v_has_usage and not v_has_requests)::integer;
    if v_has_usage then
      delete from observability_internal.usage_by_minute as r where r.bucket >= v_day and r.bucket < v_day + interval '1 day';
      delete from observability_internal.packed_minutes as k where k.bucket >= v_day and k.bucket < v_day + interval '1 day';
      delete from observability_internal.usage_by_user as r where r.bucket >= v_day and r.bucket < v_day + interval '1 day';
      v_batches := array(
        select distinct m.batch_id from observability_internal.ai_usage_metrics as m
        where m.created_at >= v_day and m.created_at < v_day + interval '1 day'
          and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
      );
      v_usage_rows := v_usage_rows + observability_internal.roll_up_usage(
        v_batches, v_day, v_day + interval '1 day' - interval '1 microsecond'
      );
    end if;
    if v_has_requests then
      delete from observability_internal.performance_by_minute as r
      where r.bucket >= v_day and r.bucket < v_day + interval '1 day';
      v_batches := array(
        select distinct m.batch_id from observability_internal.performance_metrics as m
        where m.created_at >= v_day and m.created_at < v_day + interval '1 day'
          and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
      );
      v_performance_rows := v_performance_rows + observability_internal.roll_up_performance(
        v_batches, v_day, v_day + interval '1 day' - interval '1 microsecond'
      );
    end if;
    -- Hours that lost all their rows are condensed again as well.
    perform observability_internal.mark_stale(array(
      select h.hour from generate_series(v_day, v_day + interval '23 hours', '1 hour') as h (hour)
    ));
    v_day := v_day + interval '1 day';
  end loop;
  return jsonb_build_object(
    'is_done', v_day >= rebuild_rollups.to_time, 'to_time', v_day, 'days', v_days, 'skipped_days', v_skipped,
    'usage_rows', v_usage_rows, 'performance_rows', v_performance_rows
  );
end;
$$;

comment on function observability.rebuild_rollups is
'Computes the minutes and users of whole UTC days again from the raw rows (at most 31 days; days whose raw rows are '
'archived stay as they are), for about 15 s a call: until is_done call again from to_time. Coarse levels follow when '
'they are condensed.';
revoke execute on function observability.rebuild_rollups from public;
grant execute on function observability.rebuild_rollups to service_role;
