-- Reads sums of calls from the coarsest levels that cover a range exactly.
-- Locks: none; it only creates.

create type observability_internal.range_split as (
  weeks timestamptz[],
  days timestamptz[],
  hours timestamptz[],
  partial_hours timestamptz[],
  minutes timestamptz[],
  spans tstzrange[]
);

comment on type observability_internal.range_split is
'UTC buckets that cover a range: each at the coarsest level at which no boundary cuts it and it is condensed; partial'
' hours are read by minute; spans are all hours and minutes as ranges.';

-- Security definer: a member's page must know which of its own buckets are not condensed; the policy shows the list, which
-- tells when anybody called, to analysts only.
create function observability_internal.stale_buckets(level text) returns setof timestamptz
language sql
stable
security definer
set search_path = ''
rows 20
as $$
  select s.bucket from observability_internal.stale_rollups as s where s.level = stale_buckets.level;
$$;

comment on function observability_internal.stale_buckets is 'The buckets of a level that wait to be condensed.';
revoke execute on function observability_internal.stale_buckets from public;
grant execute on function observability_internal.stale_buckets to authenticated, service_role;

create function observability_internal.split_range(
  from_time timestamptz, to_time timestamptz, cuts timestamptz[], coarsest text
) returns observability_internal.range_split
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_split observability_internal.range_split;
begin
  v_split.weeks := array(
    select g.bucket
    from generate_series(date_trunc('week', split_range.from_time), split_range.to_time, '7 days') as g (bucket)
    where coarsest = 'week' and g.bucket >= split_range.from_time and g.bucket + interval '7 days' <= split_range.to_time
    except
    select s.bucket from observability_internal.stale_buckets('week') as s (bucket)
    except
    select date_trunc('week', c.cut) from unnest(cuts) as c (cut) where date_trunc('week', c.cut) <> c.cut
  );
  v_split.days := array(
    select g.bucket
    from generate_series(date_trunc('day', split_range.from_time), split_range.to_time, '1 day') as g (bucket)
    where coarsest in ('day', 'week') and g.bucket >= split_range.from_time
      and g.bucket + interval '1 day' <= split_range.to_time and date_trunc('week', g.bucket) <> all (v_split.weeks)
    except
    select s.bucket from observability_internal.stale_buckets('day') as s (bucket)
    except
    select date_trunc('day', c.cut) from unnest(cuts) as c (cut) where date_trunc('day', c.cut) <> c.cut
  );
  v_split.hours := array(
    select g.bucket
    from generate_series(date_trunc('hour', split_range.from_time), split_range.to_time, '1 hour') as g (bucket)
    where coarsest <> 'minute' and g.bucket >= split_range.from_time
      and g.bucket + interval '1 hour' <= split_range.to_time and date_trunc('day', g.bucket) <> all (v_split.days)
      and date_trunc('week', g.bucket) <> all (v_split.weeks)
    except
    select s.bucket from observability_internal.stale_buckets('hour') as s (bucket)
    except
    select date_trunc('hour', c.cut) from unnest(cuts) as c (cut) where date_trunc('hour', c.cut) <> c.cut
  );
  with rest as (
    select
      greatest(g.bucket, split_range.from_time) as from_time,
      least(g.bucket + interval '1 hour', split_range.to_time) as to_time, g.bucket = any (v_split.hours) as is_whole
    from generate_series(
      date_trunc('hour', split_range.from_time), split_range.to_time - interval '1 microsecond', '1 hour'
    ) as g (bucket)
    where date_trunc('day', g.bucket) <> all (v_split.days) and date_trunc('week', g.bucket) <> all (v_split.weeks)
  )
  select
    array(
      select m.minute from rest as r
      cross join lateral generate_series(r.from_time, r.to_time - interval '1 microsecond', '1 minute') as m (minute)
      where not r.is_whole
    ),
    array(select date_trunc('hour', r.from_time) from rest as r where not r.is_whole),
    (select array_agg(s.span) from (
      select unnest(range_agg(tstzrange(r.from_time, r.to_time))) as span from rest as r
    ) as s)
  into v_split.minutes, v_split.partial_hours, v_split.spans;
  return v_split;
