-- Purpose: what read functions share: the checked scope, which buckets of which level to read, cells and percentiles.
-- Locks: none.

alter type observability_internal.read_scope add attribute cuts timestamptz[];

alter type observability_internal.read_scope add attribute metadata jsonb;

alter type observability_internal.read_scope add attribute group_kind text;

alter type observability_internal.read_scope add attribute group_values text[];

comment on type observability_internal.read_scope is 'A checked request for figures. Null dims or user_keys mean no filter; cuts are the boundaries of buckets from an hour up; group_kind is what latency_by_group has histograms of, null where it has none.';

create or replace function observability_internal.choose_bucket(span interval) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select case
    when span <= interval '3 hours' then 'minute'
    when span <= interval '15 hours' then '5 minutes'
    when span <= interval '36 hours' then '15 minutes'
    when span <= interval '200 hours' then 'hour'
    when span <= interval '200 days' then 'day'
    else 'week'
  end;
$$;

create or replace function observability_internal.check_filters(from_time timestamptz, to_time timestamptz, filters jsonb)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_unknown text;
begin
  if from_time is null or to_time is null or not isfinite(from_time) or not isfinite(to_time) then
    raise exception 'from_time and to_time are needed' using errcode = '22023';
  end if;
  if from_time >= to_time or to_time - from_time > interval '400 days' then
    raise exception 'the range must begin before it ends and span at most 400 days' using errcode = '22023';
  end if;
  if filters is null or jsonb_typeof(filters) <> 'object' then
    raise exception 'filters must be a JSON object' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(filters) as k (key)
  where k.key <> all (array[
    'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'metadata', 'timezone', 'bucket',
    'group_by', 'limit', 'cursor'
  ])
  limit 1;
  if v_unknown is not null then
    raise exception 'unknown filter %', left(v_unknown, 100) using errcode = '22023';
  end if;
  if coalesce(filters ->> 'bucket', 'minute') not in ('minute', '5 minutes', '15 minutes', 'hour', 'day', 'week', 'month') then
    raise exception 'bucket is minute, 5 minutes, 15 minutes, hour, day, week or month' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'group_by', 'model') not in ('model', 'feature', 'provider', 'environment', 'operation', 'status', 'user_id') then
    raise exception 'group_by is model, feature, provider, environment, operation, status or user_id'
      using errcode = '22023';
  end if;
  if coalesce(filters ->> 'limit', '10') !~ '^[0-9]{1,4}$' or coalesce(filters ->> 'limit', '10')::integer not between 1 and 1000 then
    raise exception 'limit is from 1 to 1000' using errcode = '22023';
  end if;
  begin
    perform now() at time zone coalesce(filters ->> 'timezone', 'UTC');
  exception
    when invalid_parameter_value then
      raise exception 'unknown time zone %', left(filters ->> 'timezone', 100) using errcode = '22023';
  end;
end;
$$;

