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
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query execute format(
    $sql$
    select
      c.quarter, c.dim_id, c.user_key, %s, array_agg(c.latency) filter (where c.latency is not null),
      array_agg(c.time_to_first_token) filter (where c.time_to_first_token is not null)
    from observability_internal.counted_calls as c
    where c.created_at >= $1 and c.created_at < $2 and ($3 is null or $3 = '{}' or c.metadata @> $3)
      and ($4 is null or c.dim_id = any ($4)) and ($5 is null or c.user_key = any ($5))
      and (c.metadata @> any ($6)) is not true
    group by c.quarter, c.dim_id, c.user_key
    $sql$,
    observability_internal.each_sum('coalesce(sum(c.%1$I), 0)::%2$s')
  ) using raw_cells.from_time, raw_cells.to_time, scope.metadata, scope.dims, scope.user_keys, scope.not_metadata;
end;
$$;

comment on function observability_internal.raw_cells is
'Cells of the raw calls, of those that the scope''s filters by metadata leave where it has any, by quarter of an hour.';
revoke execute on function observability_internal.raw_cells from public;
grant execute on function observability_internal.raw_cells to authenticated, service_role;

create type observability_internal.user_span as (
  from_time timestamptz,
  to_time timestamptz,
  cuts tstzrange[]
);

comment on type observability_internal.user_span is
'A range for the levels by user: the quarters of an hour from from_time to to_time, and the cuts, parts of quarters.';

create function observability_internal.is_kept(span tstzrange) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select (
    select count(*) from observability_internal.ai_usage_metrics as m where m.created_at >= lower(span) and m.created_at < upper(span)
  ) >= (
    select coalesce(sum(r.requests), 0) from observability_internal.usage_by_minute as r
    where r.bucket >= lower(span) and r.bucket < upper(span)
  );
$$;

comment on function observability_internal.is_kept is 'Whether the raw calls of a few whole minutes are still here.';
revoke execute on function observability_internal.is_kept from public;
grant execute on function observability_internal.is_kept to authenticated, service_role;

-- The levels by user know quarters of an hour. What a range cuts off of one is counted from its raw calls; where these
-- are archived, or the range ends now, the whole quarter counts.
create function observability_internal.span_users(from_time timestamptz, to_time timestamptz)
returns observability_internal.user_span
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_first constant timestamptz := date_bin('15 minutes', from_time, '2000-01-01 00:00:00+00');
  v_last constant timestamptz := date_bin('15 minutes', to_time, '2000-01-01 00:00:00+00');
  v_next constant timestamptz := case when v_first < from_time then v_first + interval '15 minutes' else v_first end;
  v_span observability_internal.user_span;
  v_cut tstzrange;
begin
  v_span := row(v_first, to_time, '{}');
  if v_first < from_time and from_time < to_time then
    v_cut := tstzrange(from_time, least(v_next, to_time));
    if observability_internal.is_kept(v_cut) then
      v_span := row(v_next, greatest(v_next, to_time), array[v_cut]);
    end if;
  end if;
  if v_last < to_time and v_last >= v_span.from_time and to_time < now() then
    v_cut := tstzrange(v_last, to_time);
    if observability_internal.is_kept(v_cut) then
      v_span := row(v_span.from_time, v_last, v_span.cuts || v_cut);
    end if;
  end if;
  return v_span;
end;
$$;

comment on function observability_internal.span_users is
'What to read of a range of whole minutes by user: whole quarters of an hour, and parts of quarters from raw calls.';
revoke execute on function observability_internal.span_users from public;
grant execute on function observability_internal.span_users to authenticated, service_role;

create function observability_internal.user_cells(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, has_histograms boolean
) returns setof observability_internal.usage_cell
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_span observability_internal.user_span;
  v_cut tstzrange;
begin
  if scope.cells is not null and not has_histograms then
    return query
    select c.* from unnest(scope.cells) as c
    where c.bucket_start >= user_cells.from_time and c.bucket_start < user_cells.to_time;
  elsif scope.metadata is not null then
    return query select * from observability_internal.raw_cells(scope, user_cells.from_time, user_cells.to_time);
  else
    v_span := observability_internal.span_users(user_cells.from_time, user_cells.to_time);
    foreach v_cut in array v_span.cuts loop
      return query select * from observability_internal.raw_cells(scope, lower(v_cut), upper(v_cut));
    end loop;
    return query execute format(
      $sql$
      select r.bucket, r.dim_id, r.user_key, %s, case when $1 then r.latency end, case when $1 then r.time_to_first_token end
      from observability_internal.usage_by_user as r
      where r.bucket >= $2 and r.bucket < $3 and ($4 is null or r.user_key = any ($4)) and ($5 is null or r.dim_id = any ($5))
      $sql$,
      observability_internal.each_sum('r.%1$I', 'coalesce(r.%1$I, 0)')
    ) using has_histograms, v_span.from_time, v_span.to_time, scope.user_keys, scope.dims;
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
as $$
declare
  v_cells observability_internal.usage_cell[];