end;
$$;

comment on function observability_internal.split_range is
'Covers a range with whole weeks, days and hours (coarsest: week, day, hour or minute) and the minutes between.';
revoke execute on function observability_internal.split_range from public;
grant execute on function observability_internal.split_range to authenticated, service_role;

create function observability_internal.kept_quarters(
  split observability_internal.range_split, from_time timestamptz, to_time timestamptz, is_kept boolean, is_quarterly boolean
) returns timestamptz[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    select g.quarter
    from unnest(case when is_quarterly then (split).hours else array[]::timestamptz[] end || (split).partial_hours) as h (hour)
    cross join lateral generate_series(h.hour, h.hour + interval '45 minutes', '15 minutes') as g (quarter)
    where is_kept and g.quarter >= kept_quarters.from_time and g.quarter + interval '15 minutes' <= kept_quarters.to_time
      and not exists (
        select from observability_internal.stale_rollups as s where s.level = 'hour' and s.bucket = h.hour
      )
  );
$$;

comment on function observability_internal.kept_quarters is
'Quarters of an hour that are kept for all calls: of the hours that a midnight cuts, or of all. Midnights fall on '
'quarters.';
revoke execute on function observability_internal.kept_quarters from public;
grant execute on function observability_internal.kept_quarters to authenticated, service_role;

create function observability_internal.minutes_between(minutes timestamptz[], quarters timestamptz[]) returns timestamptz[]
language sql
immutable
security invoker
set search_path = ''
as $$
  select array(
    select m.minute from unnest(minutes) as m (minute)
    where date_bin('15 minutes', m.minute, '2000-01-01 00:00:00+00') not in (
      select q.quarter from unnest(quarters) as q (quarter)
    )
  );
$$;

comment on function observability_internal.minutes_between is 'The minutes that lie in none of these quarters of an hour.';
revoke execute on function observability_internal.minutes_between from public;
grant execute on function observability_internal.minutes_between to authenticated, service_role;

create function observability_internal.raw_cells(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns setof observability_internal.usage_cell
language sql
stable
security invoker
set search_path = ''
as $$
  select
    date_bin('15 minutes', m.created_at, '2000-01-01 00:00:00+00'), d.dim_id, u.user_key, count(*),
    sum(m.prompt_tokens)::bigint, sum(m.completion_tokens)::bigint, sum(m.cached_tokens)::bigint, sum(m.cache_write_tokens)::bigint,
    sum(m.reasoning_tokens)::bigint, sum(m.audio_input_tokens)::bigint, sum(m.audio_output_tokens)::bigint,
    coalesce(sum(m.estimated_cost) filter (where m.cost_source <> 'fallback'), 0),
    coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'fallback'), 0),
    coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'provider'), 0),
    count(*) filter (where m.cost_source = 'unpriced'), count(*) filter (where m.cost_source = 'fallback'),
    count(*) filter (where m.usage_source <> 'reported'),
    array_agg(((ceil(ln(case when m.latency_ms < 0.001 then 0.001 else m.latency_ms end) / 0.020000666706669435)::bigint + 400) << 44) + 1024)
    filter (where m.latency_ms is not null),
    array_agg(((ceil(ln(case when m.time_to_first_token_ms < 0.001 then 0.001 else m.time_to_first_token_ms end)
      / 0.020000666706669435)::bigint + 400) << 44) + 1024)
    filter (where m.time_to_first_token_ms is not null)
  from observability_internal.ai_usage_metrics as m
  inner join observability_internal.dimensions as d
    on m.provider = d.provider and m.model = d.model and coalesce(m.feature, '') = d.feature
    and m.environment = d.environment and m.operation = d.operation and m.status = d.status
    and coalesce(m.error_type, '') = d.error_type
  inner join observability_internal.users as u on m.user_id = u.user_id
  where m.created_at >= raw_cells.from_time and m.created_at < raw_cells.to_time
    and m.metadata @> (scope).metadata and ((scope).dims is null or d.dim_id = any ((scope).dims))
    and ((scope).user_keys is null or u.user_key = any ((scope).user_keys))
  group by date_bin('15 minutes', m.created_at, '2000-01-01 00:00:00+00'), d.dim_id, u.user_key;