-- Metadata is in raw rows only, which are read by the million at most.
create function observability_internal.check_metadata(from_time timestamptz, to_time timestamptz, metadata jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if metadata is null or metadata in ('null', '{}') then
    return null;
  end if;
  if jsonb_typeof(metadata) <> 'object' or exists (
    select from jsonb_each(metadata) as e where jsonb_typeof(e.value) not in ('string', 'number', 'boolean')
  ) or octet_length(metadata::text) > 2000 then
    raise exception 'the filter metadata takes an object of texts, numbers and booleans' using errcode = '22023';
  end if;
  if to_time - from_time > interval '7 days' then
    raise exception 'a filter by metadata reads raw calls: at most 7 days' using errcode = '22023';
  end if;
  if (
    select coalesce(sum(r.requests), 0) > 2000000
    from observability_internal.usage_by_hour as r
    where r.bucket >= check_metadata.from_time - (check_metadata.to_time - check_metadata.from_time)
      and r.bucket < check_metadata.to_time
  ) then
    raise exception 'a filter by metadata reads raw calls: at most 2 million, choose a shorter range' using errcode = '22023';
  end if;
  return metadata;
end;
$$;

comment on function observability_internal.check_metadata(timestamptz, timestamptz, jsonb) is 'The metadata filter, null when empty; refuses (22023) more than 7 days or 2 million calls.';

create or replace function observability_internal.make_scope(from_time timestamptz, to_time timestamptz, filters jsonb)
returns observability_internal.read_scope
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope;
  v_users constant text[] := observability_internal.filter_values(filters, 'user_id');
  v_step interval;
begin
  v_scope.access := observability_internal.require_access('{member,analyst,ops,service}');
  perform observability_internal.check_filters(make_scope.from_time, make_scope.to_time, filters);
  v_scope.metadata := observability_internal.check_metadata(make_scope.from_time, make_scope.to_time, filters -> 'metadata');
  v_scope.timezone := coalesce(filters ->> 'timezone', 'UTC');
  v_scope.group_by := coalesce(filters ->> 'group_by', 'model');
  v_scope.row_limit := coalesce(filters ->> 'limit', '10')::integer;
  v_scope.environments := observability_internal.filter_values(filters, 'environment');
  v_scope.dims := observability_internal.resolve_dimensions(filters);
  select
    case count(*) when 0 then 'total' when 1 then min(f.kind) filter (where f.kind in ('model', 'feature', 'environment')) end,
    observability_internal.filter_values(filters, min(f.kind))
  into v_scope.group_kind, v_scope.group_values
  from unnest(array['provider', 'model', 'feature', 'environment', 'operation', 'status']) as f (kind)
  where observability_internal.filter_values(filters, f.kind) is not null;
  v_scope.by_user := v_scope.access = 'member' or v_users is not null or v_scope.metadata is not null;
  if v_scope.access = 'member' then
    if exists (select from unnest(v_users) as u (user_id) where u.user_id is distinct from auth.jwt() ->> 'sub') then
      raise exception 'members see their own calls only' using errcode = '42501';
    end if;
    v_scope.user_keys := array_remove(array[observability_internal.current_user_key()], null);
  elsif v_users is not null then
    v_scope.user_keys := array(
      select u.user_key from observability_internal.users as u where u.user_id = any (v_users)
    );
  end if;
  v_scope.bucket := coalesce(
    filters ->> 'bucket', observability_internal.choose_bucket(make_scope.to_time - make_scope.from_time)
  );
  if v_scope.by_user and v_scope.bucket in ('minute', '5 minutes') then
    v_scope.bucket := '15 minutes';
  end if;
  -- Outward to what the rollups can tell apart: minutes, or quarters of an hour for a user.
  v_step := case when v_scope.by_user then interval '15 minutes' else interval '1 minute' end;
  v_scope.from_time := date_bin(v_step, make_scope.from_time, '2000-01-01 00:00:00+00');
  v_scope.to_time := date_bin(v_step, make_scope.to_time + v_step - interval '1 microsecond', '2000-01-01 00:00:00+00');
  v_scope.previous_from := v_scope.from_time - (v_scope.to_time - v_scope.from_time);
  if (v_scope.to_time - v_scope.from_time) / 2000 > (
    case when v_scope.bucket like '%minute%' then regexp_replace(v_scope.bucket, '^m', '1 m')::interval
    else ('1 ' || v_scope.bucket)::interval end
  ) then
    raise exception 'a bucket of % is too fine for this range', v_scope.bucket using errcode = '22023';
  end if;
  v_scope.cuts := '{}';
  if v_scope.bucket in ('hour', 'day', 'week', 'month') then
    v_scope.cuts := array(
      select g.local at time zone v_scope.timezone
      from generate_series(
        date_trunc(v_scope.bucket, v_scope.from_time at time zone v_scope.timezone),
        v_scope.to_time at time zone v_scope.timezone,
        ('1 ' || v_scope.bucket)::interval
      ) as g (local)
    );
  end if;
  return v_scope;
end;
$$;

create type observability_internal.range_split as (
  weeks timestamptz[],
  days timestamptz[],
  hours timestamptz[],
  partial_hours timestamptz[],
  minutes timestamptz[],
  spans tstzrange[]
);

comment on type observability_internal.range_split is 'UTC buckets that cover a range: each at the coarsest level at which no boundary cuts it and it is condensed; partial hours are read by minute; spans are all hours and minutes as ranges.';

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
    select s.bucket from observability_internal.stale_rollups as s where s.level = 'week'
    except
    select date_trunc('week', c.cut) from unnest(cuts) as c (cut) where date_trunc('week', c.cut) <> c.cut
  );
  v_split.days := array(
    select g.bucket
    from generate_series(date_trunc('day', split_range.from_time), split_range.to_time, '1 day') as g (bucket)
    where coarsest in ('day', 'week') and g.bucket >= split_range.from_time
      and g.bucket + interval '1 day' <= split_range.to_time and date_trunc('week', g.bucket) <> all (v_split.weeks)
    except
    select s.bucket from observability_internal.stale_rollups as s where s.level = 'day'
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
    select s.bucket from observability_internal.stale_rollups as s where s.level = 'hour'
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

comment on function observability_internal.split_range(timestamptz, timestamptz, timestamptz[], text) is 'Covers a range with whole weeks, days and hours (coarsest: week, day, hour or minute) and the minutes between.';

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

comment on function observability_internal.kept_quarters(observability_internal.range_split, timestamptz, timestamptz, boolean, boolean) is 'Quarters of an hour that are kept for all calls: of the hours that a midnight cuts, or of all. Midnights fall on quarters.';

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

comment on function observability_internal.minutes_between(timestamptz[], timestamptz[]) is 'The minutes that lie in none of these quarters of an hour.';

drop function observability_internal.usage_cells(observability_internal.read_scope, timestamptz, timestamptz) cascade;

create type observability_internal.usage_cell as (
  bucket_start timestamptz,
  dim_id integer,
  user_key integer,
  requests bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  reasoning_tokens bigint,
  audio_input_tokens bigint,
  audio_output_tokens bigint,
  cost numeric,
  fallback_cost numeric,
  provider_reported_cost numeric,
  unpriced_requests bigint,
  fallback_requests bigint,
  estimated_requests bigint,
  latency bigint[],
  time_to_first_token bigint[]
);

comment on type observability_internal.usage_cell is 'Sums of calls by bucket, dimensions and, where read by user, user.';

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
    coalesce(sum(m.estimated_cost), 0),
    coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'fallback'), 0),
    coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'provider'), 0),
    count(*) filter (where m.cost_source = 'unpriced'), count(*) filter (where m.cost_source = 'fallback'),
    count(*) filter (where m.usage_source <> 'reported'),
    array_agg(((ceil(ln(case when m.latency_ms < 0.001 then 0.001 else m.latency_ms end) / 0.020000666706669435)::bigint + 400) << 44) + 1024)
    filter (where m.latency_ms is not null),
    array_agg(((ceil(ln(case when m.time_to_first_token_ms < 0.001 then 0.001 else m.time_to_first_token_ms end) / 0.020000666706669435)::bigint + 400) << 44) + 1024)
    filter (where m.time_to_first_token_ms is not null)
  from observability.ai_usage_metrics as m
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

