-- Computes hours, days and weeks from the minutes, bucket by bucket.
-- Locks: none to apply, it only creates. At run time the roll-up's advisory transaction lock and ROW EXCLUSIVE on the
-- coarse rollups.

create function observability_internal.condense_usage(
  target text, source text, unit text, from_time timestamptz, to_time timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  execute format('delete from observability_internal.%I as r where r.bucket >= $1 and r.bucket < $2', target)
  using from_time, to_time;
  execute format(
    $sql$
    with cells as materialized (
      select date_trunc($1, r.bucket, 'UTC') as start, r.*
      from %1$s as r
      where r.bucket >= $2 and r.bucket < $3
    ),
    entries as (
      select c.start, c.dim_id, unnest(c.latency) as latency, unnest(c.time_to_first_token) as first_token from cells as c
    ),
    bins as (
      select e.start, e.dim_id, 1 as measure, e.latency >> 44 as bin,
        sum((e.latency & 17592186044415)::double precision)::bigint as weight
      from entries as e where e.latency is not null
      group by e.start, e.dim_id, e.latency >> 44
      union all
      select e.start, e.dim_id, 2, e.first_token >> 44, sum((e.first_token & 17592186044415)::double precision)::bigint
      from entries as e where e.first_token is not null
      group by e.start, e.dim_id, e.first_token >> 44
    ),
    histograms as (
      select
        b.start, b.dim_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
        array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as time_to_first_token
      from bins as b
      group by b.start, b.dim_id
    ),
    sums as (
      select
        c.start, c.dim_id, %3$s
      from cells as c
      group by c.start, c.dim_id
    )
    insert into observability_internal.%2$I (bucket, dim_id, %4$s, latency, time_to_first_token)
    select s.*, h.latency, h.time_to_first_token from sums as s left join histograms as h using (start, dim_id)
    order by s.start, s.dim_id
    $sql$,
    case source
      when 'usage_by_minute' then 'observability_internal.minutes_within($2, $3)'
      else format('observability_internal.%I', source)
    end,
    target, observability_internal.each_sum('sum(c.%1$I)::%2$s as %1$I'), observability_internal.each_sum('%1$I')
  ) using unit, from_time, to_time;
end;
$$;

comment on function observability_internal.condense_usage is 'Computes rows of a coarse level of calls from a finer one.';
revoke execute on function observability_internal.condense_usage from public;
grant execute on function observability_internal.condense_usage to service_role;

create function observability_internal.condense_performance(
  target text, source text, unit text, from_time timestamptz, to_time timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  execute format('delete from observability_internal.%I as r where r.bucket >= $1 and r.bucket < $2', target)
  using from_time, to_time;
  execute format(
    $sql$
    with cells as materialized (
      select date_trunc($1, r.bucket, 'UTC') as start, r.*
      from observability_internal.%I as r
      where r.bucket >= $2 and r.bucket < $3
    ),
    entries as (
      select c.start, c.route_id, 1 as measure, unnest(c.latency) as entry from cells as c
      union all
      select c.start, c.route_id, 2, unnest(c.time_to_first_byte) from cells as c
    ),
    bins as (
      select e.start, e.route_id, e.measure, e.entry >> 44 as bin,
        sum((e.entry & 17592186044415)::double precision)::bigint as weight
      from entries as e
      group by e.start, e.route_id, e.measure, e.entry >> 44
    ),
    histograms as (
      select
        b.start, b.route_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
        array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as time_to_first_byte
      from bins as b
      group by b.start, b.route_id
    ),
    sums as (
      select c.start, c.route_id, sum(c.requests) as requests from cells as c group by c.start, c.route_id
    )
    insert into observability_internal.%I
    select s.*, h.latency, h.time_to_first_byte from sums as s left join histograms as h using (start, route_id)
    order by s.start, s.route_id
    $sql$, source, target
  ) using unit, from_time, to_time;
end;
$$;

comment on function observability_internal.condense_performance is 'Computes rows of a coarse level of requests from a finer one.';
revoke execute on function observability_internal.condense_performance from public;
grant execute on function observability_internal.condense_performance to service_role;

create function observability_internal.condense_users(period text, from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if condense_users.period = 'day' then
    delete from observability_internal.usage_by_user_day as r
    where r.bucket >= condense_users.from_time and r.bucket < condense_users.to_time;
    insert into observability_internal.usage_by_user_day
    select
      s.bucket, array_agg(s.user_key), array_agg(s.requests), array_agg(s.errors), array_agg(s.prompt_tokens),
      array_agg(s.completion_tokens), array_agg(s.cached_tokens), array_agg(s.unpriced_requests), array_agg(s.cost)
    from (
      select
        date_trunc('day', r.bucket, 'UTC') as bucket, r.user_key, sum(r.requests)::bigint as requests,
        sum(case when d.status = 'error' then r.requests else 0 end)::bigint as errors,
        sum(r.prompt_tokens)::bigint as prompt_tokens, sum(r.completion_tokens)::bigint as completion_tokens,
        coalesce(sum(r.cached_tokens), 0)::bigint as cached_tokens,
        sum(coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0))::bigint as unpriced_requests, sum(r.cost) as cost
      from observability_internal.usage_by_user as r
      inner join observability_internal.dimensions as d using (dim_id)
      where r.bucket >= condense_users.from_time and r.bucket < condense_users.to_time
      group by 1, r.user_key
      order by 1, 2
    ) as s
    group by s.bucket;
  elsif condense_users.period = 'week' then
    delete from observability_internal.usage_by_user_week as r
    where r.dim_id in (select 0 union all select d.dim_id from observability_internal.dimensions as d)
      and r.bucket >= condense_users.from_time and r.bucket < condense_users.to_time;
    insert into observability_internal.usage_by_user_week
    with cells as (
      select
        r.dim_id, date_trunc('week', r.bucket, 'UTC') as bucket, r.user_key, r.requests,
        case when d.status = 'error' then r.requests else 0 end as errors, r.prompt_tokens, r.completion_tokens,
        coalesce(r.cached_tokens, 0) as cached_tokens,
        coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0) as unpriced_requests, r.cost
      from observability_internal.usage_by_user as r
      inner join observability_internal.dimensions as d using (dim_id)
      where r.bucket >= condense_users.from_time and r.bucket < condense_users.to_time
      union all
      select
        0, date_trunc('week', r.bucket, 'UTC'), r.user_key, r.requests, r.errors, r.prompt_tokens, r.completion_tokens,
        r.cached_tokens, r.unpriced_requests, r.cost
      from observability_internal.users_of_days as r
      where r.bucket >= condense_users.from_time and r.bucket < condense_users.to_time
    )
    select
      s.dim_id, s.bucket, array_agg(s.user_key), array_agg(s.requests), array_agg(s.errors), array_agg(s.prompt_tokens),
      array_agg(s.completion_tokens), array_agg(s.cached_tokens), array_agg(s.unpriced_requests), array_agg(s.cost)
    from (
      select
        c.dim_id, c.bucket, c.user_key, sum(c.requests)::bigint as requests, sum(c.errors)::bigint as errors,
        sum(c.prompt_tokens)::bigint as prompt_tokens, sum(c.completion_tokens)::bigint as completion_tokens,
        sum(c.cached_tokens)::bigint as cached_tokens, sum(c.unpriced_requests)::bigint as unpriced_requests, sum(c.cost) as cost
      from cells as c
      group by c.dim_id, c.bucket, c.user_key
      order by c.dim_id, c.bucket, c.user_key
    ) as s
    group by s.dim_id, s.bucket;
  end if;
  perform observability_internal.count_users(condense_users.period, condense_users.from_time, condense_users.to_time);
end;
$$;

comment on function observability_internal.condense_users is 'Computes the rows and counts of users of hours, days, weeks or months.';
revoke execute on function observability_internal.condense_users from public;
grant execute on function observability_internal.condense_users to service_role;

create function observability_internal.count_users(period text, from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  -- Months take the weeks that lie in them, and the quarters of an hour before the first and after the last of these.
  v_first_week constant timestamptz := case when count_users.period = 'month'
    then date_trunc('week', count_users.from_time + interval '7 days' - interval '1 microsecond', 'UTC') else count_users.to_time end;
  v_last_week constant timestamptz := case when count_users.period = 'month'
    then greatest(date_trunc('week', count_users.to_time, 'UTC'), v_first_week) else count_users.to_time end;
begin
  delete from observability_internal.user_counts as r
  where r.period = count_users.period and r.bucket_start >= count_users.from_time
    and r.bucket_start < count_users.to_time;
  with present as (
    select r.dim_id, date_trunc(count_users.period, r.bucket, 'UTC') as start, r.user_key
    from observability_internal.usage_by_user as r
    where r.bucket >= count_users.from_time and r.bucket < least(v_first_week, count_users.to_time)
    union all
    select r.dim_id, date_trunc(count_users.period, r.bucket, 'UTC'), r.user_key
    from observability_internal.usage_by_user as r
    where r.bucket >= v_last_week and r.bucket < count_users.to_time
    union all
    select r.dim_id, date_trunc(count_users.period, r.bucket, 'UTC'), r.user_key
    from (
      select w.dim_id, w.bucket, unnest(w.user_keys) as user_key
      from observability_internal.usage_by_user_week as w
      where w.dim_id <> 0
    ) as r
    where r.bucket >= v_first_week and r.bucket < v_last_week
  ),
  grouped as (
    select distinct p.start, g.group_id, coalesce(o.person_key, p.user_key) as person_key
    from present as p
    left join observability_internal.users as o on p.user_key = o.user_key and o.person_key <> o.user_key
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.cost_groups as g using (provider, model, feature, environment)
  )
  insert into observability_internal.user_counts (period, bucket_start, group_id, user_count)
  select count_users.period, g.start, g.group_id, count(*) from grouped as g group by g.start, g.group_id;
end;
$$;

comment on function observability_internal.count_users is 'Counts the distinct users of each group of cost_aggregates in hours, days, weeks or months.';
revoke execute on function observability_internal.count_users from public;
grant execute on function observability_internal.count_users to service_role;

-- The oldest stale buckets of a level that end by a time and whose finer level is condensed.
create function observability_internal.take_stale(level text, closed_by timestamptz, max_buckets integer)
returns timestamptz[]
language sql
volatile
security invoker
set search_path = ''
as $$
  with ready as (
    select s.bucket
    from observability_internal.stale_rollups as s
    where s.level = take_stale.level
      and date_trunc(take_stale.level, s.bucket + ('1 ' || take_stale.level)::interval, 'UTC') <= closed_by
      and not exists (
        select from observability_internal.stale_rollups as finer
        where finer.level = any (case take_stale.level
            when 'day' then array['hour'] when 'week' then array['day'] when 'month' then array['day', 'week'] end)
          and finer.bucket >= s.bucket and finer.bucket < s.bucket + ('1 ' || take_stale.level)::interval
      )
    order by s.bucket
    limit max_buckets
  ),
  taken as (
    delete from observability_internal.stale_rollups as s
    using ready as r
    where s.level = take_stale.level and s.bucket = r.bucket
    returning s.bucket
  )
  select array_agg(t.bucket) from taken as t;
$$;

comment on function observability_internal.take_stale is 'Takes buckets off the list of what waits to be condensed; null where none is ready.';
revoke execute on function observability_internal.take_stale from public;
grant execute on function observability_internal.take_stale to service_role;

create function observability_internal.condense_level(level text, from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if condense_level.level = 'hour' then
    perform observability_internal.condense_usage('usage_by_hour', 'usage_by_minute', 'hour', from_time, to_time);
    perform observability_internal.condense_performance('performance_by_hour', 'performance_by_minute', 'hour', from_time, to_time);
    perform observability_internal.add_groups();
    perform observability_internal.condense_quarter_groups(from_time, to_time);
    perform observability_internal.condense_hour_groups(from_time, to_time);
  elsif condense_level.level = 'day' then
    perform observability_internal.condense_usage('usage_by_day', 'usage_by_hour', 'day', from_time, to_time);
    perform observability_internal.condense_performance('performance_by_day', 'performance_by_hour', 'day', from_time, to_time);
    perform observability_internal.condense_groups('day', 'hour', from_time, to_time);
    perform observability_internal.condense_busy_users('day', from_time, to_time);
  elsif condense_level.level = 'week' then
    perform observability_internal.condense_groups('week', 'day', from_time, to_time);
    perform observability_internal.condense_busy_users('week', from_time, to_time);
  end if;
  perform observability_internal.condense_users(condense_level.level, from_time, to_time);
end;
$$;

comment on function observability_internal.condense_level is
'Computes the rows of a level (hour, day, week, month) in a range of its buckets from the finer level.';
revoke execute on function observability_internal.condense_level from public;
grant execute on function observability_internal.condense_level to service_role;

create function observability_internal.condense_spans(level text, buckets timestamptz[]) returns void
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_length constant interval := ('1 ' || condense_spans.level)::interval;
  v_span record;
begin
  -- Buckets in a row are one scan of the finer level; months go one by one, since weeks reach over their ends.
  for v_span in
    select min(i.bucket) as from_time, max(i.bucket) + v_length as to_time
    from (
      select b.bucket, sum(b.is_start) over (order by b.bucket) as island
      from (
        select
          u.bucket,
          (condense_spans.level = 'month' or lag(u.bucket) over (order by u.bucket) + v_length is distinct from u.bucket)::integer as is_start
        from unnest(condense_spans.buckets) as u (bucket)
      ) as b
    ) as i
    group by i.island
    order by 1
  loop
    perform observability_internal.condense_level(condense_spans.level, v_span.from_time, v_span.to_time);
  end loop;
end;
$$;

comment on function observability_internal.condense_spans is 'Computes the rows of these buckets of a level.';
revoke execute on function observability_internal.condense_spans from public;
grant execute on function observability_internal.condense_spans to service_role;

create function observability_internal.condense_all(closed_by timestamptz, max_hours integer) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_levels constant text[] := array['hour', 'day', 'week', 'month'];
  v_done integer[] := array[0, 0, 0, 0];
  v_before integer;
  v_hours integer;
  v_is_packed boolean;
  v_buckets timestamptz[];
begin
  -- A day of hours at a time, so that a call ends in time however much waits.
  loop
    v_hours := least(max_hours - v_done[1], 24);
    v_before := v_done[1] + v_done[2] + v_done[3] + v_done[4];
    for v_place in 1 .. 4 loop
      v_buckets := observability_internal.take_stale(
        v_levels[v_place], closed_by, case v_place when 1 then v_hours when 2 then greatest(v_hours / 8, 1) else 1 end
      );
      perform observability_internal.condense_spans(v_levels[v_place], v_buckets);
      v_done[v_place] := v_done[v_place] + coalesce(cardinality(v_buckets), 0);
    end loop;
    v_is_packed := observability_internal.pack_oldest_day();
    exit when v_done[1] >= max_hours or (v_done[1] + v_done[2] + v_done[3] + v_done[4] = v_before and not v_is_packed)
      or clock_timestamp() > statement_timestamp() + interval '15 seconds';
  end loop;
  return jsonb_build_object('hours', v_done[1], 'days', v_done[2], 'weeks', v_done[3], 'months', v_done[4]);
end;
$$;

comment on function observability_internal.condense_all is
'Condenses what ended by a time, for about 15 s; the caller holds the lock. Returns how many buckets of each level.';
revoke execute on function observability_internal.condense_all from public;
grant execute on function observability_internal.condense_all to service_role;

create function observability.condense_rollups(max_hours integer default 24) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set work_mem = '64MB'
set jit = off
as $$
declare
  v_done jsonb;
begin
  if max_hours is null or max_hours not between 1 and 10000 then
    raise exception 'max_hours is from 1 to 10,000' using errcode = '22023';
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    return '{"is_busy": true, "is_done": false, "hours": 0, "days": 0, "weeks": 0, "months": 0}'::jsonb;
  end if;
  v_done := observability_internal.condense_all(now(), max_hours);
  return v_done || jsonb_build_object(
    'is_busy', false, 'is_done', v_done = '{"hours": 0, "days": 0, "weeks": 0, "months": 0}'::jsonb
  );
end;
$$;

comment on function observability.condense_rollups is
'Computes the coarse levels of hours, days, weeks and months that have ended and changed. Returns {is_busy, is_done, '
'hours, days, weeks, months}; call again until is_done.';
revoke execute on function observability.condense_rollups from public;
grant execute on function observability.condense_rollups to service_role;

-- Autovacuum does this too, later: what has no summary is read whole. Where it is at work, the next refresh does it.
create function observability_internal.summarize_ranges() returns void
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '200ms'
as $$
begin
  perform pg_catalog.brin_summarize_new_values('observability_internal.usage_by_user_bucket_idx');
exception
  when lock_not_available then
    null;
end;
$$;

comment on function observability_internal.summarize_ranges is
'Summarizes the new block ranges of the index by time of the rollup by user; the owner''s right.';
revoke execute on function observability_internal.summarize_ranges from public;