$$;

comment on function observability_internal.raw_cells is 'Cells of the raw calls with this metadata, by quarter of an hour.';
revoke execute on function observability_internal.raw_cells from public;
grant execute on function observability_internal.raw_cells to authenticated, service_role;

create function observability_internal.user_cells(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, has_histograms boolean
) returns setof observability_internal.usage_cell
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_keys constant integer[] := scope.user_keys;
  v_dims constant integer[] := scope.dims;
begin
  if scope.cells is not null and not has_histograms then
    return query
    select c.* from unnest(scope.cells) as c
    where c.bucket_start >= user_cells.from_time and c.bucket_start < user_cells.to_time;
  elsif scope.metadata is not null then
    return query select * from observability_internal.raw_cells(scope, user_cells.from_time, user_cells.to_time);
  else
    return query
    select
      r.bucket, r.dim_id, r.user_key, r.requests, r.prompt_tokens, r.completion_tokens,
      coalesce(r.cached_tokens, 0), coalesce(r.cache_write_tokens, 0), coalesce(r.reasoning_tokens, 0),
      coalesce(r.audio_input_tokens, 0), coalesce(r.audio_output_tokens, 0), r.cost, coalesce(r.fallback_cost, 0),
      coalesce(r.provider_reported_cost, 0), coalesce(r.unpriced_requests, 0), coalesce(r.fallback_requests, 0),
      coalesce(r.estimated_requests, 0), case when has_histograms then r.latency end,
      case when has_histograms then r.time_to_first_token end
    from observability_internal.usage_by_user as r
    where r.bucket >= user_cells.from_time and r.bucket < user_cells.to_time
      and (v_keys is null or r.user_key = any (v_keys)) and (v_dims is null or r.dim_id = any (v_dims));
  end if;
end;
$$;

comment on function observability_internal.user_cells is
'Cells by quarter of an hour and user, with histograms where they are asked for; without them those that the scope'
' holds.';
revoke execute on function observability_internal.user_cells from public;
grant execute on function observability_internal.user_cells to authenticated, service_role;

create function observability_internal.own_cells(scope observability_internal.read_scope)
returns observability_internal.usage_cell[]
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_bucket constant text := scope.bucket;
  v_timezone constant text := scope.timezone;
  v_from constant timestamptz := scope.from_time;
  v_to constant timestamptz := scope.to_time;
  v_before constant timestamptz := scope.previous_from;
  v_keys constant integer[] := scope.user_keys;
  v_dims constant integer[] := scope.dims;
  v_is_raw constant boolean := scope.metadata is not null;
