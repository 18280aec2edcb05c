-- Purpose: what every read function shares: the checked range, filters and time zone, and the cells it reads.
-- Locks: none.

create type observability_internal.read_scope as (
  access text,
  from_time timestamptz,
  to_time timestamptz,
  previous_from timestamptz,
  bucket text,
  timezone text,
  dims integer[],
  user_keys integer[],
  by_user boolean,
  broken_hours timestamptz[],
  group_by text,
  row_limit integer,
  environments text[]
);

comment on type observability_internal.read_scope is 'A checked request for figures. Null dims or user_keys mean no filter; broken_hours are hours that a boundary cuts, read by minute.';

create function observability_internal.filter_values(filters jsonb, name text) returns text[]
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_value constant jsonb := filters -> name;
begin
  if v_value is null or jsonb_typeof(v_value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(v_value) = 'string' then
    return array[v_value #>> '{}'];
  end if;
  if jsonb_typeof(v_value) <> 'array' or exists (
    select from jsonb_array_elements(v_value) as e where jsonb_typeof(e.value) <> 'string'
  ) then
    raise exception 'the filter % takes a text or a list of texts', name using errcode = '22023';
  end if;
  if jsonb_array_length(v_value) > 200 then
    raise exception 'the filter % takes at most 200 values', name using errcode = '22023';
  end if;
  if jsonb_array_length(v_value) = 0 then
    return null;
  end if;
  return array(select jsonb_array_elements_text(v_value));
end;
$$;

comment on function observability_internal.filter_values(jsonb, text) is 'A filter''s values as an array; null when it is absent or empty.';

create function observability_internal.resolve_dimensions(filters jsonb) returns integer[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_provider constant text[] := observability_internal.filter_values(filters, 'provider');
  v_model constant text[] := observability_internal.filter_values(filters, 'model');
  v_feature constant text[] := observability_internal.filter_values(filters, 'feature');
  v_environment constant text[] := observability_internal.filter_values(filters, 'environment');
  v_operation constant text[] := observability_internal.filter_values(filters, 'operation');
  v_status constant text[] := observability_internal.filter_values(filters, 'status');
begin
  if num_nonnulls(v_provider, v_model, v_feature, v_environment, v_operation, v_status) = 0 then
    return null;
  end if;
  return array(
    select d.dim_id
    from observability_internal.dimensions as d
    where (v_provider is null or d.provider = any (v_provider)) and (v_model is null or d.model = any (v_model))
      and (v_feature is null or d.feature = any (v_feature))
      and (v_environment is null or d.environment = any (v_environment))
      and (v_operation is null or d.operation = any (v_operation)) and (v_status is null or d.status = any (v_status))
  );
end;
$$;

comment on function observability_internal.resolve_dimensions(jsonb) is 'The dim_ids that the filters leave; null when nothing is filtered.';

create function observability_internal.choose_bucket(span interval) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select case
    when span <= interval '3 hours' then 'minute'
    when span <= interval '15 hours' then '5 minutes'
    when span <= interval '49 hours' then '15 minutes'
    when span <= interval '200 hours' then 'hour'
    when span <= interval '200 days' then 'day'
    else 'week'
  end;
$$;

comment on function observability_internal.choose_bucket(interval) is 'The finest bucket that draws a line of at most 200 points over the span.';

create function observability_internal.check_filters(from_time timestamptz, to_time timestamptz, filters jsonb) returns void
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
    'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'timezone', 'bucket', 'group_by',
    'limit', 'cursor'
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

comment on function observability_internal.check_filters(timestamptz, timestamptz, jsonb) is 'Refuses (22023) an unbounded or inverted range, an unknown filter, bucket, grouping, limit or time zone.';

create function observability_internal.make_scope(from_time timestamptz, to_time timestamptz, filters jsonb)
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
  v_cuts timestamptz[];
begin
  v_scope.access := observability_internal.require_access('{member,analyst,ops,service}');
  perform observability_internal.check_filters(make_scope.from_time, make_scope.to_time, filters);
  v_scope.timezone := coalesce(filters ->> 'timezone', 'UTC');
  v_scope.group_by := coalesce(filters ->> 'group_by', 'model');
  v_scope.row_limit := coalesce(filters ->> 'limit', '10')::integer;
  v_scope.environments := observability_internal.filter_values(filters, 'environment');
  v_scope.dims := observability_internal.resolve_dimensions(filters);
  v_scope.by_user := v_scope.access = 'member' or v_users is not null;
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
  v_cuts := array[v_scope.previous_from, v_scope.from_time, v_scope.to_time];
  if v_scope.bucket in ('hour', 'day', 'week', 'month') then
    v_cuts := v_cuts || array(
      select g.local at time zone v_scope.timezone
      from generate_series(
        date_trunc(v_scope.bucket, v_scope.from_time at time zone v_scope.timezone),
        v_scope.to_time at time zone v_scope.timezone,
        ('1 ' || v_scope.bucket)::interval
      ) as g (local)
    );
  end if;
  v_scope.broken_hours := array(
    select distinct date_trunc('hour', c.cut, 'UTC') from unnest(v_cuts) as c (cut)
    where date_trunc('hour', c.cut, 'UTC') <> c.cut
  );
  return v_scope;
end;
$$;

comment on function observability_internal.make_scope(timestamptz, timestamptz, jsonb) is 'Checks the caller, the range and the filters, and says what to read.';

create function observability_internal.minute_step(bucket text) returns interval
language sql
immutable
security invoker
set search_path = ''
as $$
  select case bucket
    when 'minute' then interval '1 minute' when '5 minutes' then interval '5 minutes'
    when '15 minutes' then interval '15 minutes'
  end;
$$;

comment on function observability_internal.minute_step(text) is 'The length of a bucket below an hour; null for hours and longer.';

create function observability_internal.usage_cells(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns table (bucket_start timestamptz, user_key integer, cell observability_internal.usage_by_minute)
language plpgsql
stable
security invoker
set search_path = ''
rows 10000
as $$
declare
  -- Buckets below an hour are the same on every clock.
  v_step constant interval := observability_internal.minute_step(scope.bucket);
begin
  if scope.by_user then
    return query
    select
      case when v_step is null then date_trunc(scope.bucket, r.bucket, scope.timezone)
        else date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00') end, r.user_key,
      row(
        r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.cache_write_tokens,
        r.reasoning_tokens, r.audio_input_tokens, r.audio_output_tokens, r.cost, r.fallback_cost,
        r.provider_reported_cost, r.unpriced_requests, r.fallback_requests, r.estimated_requests, r.latency,
        r.time_to_first_token
      )::observability_internal.usage_by_minute
    from observability_internal.usage_by_user as r
    where r.bucket >= usage_cells.from_time and r.bucket < usage_cells.to_time
      and (scope.user_keys is null or r.user_key = any (scope.user_keys))
      and (scope.dims is null or r.dim_id = any (scope.dims));
  elsif v_step is not null then
    return query
    select date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), null::integer, r
    from observability_internal.usage_by_minute as r
    where r.bucket >= usage_cells.from_time and r.bucket < usage_cells.to_time
      and (scope.dims is null or r.dim_id = any (scope.dims));
  else
    return query
    select
      date_trunc(scope.bucket, r.bucket, scope.timezone), null::integer,
      row(r.*)::observability_internal.usage_by_minute
    from observability_internal.usage_by_hour as r
    where r.bucket >= usage_cells.from_time and r.bucket < usage_cells.to_time
      and r.bucket <> all (scope.broken_hours) and (scope.dims is null or r.dim_id = any (scope.dims))
    union all
    select date_trunc(scope.bucket, r.bucket, scope.timezone), null::integer, r
    from unnest(scope.broken_hours) as broken (hour)
    inner join observability_internal.usage_by_minute as r
      on r.bucket >= broken.hour and r.bucket < broken.hour + interval '1 hour'
    where r.bucket >= usage_cells.from_time and r.bucket < usage_cells.to_time
      and (scope.dims is null or r.dim_id = any (scope.dims));
  end if;
end;
$$;

comment on function observability_internal.usage_cells(observability_internal.read_scope, timestamptz, timestamptz) is 'The rollup rows of a range, from the coarsest level whose rows no boundary cuts.';

create function observability_internal.histogram_quantile(histogram real[], quantile double precision)
returns double precision
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
  v_total double precision := 0;
  v_rank double precision;
  v_seen double precision := 0;
  v_low double precision;
begin
  for v_index in 1..coalesce(cardinality(histogram), 0) / 2 loop
    v_total := v_total + histogram[2 * v_index];
  end loop;
  if v_total <= 0 then
    return null;
  end if;
  v_rank := greatest(quantile * (v_total - 1), 0);
  for v_index in 1..cardinality(histogram) / 2 loop
    v_seen := v_seen + histogram[2 * v_index];
    if v_low is null and v_seen > floor(v_rank) then
      v_low := observability_internal.histogram_value(histogram[2 * v_index - 1]);
    end if;
    if v_low is not null and (v_seen > ceil(v_rank) or 2 * v_index = cardinality(histogram)) then
      return v_low
        + (v_rank - floor(v_rank)) * (observability_internal.histogram_value(histogram[2 * v_index - 1]) - v_low);
    end if;
  end loop;
  return v_low;
end;
$$;

comment on function observability_internal.histogram_quantile(real[], double precision) is 'A quantile (0 to 1) in ms, interpolated between order statistics as percentile_cont does, within 1 %; null when empty.';

create function observability_internal.histogram_summary(histogram real[]) returns jsonb
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'count', coalesce((select sum(histogram[2 * i]) from generate_series(1, cardinality(histogram) / 2) as i), 0),
    'p50', observability_internal.histogram_quantile(histogram, 0.5),
    'p90', observability_internal.histogram_quantile(histogram, 0.9),
    'p99', observability_internal.histogram_quantile(histogram, 0.99)
  );
$$;

comment on function observability_internal.histogram_summary(real[]) is '{count, p50, p90, p99} of a histogram, in ms.';

grant execute on function observability_internal.filter_values(jsonb, text) to authenticated, service_role;

grant execute on function observability_internal.resolve_dimensions(jsonb) to authenticated, service_role;

grant execute on function observability_internal.choose_bucket(interval) to authenticated, service_role;

grant execute on function observability_internal.check_filters(timestamptz, timestamptz, jsonb) to authenticated, service_role;

grant execute on function observability_internal.make_scope(timestamptz, timestamptz, jsonb) to authenticated, service_role;

grant execute on function observability_internal.minute_step(text) to authenticated, service_role;

grant execute on function observability_internal.usage_cells(observability_internal.read_scope, timestamptz, timestamptz) to authenticated, service_role;

grant execute on function observability_internal.histogram_quantile(real[], double precision) to authenticated, service_role;

grant execute on function observability_internal.histogram_summary(real[]) to authenticated, service_role;
