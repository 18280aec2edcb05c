-- The checked request of a page: its range, filters, time zone and the buckets it is shown in.
-- Locks: none; it only creates.

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
  not_metadata jsonb[],
  group_kind text,
  group_values text[],
  cells observability_internal.usage_cell[],
  by_tokens boolean
);

comment on type observability_internal.read_scope is
'A checked request for figures. Null dims or user_keys: no filter. cuts: the boundaries of buckets from an hour up. '
'metadata: null where nothing is filtered by it, {} where not_metadata alone is. '
'group_kind: what latency_by_group has histograms of, null where it has none. cells: of chosen users, read once for a'
' whole page. by_tokens: what is shown of many keys is what used most tokens, not what cost most; null is false.';

create function observability_internal.resolve_dimensions(filters jsonb) returns integer[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if not exists (select from observability_internal.asked_dimensions(filters)) then
    return null;
  end if;
  return array(
    with asked as materialized (select a.* from observability_internal.asked_dimensions(filters) as a)
    select d.dim_id
    from observability_internal.dimensions as d
    where not exists (
      select from asked as a
      where not observability_internal.is_left(
        case a.name
          when 'provider' then d.provider when 'model' then d.model when 'feature' then d.feature
          when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
          else d.error_type
        end, a.only_values, a.excluded
      )
    )
  );
end;
$$;

comment on function observability_internal.resolve_dimensions is 'The dim_ids that the filters leave; null when nothing is filtered.';
revoke execute on function observability_internal.resolve_dimensions from public;
grant execute on function observability_internal.resolve_dimensions to authenticated, service_role;

-- An empty text stands for calls without a tenant, or without the tag.
create function observability_internal.resolve_attributions(filters jsonb) returns integer[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_only constant text[] := observability_internal.filter_values(filters, 'tenant_id');
  v_excluded constant text[] := observability_internal.filter_values(filters -> 'not', 'tenant_id');
begin
  perform observability_internal.check_tag_filter(filters);
  if num_nonnulls(v_only, v_excluded) = 0 and not exists (
    select from observability_internal.asked_tags(filters)
    union all
    select from observability_internal.asked_tags(filters -> 'not')
  ) then
    return null;
  end if;
  return array(
    with asked as materialized (
      select t.name, t.chosen, true as is_wanted from observability_internal.asked_tags(filters) as t
      union all
      select t.name, t.chosen, false from observability_internal.asked_tags(filters -> 'not') as t
    )
    select a.attribution_id
    from observability_internal.attributions as a
    where observability_internal.is_left(a.tenant_id, v_only, v_excluded) and not exists (
      select from asked as t where (coalesce(a.tags ->> t.name, '') = any (t.chosen)) <> t.is_wanted
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
  v_excluded constant text[] := observability_internal.filter_values(filters -> 'not', 'user_id');
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
  if num_nonnulls(v_users, v_excluded, v_attributions) = 0 then
    return case when resolve_user_keys.access in ('member', 'tenant') then observability_internal.current_user_keys() end;
  end if;
  -- Row level security leaves members and tenants their own.
  return array(
    select u.user_key
    from observability_internal.users as u
    where observability_internal.is_left(u.user_id, v_users, v_excluded)
      and (v_attributions is null or u.attribution_id in (select unnest(v_attributions)))
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
    'not', 'timezone', 'bucket', 'group_by', 'limit', 'cursor'
  ]) and k.key !~ '^tags\.[a-z][a-z0-9_]{0,39}$'
  limit 1;
  if v_unknown is not null then
    raise exception 'unknown filter %', left(v_unknown, 100) using errcode = '22023';
  end if;
  perform observability_internal.check_exclusions(filters);
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
create function observability_internal.check_metadata(from_time timestamptz, to_time timestamptz, filters jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_metadata constant jsonb := coalesce(nullif(filters -> 'metadata', 'null'), '{}');
  v_not constant jsonb := coalesce(nullif(filters -> 'not' -> 'metadata', 'null'), '{}');
begin
  if not observability_internal.asks_metadata(filters) then
    return null;
  end if;
  if jsonb_typeof(v_metadata) <> 'object' or jsonb_typeof(v_not) <> 'object' or exists (
    select from jsonb_each(v_metadata) as e where jsonb_typeof(e.value) not in ('string', 'number', 'boolean')
    union all
    select from unnest(observability_internal.excluded_metadata(filters)) as p (pair)
    cross join lateral jsonb_each(p.pair) as e
    where jsonb_typeof(e.value) not in ('string', 'number', 'boolean')
  ) or octet_length(v_metadata::text) + octet_length(v_not::text) > 2000 then
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
  return v_metadata;
end;
$$;

comment on function observability_internal.check_metadata is
'The metadata to look for, {} where some is only excluded, null for neither; refuses (22023) more than 7 days or 2 million calls.';
revoke execute on function observability_internal.check_metadata from public;
grant execute on function observability_internal.check_metadata to authenticated, service_role;

create function observability_internal.kept_names(filters jsonb, kind text) returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when num_nonnulls(a.only_values, a.excluded) = 0 then null
    when a.excluded is null then a.only_values
    else array(
      select n.name
      from unnest(a.only_values) as n (name)
      where n.name <> all (a.excluded)
      union
      select n.name
      from (
        select case kind
            when 'model' then d.model when 'feature' then d.feature when 'environment' then d.environment
            when 'status' then d.status
          end as name
        from observability_internal.dimensions as d
        union
        select r.environment from observability_internal.route_dimensions as r where kind = 'environment'
      ) as n
      where a.only_values is null and n.name <> all (a.excluded)
    )
  end
  from (
    select
      observability_internal.filter_values(filters, kind) as only_values,
      observability_internal.filter_values(filters -> 'not', kind) as excluded
  ) as a;
$$;

comment on function observability_internal.kept_names is
'The models, features, environments or statuses that the filters leave; null where they are not filtered by it.';
revoke execute on function observability_internal.kept_names from public;
grant execute on function observability_internal.kept_names to authenticated, service_role;

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
  v_scope.metadata := observability_internal.check_metadata(make_scope.from_time, make_scope.to_time, filters);
  v_scope.not_metadata := observability_internal.excluded_metadata(filters);
  v_scope.timezone := coalesce(filters ->> 'timezone', 'UTC');
  v_scope.group_by := coalesce(filters ->> 'group_by', 'model');
  v_scope.row_limit := coalesce(filters ->> 'limit', '10')::integer;
  v_scope.environments := observability_internal.kept_names(filters, 'environment');
  v_scope.dims := observability_internal.resolve_dimensions(filters);
  select
    case count(*) when 0 then 'total' when 1 then min(f.kind) filter (where f.kind in ('model', 'feature', 'environment', 'status')) end,
    observability_internal.kept_names(filters, min(f.kind))
  into v_scope.group_kind, v_scope.group_values
  from observability_internal.asked_dimensions(filters) as f (kind);
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