begin
  return array(
    -- Never before the range, so that the range finds its first cell.
    select row(
      case
        when q.bucket < v_from then v_before
        else greatest(v_from, coalesce(date_bin(v_step, q.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, q.bucket, v_timezone)))
      end,
      q.dim_id, q.user_key, sum(q.requests)::bigint, sum(q.prompt_tokens)::bigint, sum(q.completion_tokens)::bigint,
      coalesce(sum(q.cached_tokens), 0)::bigint, coalesce(sum(q.cache_write_tokens), 0)::bigint,
      coalesce(sum(q.reasoning_tokens), 0)::bigint, coalesce(sum(q.audio_input_tokens), 0)::bigint,
      coalesce(sum(q.audio_output_tokens), 0)::bigint, sum(q.cost), coalesce(sum(q.fallback_cost), 0),
      coalesce(sum(q.provider_reported_cost), 0), coalesce(sum(q.unpriced_requests), 0)::bigint,
      coalesce(sum(q.fallback_requests), 0)::bigint, coalesce(sum(q.estimated_requests), 0)::bigint, null, null
    )::observability_internal.usage_cell
    from (
      select
        r.bucket, r.dim_id, r.user_key, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens,
        r.cache_write_tokens, r.reasoning_tokens, r.audio_input_tokens, r.audio_output_tokens, r.cost, r.fallback_cost,
        r.provider_reported_cost, r.unpriced_requests, r.fallback_requests, r.estimated_requests
      from observability_internal.usage_by_user as r
      where not v_is_raw and r.user_key = any (v_keys) and r.bucket >= v_before and r.bucket < v_to
        and (v_dims is null or r.dim_id = any (v_dims))
      union all
      select
        c.bucket_start, c.dim_id, c.user_key, c.requests, c.prompt_tokens, c.completion_tokens, c.cached_tokens,
        c.cache_write_tokens, c.reasoning_tokens, c.audio_input_tokens, c.audio_output_tokens, c.cost, c.fallback_cost,
        c.provider_reported_cost, c.unpriced_requests, c.fallback_requests, c.estimated_requests
      from observability_internal.raw_cells(scope, v_before, v_to) as c
      where v_is_raw
    ) as q
    group by
      case
        when q.bucket < v_from then v_before
        else greatest(v_from, coalesce(date_bin(v_step, q.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, q.bucket, v_timezone)))
      end, q.dim_id, q.user_key
  );
end;
$$;

comment on function observability_internal.own_cells is
'Sums of chosen users by bucket, those of the period before as one bucket.';
revoke execute on function observability_internal.own_cells from public;
grant execute on function observability_internal.own_cells to authenticated, service_role;

create function observability_internal.make_page_scope(from_time timestamptz, to_time timestamptz, filters jsonb)
returns observability_internal.read_scope
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(
    make_page_scope.from_time, make_page_scope.to_time, filters
  );
begin
  if v_scope.user_keys is not null then
    v_scope.cells := observability_internal.own_cells(v_scope);
  end if;
  return v_scope;
end;
$$;

comment on function observability_internal.make_page_scope is
'As make_scope; with the cells of chosen users, so that every part of a page takes them from there.';
revoke execute on function observability_internal.make_page_scope from public;
grant execute on function observability_internal.make_page_scope to authenticated, service_role;

create function observability_internal.usage_cells(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, is_bucketed boolean
) returns setof observability_internal.usage_cell
language plpgsql
stable
security invoker
set search_path = ''
rows 5000
as $$
declare
  v_bucket constant text := case when is_bucketed then scope.bucket end;
  -- Buckets below an hour are the same on every clock.
  v_step constant interval := observability_internal.minute_step(v_bucket);
  v_split observability_internal.range_split;