comment on function observability_internal.raw_cells(observability_internal.read_scope, timestamptz, timestamptz) is 'Cells of the raw calls with this metadata, by quarter of an hour.';

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
  if scope.metadata is not null then
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

comment on function observability_internal.user_cells(observability_internal.read_scope, timestamptz, timestamptz, boolean) is 'Cells by quarter of an hour and user; histograms where they are asked for.';

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
  from observability_internal.usage_by_day as r
  where r.bucket = any (v_split.days) and (scope.dims is null or r.dim_id = any (scope.dims))
  union all
  select
    date_trunc(v_bucket, r.bucket, scope.timezone), r.dim_id, null::integer, r.requests, r.prompt_tokens,
    r.completion_tokens, coalesce(r.cached_tokens, 0), coalesce(r.cache_write_tokens, 0), coalesce(r.reasoning_tokens, 0), coalesce(r.audio_input_tokens, 0),
    coalesce(r.audio_output_tokens, 0), r.cost, coalesce(r.fallback_cost, 0), coalesce(r.provider_reported_cost, 0), coalesce(r.unpriced_requests, 0),
    coalesce(r.fallback_requests, 0), coalesce(r.estimated_requests, 0), null::bigint[], null::bigint[]
  from observability_internal.usage_by_hour as r
  where r.bucket = any (v_split.hours) and (scope.dims is null or r.dim_id = any (scope.dims));
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

comment on function observability_internal.usage_cells(observability_internal.read_scope, timestamptz, timestamptz, boolean) is 'Sums of a range by bucket (null unless bucketed) and dimensions, read once from the coarsest levels that hold it.';