begin
  execute format(
    $sql$
    with cells as (
      select r.bucket, r.dim_id, r.user_key, %1$s
      from observability_internal.usage_by_user as r
      where $1 is null and r.user_key = any ($2) and r.bucket >= $3 and r.bucket < $5 and ($6 is null or r.dim_id = any ($6))
      union all
      select c.bucket_start, c.dim_id, c.user_key, %1$s
      from observability_internal.raw_cells($10, $3, $5) as c
      where $1 is not null
    ),
    -- Never before the range, so that the range finds its first cell.
    started as (
      select
        c.*, case
          when c.bucket < $4 then $3
          else greatest($4, coalesce(date_bin($7, c.bucket, '2000-01-01 00:00:00+00'), date_trunc($8, c.bucket, $9)))
        end as start
      from cells as c
    )
    select array(
      select row(s.start, s.dim_id, s.user_key, %2$s, null, null)::observability_internal.usage_cell
      from started as s
      group by s.start, s.dim_id, s.user_key
    )
    $sql$,
    observability_internal.each_sum('%1$I'), observability_internal.each_sum('coalesce(sum(s.%1$I), 0)::%2$s')
  ) into v_cells using
    scope.metadata, scope.user_keys, scope.previous_from, scope.from_time, scope.to_time, scope.dims,
    observability_internal.minute_step(scope.bucket), scope.bucket, scope.timezone, scope;
  return v_cells;
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
    return query execute format(
      $sql$
      select
        coalesce(date_bin($1, c.bucket_start, '2000-01-01 00:00:00+00'), date_trunc($2, c.bucket_start, $3)),
        c.dim_id, c.user_key, %s, null::bigint[], null::bigint[]
      from observability_internal.user_cells($4, $5, $6, false) as c
      $sql$,
      observability_internal.each_sum('c.%1$I')
    ) using v_step, v_bucket, scope.timezone, scope, usage_cells.from_time, usage_cells.to_time;
    return;
  end if;
  v_split := observability_internal.split_range(
    usage_cells.from_time, usage_cells.to_time, case when is_bucketed then scope.cuts else '{}' end,
    case when v_step is not null then 'minute' else 'day' end
  );
  return query execute format(
    $sql$
    select date_trunc($1, r.bucket, $2), r.dim_id, null::integer, %s, null::bigint[], null::bigint[]
    from (
      select d.* from observability_internal.usage_by_day as d where d.bucket = any ($3)
      union all
      select h.* from observability_internal.usage_by_hour as h where h.bucket = any ($4)
    ) as r
    where $5 is null or r.dim_id = any ($5)
    $sql$,
    observability_internal.each_sum('r.%1$I', 'coalesce(r.%1$I, 0)')
  ) using v_bucket, scope.timezone, v_split.days, v_split.hours, scope.dims;
  return query execute format(
    $sql$
    with started as (
      select coalesce(date_bin($1, r.bucket, '2000-01-01 00:00:00+00'), date_trunc($2, r.bucket, $3)) as bucket_start, r.*
      from observability_internal.minutes_at($4, false) as r
      where $5 is null or r.dim_id = any ($5)
    )
    select s.bucket_start, s.dim_id, null::integer, %s, null::bigint[], null::bigint[]
    from started as s
    group by s.bucket_start, s.dim_id
    $sql$,
    observability_internal.each_sum('coalesce(sum(s.%1$I), 0)::%2$s')
  ) using v_step, v_bucket, scope.timezone, v_split.minutes, scope.dims;
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
  v_quarters constant timestamptz[] := observability_internal.quarters_of(v_split.minutes);
begin
  return query
  select r.* from observability_internal.whole_days as r
  where r.bucket = any (v_split.days) and (dims is null or r.dim_id = any (dims))
  union all
  select r.* from observability_internal.whole_hours as r
  where r.bucket = any (v_split.hours) and (dims is null or r.dim_id = any (dims))
  union all
  select r.* from observability_internal.whole_minutes as r
  where r.bucket = any (v_split.minutes) and (dims is null or r.dim_id = any (dims));
  -- Of windows of long ago, which a preview asks about.
  if exists (select from observability_internal.packed_minutes as k where k.bucket = any (v_quarters)) then
    return query execute format(
      $sql$
      select r.bucket, r.dim_id, %s, r.latency, r.time_to_first_token
      from observability_internal.unpacked_minutes as r
      where r.quarter = any ($1) and r.bucket = any ($2) and ($3 is null or r.dim_id = any ($3))
      $sql$,
      observability_internal.each_sum('r.%1$I', 'coalesce(r.%1$I, 0)')
    ) using v_quarters, v_split.minutes, dims;
  end if;
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