begin
  if scope.by_user then
    return query
    select
      coalesce(date_bin(v_step, c.bucket_start, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket_start, scope.timezone)),
      c.dim_id, c.user_key, c.requests,
      c.prompt_tokens, c.completion_tokens, c.cached_tokens, c.cache_write_tokens, c.reasoning_tokens,
      c.audio_input_tokens, c.audio_output_tokens, c.cost, c.fallback_cost, c.provider_reported_cost,
      c.unpriced_requests, c.fallback_requests, c.estimated_requests, null::bigint[], null::bigint[]
    from observability_internal.user_cells(scope, usage_cells.from_time, usage_cells.to_time, false) as c;
    return;
  end if;
  v_split := observability_internal.split_range(
    usage_cells.from_time, usage_cells.to_time, case when is_bucketed then scope.cuts else '{}' end,
    case when v_step is not null then 'minute' else 'day' end
  );
  return query
  select
    date_trunc(v_bucket, r.bucket, scope.timezone), r.dim_id, null::integer, r.requests, r.prompt_tokens,
    r.completion_tokens, coalesce(r.cached_tokens, 0), coalesce(r.cache_write_tokens, 0), coalesce(r.reasoning_tokens, 0), coalesce(r.audio_input_tokens, 0),
    coalesce(r.audio_output_tokens, 0), r.cost, coalesce(r.fallback_cost, 0), coalesce(r.provider_reported_cost, 0), coalesce(r.unpriced_requests, 0),
    coalesce(r.fallback_requests, 0), coalesce(r.estimated_requests, 0), null::bigint[], null::bigint[]
  from (
    select d.* from observability_internal.usage_by_day as d where d.bucket = any (v_split.days)
    union all
    select h.* from observability_internal.usage_by_hour as h where h.bucket = any (v_split.hours)
  ) as r
  where scope.dims is null or r.dim_id = any (scope.dims);
  return query
  with started as (
    select
      coalesce(date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, r.bucket, scope.timezone)) as bucket_start,
      r.*
    from observability_internal.usage_by_minute as r
    where r.bucket = any (v_split.minutes) and (scope.dims is null or r.dim_id = any (scope.dims))
  )
  select
    s.bucket_start, s.dim_id, null::integer, sum(s.requests)::bigint, sum(s.prompt_tokens)::bigint,
    sum(s.completion_tokens)::bigint, coalesce(sum(s.cached_tokens), 0)::bigint, coalesce(sum(s.cache_write_tokens), 0)::bigint,
    coalesce(sum(s.reasoning_tokens), 0)::bigint, coalesce(sum(s.audio_input_tokens), 0)::bigint, coalesce(sum(s.audio_output_tokens), 0)::bigint, sum(s.cost),
    coalesce(sum(s.fallback_cost), 0), coalesce(sum(s.provider_reported_cost), 0), coalesce(sum(s.unpriced_requests), 0)::bigint,
    coalesce(sum(s.fallback_requests), 0)::bigint, coalesce(sum(s.estimated_requests), 0)::bigint, null::bigint[], null::bigint[]
  from started as s
  group by s.bucket_start, s.dim_id;
end;
$$;

comment on function observability_internal.usage_cells is
'Sums of a range by bucket (null unless bucketed) and dimensions, read once from the coarsest levels that hold it.';
revoke execute on function observability_internal.usage_cells from public;
grant execute on function observability_internal.usage_cells to authenticated, service_role;

-- Days and hours where they are whole and condensed, minutes elsewhere; no column is null.
create function observability_internal.alert_cells(
  dims integer[], window_start timestamptz, window_end timestamptz
) returns setof observability_internal.usage_by_minute
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_split constant observability_internal.range_split := observability_internal.split_range(
    alert_cells.window_start, alert_cells.window_end, '{}',
    case
      when alert_cells.window_end - alert_cells.window_start < interval '1 hour' then 'minute'
      when alert_cells.window_end - alert_cells.window_start < interval '1 day' then 'hour'
      else 'day'
    end
  );
begin
  return query
  with cells as (
    select r.* from observability_internal.usage_by_day as r where r.bucket = any (v_split.days)
    union all
    select r.* from observability_internal.usage_by_hour as r where r.bucket = any (v_split.hours)
    union all
    select r.* from observability_internal.usage_by_minute as r where r.bucket = any (v_split.minutes)
  )
  select
    c.bucket, c.dim_id, c.requests, c.prompt_tokens, c.completion_tokens, coalesce(c.cached_tokens, 0),
    coalesce(c.cache_write_tokens, 0), coalesce(c.reasoning_tokens, 0), coalesce(c.audio_input_tokens, 0),
    coalesce(c.audio_output_tokens, 0), c.cost, coalesce(c.fallback_cost, 0), coalesce(c.provider_reported_cost, 0),
    coalesce(c.unpriced_requests, 0), coalesce(c.fallback_requests, 0), coalesce(c.estimated_requests, 0), c.latency,
    c.time_to_first_token
  from cells as c
  where dims is null or c.dim_id = any (dims);
end;
$$;

comment on function observability_internal.alert_cells is 'The rollup rows of a window of whole minutes; null dims mean all.';
revoke execute on function observability_internal.alert_cells from public;
grant execute on function observability_internal.alert_cells to authenticated, service_role;

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

comment on function observability_internal.route_alert_cells is 'The rollup rows of HTTP requests of a window of whole minutes.';
revoke execute on function observability_internal.route_alert_cells from public;
grant execute on function observability_internal.route_alert_cells to authenticated, service_role;
