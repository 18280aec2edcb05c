-- The checked request of a page: its range, filters, time zone and the buckets it is shown in.
-- Locks: none; it only creates.

create type observability_internal.page_percentile as (
  key_name text,
  is_bucketed boolean,
  bucket_start timestamptz,
  key text,
  latency_count double precision,
  latency_p50 double precision,
  latency_p90 double precision,
  latency_p99 double precision,
  first_count double precision,
  first_p50 double precision,
  first_p90 double precision,
  first_p99 double precision
);

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
  environments text[],
  cuts timestamptz[],
  metadata jsonb,
  group_kind text,
  group_values text[],
  cells observability_internal.usage_cell[],
  by_tokens boolean,
  percentiles observability_internal.page_percentile[]
);

comment on type observability_internal.read_scope is
'A checked request for figures. Null dims or user_keys: no filter. cuts: the boundaries of buckets from an hour up. '
'group_kind: what latency_by_group has histograms of, null where it has none. cells: of chosen users, read once for a'
' whole page, as are percentiles of the period. by_tokens: what is shown of many keys is what used most tokens, not what cost most; null is false.';

-- 200 values in each of six filters are 240 kB; a request of megabytes would be read again by each part of a page.
create function observability_internal.check_filter_size(filters jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  if pg_column_size(filters) > 524288 then
    raise exception 'filters have at most 512 KiB' using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_filter_size is 'Refuses (22023) filters of more than 512 KiB.';
revoke execute on function observability_internal.check_filter_size from public;
grant execute on function observability_internal.check_filter_size to authenticated, service_role;

create function observability_internal.filter_values(filters jsonb, name text) returns text[]
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_value jsonb;
begin
  perform observability_internal.check_filter_size(filters);
  v_value := filters -> name;
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

comment on function observability_internal.filter_values is 'A filter''s values as an array; null when it is absent or empty.';
revoke execute on function observability_internal.filter_values from public;
grant execute on function observability_internal.filter_values to authenticated, service_role;

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

comment on function observability_internal.resolve_dimensions is 'The dim_ids that the filters leave; null when nothing is filtered.';
revoke execute on function observability_internal.resolve_dimensions from public;
grant execute on function observability_internal.resolve_dimensions to authenticated, service_role;

create function observability_internal.check_tag_filter(filters jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  if filters -> 'tags' is null or jsonb_typeof(filters -> 'tags') = 'null' then
    return;
  end if;
  if jsonb_typeof(filters -> 'tags') <> 'object' then
    raise exception 'the filter tags takes an object of a text or a list of texts by tag' using errcode = '22023';
  end if;
  if (select count(*) from jsonb_object_keys(filters -> 'tags')) > 3 then
    raise exception 'the filter tags takes at most 3 tags' using errcode = '22023';
  end if;
  perform observability_internal.filter_values(filters -> 'tags', t.name) from jsonb_object_keys(filters -> 'tags') as t (name);
end;
$$;

comment on function observability_internal.check_tag_filter is 'Refuses (22023) a filter by tags that is no {tag: value or values}.';
revoke execute on function observability_internal.check_tag_filter from public;
grant execute on function observability_internal.check_tag_filter to authenticated, service_role;

-- An empty text stands for calls without a tenant, or without the tag.
create function observability_internal.resolve_attributions(filters jsonb) returns integer[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_tenants constant text[] := observability_internal.filter_values(filters, 'tenant_id');
  -- Scopes of alert rules name each tag as a dimension of its own, tags.<name>.
  v_tags constant jsonb := case when jsonb_typeof(filters -> 'tags') = 'object' then filters -> 'tags' else '{}' end || coalesce((
    select jsonb_object_agg(substr(f.key, 6), f.value) from jsonb_each(filters) as f where f.key like 'tags.%'
  ), '{}');
begin
  perform observability_internal.check_tag_filter(filters);
  if v_tenants is null and not exists (
    select from jsonb_object_keys(v_tags) as t (name) where observability_internal.filter_values(v_tags, t.name) is not null
  ) then
    return null;
  end if;
  return array(
    select a.attribution_id
    from observability_internal.attributions as a
    where (v_tenants is null or a.tenant_id = any (v_tenants)) and not exists (
      select from jsonb_object_keys(v_tags) as t (name)
      where coalesce(a.tags ->> t.name, '') <> all (observability_internal.filter_values(v_tags, t.name))
    )
  );
end;
$$;

comment on function observability_internal.resolve_attributions is
'The attributions that the filters tenant_id and tags leave; null when neither filters anything.';
revoke execute on function observability_internal.resolve_attributions from public;
grant execute on function observability_internal.resolve_attributions to authenticated, service_role;

create function observability_internal.resolve_user_keys(filters jsonb, access text) returns integer[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_users constant text[] := observability_internal.filter_values(filters, 'user_id');
  v_attributions constant integer[] := observability_internal.resolve_attributions(filters);
begin
  if resolve_user_keys.access = 'member' and exists (
    select from unnest(v_users) as u (user_id) where u.user_id is distinct from auth.jwt() ->> 'sub'
  ) then
    raise exception 'members see their own calls only' using errcode = '42501';
  end if;
  if resolve_user_keys.access = 'tenant' and exists (
    select from unnest(observability_internal.filter_values(filters, 'tenant_id')) as t (tenant_id)
    where t.tenant_id <> observability_internal.current_tenant()
  ) then
    raise exception 'a tenant sees its own calls only' using errcode = '42501';
  end if;
  if v_users is null and v_attributions is null then
    return case when resolve_user_keys.access in ('member', 'tenant') then observability_internal.current_user_keys() end;
  end if;
  -- Row level security leaves members and tenants their own.
  return array(
    select u.user_key
    from observability_internal.users as u
    where (v_users is null or u.user_id = any (v_users)) and (v_attributions is null or u.attribution_id in (select unnest(v_attributions)))
  );
end;
$$;

comment on function observability_internal.resolve_user_keys is
'The keys of users, tenants and tags that the filters leave to the caller; null when nothing is left out.';
revoke execute on function observability_internal.resolve_user_keys from public;
grant execute on function observability_internal.resolve_user_keys to authenticated, service_role;

create function observability_internal.choose_bucket(span interval) returns text
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

comment on function observability_internal.choose_bucket is 'The finest bucket that draws a line of at most 200 points over the span.';
revoke execute on function observability_internal.choose_bucket from public;
grant execute on function observability_internal.choose_bucket to authenticated, service_role;

create function observability_internal.check_filters(from_time timestamptz, to_time timestamptz, filters jsonb)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_unknown text;
begin
  perform observability_internal.check_filter_size(filters);
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
    'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'tenant_id', 'tags', 'metadata',
    'timezone', 'bucket', 'group_by', 'limit', 'cursor'
  ]) and k.key !~ '^tags\.[a-z][a-z0-9_]{0,39}$'
  limit 1;
  if v_unknown is not null then
    raise exception 'unknown filter %', left(v_unknown, 100) using errcode = '22023';
  end if;
  if coalesce(filters ->> 'bucket', 'minute') not in ('minute', '5 minutes', '15 minutes', 'hour', 'day', 'week', 'month') then
    raise exception 'bucket is minute, 5 minutes, 15 minutes, hour, day, week or month' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'group_by', 'model') not in (
    'model', 'feature', 'provider', 'environment', 'operation', 'status', 'user_id', 'tenant_id'
  ) and filters ->> 'group_by' !~ '^tags\.[a-z][a-z0-9_]{0,39}$' then
    raise exception 'group_by is model, feature, provider, environment, operation, status, user_id, tenant_id or tags.<name>'
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

comment on function observability_internal.check_filters is
'Refuses (22023) an unbounded or inverted range, an unknown filter, bucket, grouping, limit or time zone.';
revoke execute on function observability_internal.check_filters from public;
grant execute on function observability_internal.check_filters to authenticated, service_role;

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

comment on function observability_internal.check_metadata is 'The metadata filter, null when empty; refuses (22023) more than 7 days or 2 million calls.';
revoke execute on function observability_internal.check_metadata from public;
grant execute on function observability_internal.check_metadata to authenticated, service_role;

create function observability_internal.bucket_cuts(
  from_time timestamptz, to_time timestamptz, bucket text, timezone text
) returns timestamptz[]
language sql
stable
security invoker
set search_path = ''
as $$
  with starts as (
    select g.local
    from generate_series(
      date_trunc(bucket, from_time at time zone timezone), to_time at time zone timezone, ('1 ' || bucket)::interval
    ) as g (local)
  )
  select array(
    select s.local at time zone timezone from starts as s
    union
    -- Where clocks go back, an hour begins twice.
    select ((s.local - interval '1 hour') at time zone timezone) + interval '1 hour' from starts as s where bucket = 'hour'
  );
$$;

comment on function observability_internal.bucket_cuts is 'Where the hours, days, weeks or months of a time zone begin in a range.';
revoke execute on function observability_internal.bucket_cuts from public;
grant execute on function observability_internal.bucket_cuts to authenticated, service_role;

create function observability_internal.make_scope(from_time timestamptz, to_time timestamptz, filters jsonb)
returns observability_internal.read_scope
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope;
  v_step interval;
begin
  v_scope.access := observability_internal.require_access('{member,tenant,analyst,ops,service}');
  perform observability_internal.check_filters(make_scope.from_time, make_scope.to_time, filters);
  v_scope.metadata := observability_internal.check_metadata(make_scope.from_time, make_scope.to_time, filters -> 'metadata');
  v_scope.timezone := coalesce(filters ->> 'timezone', 'UTC');
  v_scope.group_by := coalesce(filters ->> 'group_by', 'model');
  v_scope.row_limit := coalesce(filters ->> 'limit', '10')::integer;
  v_scope.environments := observability_internal.filter_values(filters, 'environment');
  v_scope.dims := observability_internal.resolve_dimensions(filters);
  select
    case count(*) when 0 then 'total' when 1 then min(f.kind) filter (where f.kind in ('model', 'feature', 'environment', 'status')) end,
    observability_internal.filter_values(filters, min(f.kind))
  into v_scope.group_kind, v_scope.group_values
  from unnest(array['provider', 'model', 'feature', 'environment', 'operation', 'status']) as f (kind)
  where observability_internal.filter_values(filters, f.kind) is not null;
  v_scope.user_keys := observability_internal.resolve_user_keys(filters, v_scope.access);
  v_scope.by_user := v_scope.user_keys is not null or v_scope.metadata is not null;
  v_scope.bucket := coalesce(
    filters ->> 'bucket', observability_internal.choose_bucket(make_scope.to_time - make_scope.from_time)
  );
  -- Users are told apart by quarters of an hour, and with them tenants and tags.
  if (v_scope.by_user or observability_internal.is_attributed(v_scope.group_by)) and v_scope.bucket in ('minute', '5 minutes') then
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
    v_scope.cuts := observability_internal.bucket_cuts(v_scope.from_time, v_scope.to_time, v_scope.bucket, v_scope.timezone);
  end if;
  return v_scope;
end;
$$;

comment on function observability_internal.make_scope is 'Checks the caller, the range and the filters, and says what to read.';
revoke execute on function observability_internal.make_scope from public;
grant execute on function observability_internal.make_scope to authenticated, service_role;

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

comment on function observability_internal.minute_step is 'The length of a bucket below an hour; null for hours and longer.';
revoke execute on function observability_internal.minute_step from public;
grant execute on function observability_internal.minute_step to authenticated, service_role;
