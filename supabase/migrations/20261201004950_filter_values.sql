-- What filters say: the values that a dimension, a tag or metadata must have, and those that it must not have.
-- Locks: none; it only creates.

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

-- A dimension is never null in the rollups: calls without a value have an empty text, which stays in unless it is left out.
create function observability_internal.is_left(value text, only_values text[], excluded text[]) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select (only_values is null or value = any (only_values)) and (excluded is null or value <> all (excluded));
$$;

comment on function observability_internal.is_left is 'Whether a value is one of some, where these are given, and none of the excluded.';
revoke execute on function observability_internal.is_left from public;
grant execute on function observability_internal.is_left to authenticated, service_role;

create function observability_internal.asked_dimensions(filters jsonb)
returns table (name text, only_values text[], excluded text[])
language sql
immutable
security invoker
set search_path = ''
rows 2
as $$
  select a.name, a.only_values, a.excluded
  from (
    select
      n.name, observability_internal.filter_values(filters, n.name) as only_values,
      observability_internal.filter_values(filters -> 'not', n.name) as excluded
    from unnest('{provider,model,feature,environment,operation,status,error_type}'::text[]) as n (name)
  ) as a
  where num_nonnulls(a.only_values, a.excluded) > 0;
$$;

comment on function observability_internal.asked_dimensions is
'What the filters ask of the dimensions of a call: the values they leave and those they exclude, null for none.';
revoke execute on function observability_internal.asked_dimensions from public;
grant execute on function observability_internal.asked_dimensions to authenticated, service_role;

create function observability_internal.check_tag_filter(filters jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_tags jsonb;
begin
  foreach v_tags in array array[filters -> 'tags', filters -> 'not' -> 'tags'] loop
    continue when coalesce(v_tags, 'null') = 'null';
    if jsonb_typeof(v_tags) <> 'object' then
      raise exception 'the filter tags takes an object of a text or a list of texts by tag' using errcode = '22023';
    end if;
    if (select count(*) from jsonb_object_keys(v_tags)) > 3 then
      raise exception 'the filter tags takes at most 3 tags' using errcode = '22023';
    end if;
    perform observability_internal.filter_values(v_tags, t.name) from jsonb_object_keys(v_tags) as t (name);
  end loop;
end;
$$;

comment on function observability_internal.check_tag_filter is
'Refuses (22023) a filter by tags, or an exclusion of them, that is no {tag: value or values}.';
revoke execute on function observability_internal.check_tag_filter from public;
grant execute on function observability_internal.check_tag_filter to authenticated, service_role;

-- Scopes of alert rules name each tag as a dimension of its own, tags.<name>.
create function observability_internal.asked_tags(filters jsonb) returns table (name text, chosen text[])
language sql
immutable
security invoker
set search_path = ''
rows 1
as $$
  select t.name, t.chosen
  from (
    select k.name, observability_internal.filter_values(filters -> 'tags', k.name) as chosen
    from jsonb_object_keys(case when jsonb_typeof(filters -> 'tags') = 'object' then filters -> 'tags' else '{}' end) as k (name)
    union all
    select substr(k.name, 6), observability_internal.filter_values(filters, k.name)
    from jsonb_object_keys(case when jsonb_typeof(filters) = 'object' then filters else '{}' end) as k (name)
    where k.name like 'tags.%'
  ) as t
  where t.chosen is not null;
$$;

comment on function observability_internal.asked_tags is 'The tags that filters name, each with its values.';
revoke execute on function observability_internal.asked_tags from public;
grant execute on function observability_internal.asked_tags to authenticated, service_role;

-- Several values of one key are a list: each pair is left out by itself.
create function observability_internal.excluded_metadata(filters jsonb) returns jsonb[]
language sql
immutable
security invoker
set search_path = ''
as $$
  select array(
    select jsonb_build_object(e.key, v.value)
    from jsonb_each(
      case when jsonb_typeof(filters -> 'not' -> 'metadata') = 'object' then filters -> 'not' -> 'metadata' else '{}' end
    ) as e
    cross join lateral jsonb_array_elements(
      case when jsonb_typeof(e.value) = 'array' then e.value else jsonb_build_array(e.value) end
    ) as v (value)
  );
$$;

comment on function observability_internal.excluded_metadata is 'The pairs of metadata that the filters exclude, each as an object.';
revoke execute on function observability_internal.excluded_metadata from public;
grant execute on function observability_internal.excluded_metadata to authenticated, service_role;

create function observability_internal.asks_metadata(filters jsonb) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select coalesce(filters -> 'metadata', 'null') not in ('null', '{}')
    or coalesce(filters -> 'not' -> 'metadata', 'null') not in ('null', '{}');
$$;

comment on function observability_internal.asks_metadata is 'Whether the filters ask for metadata, or exclude some.';
revoke execute on function observability_internal.asks_metadata from public;
grant execute on function observability_internal.asks_metadata to authenticated, service_role;

create function observability_internal.without_metadata(filters jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select (filters - 'metadata') #- '{not,metadata}';
$$;

comment on function observability_internal.without_metadata is 'The filters but those by metadata.';
revoke execute on function observability_internal.without_metadata from public;
grant execute on function observability_internal.without_metadata to authenticated, service_role;

create function observability_internal.check_exclusions(filters jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_not constant jsonb := filters -> 'not';
  v_unknown text;
begin
  if coalesce(v_not, 'null') = 'null' then
    return;
  end if;
  if jsonb_typeof(v_not) <> 'object' then
    raise exception 'the filter not takes an object of filters' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(v_not) as k (key)
  where k.key <> all (array[
    'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'tenant_id', 'tags', 'metadata'
  ]) and k.key !~ '^tags\.[a-z][a-z0-9_]{0,39}$'
  limit 1;
  if v_unknown is not null then
    raise exception 'nothing can be excluded by %', left(v_unknown, 100) using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_exclusions is 'Refuses (22023) a filter not that is no object of known filters.';
revoke execute on function observability_internal.check_exclusions from public;
grant execute on function observability_internal.check_exclusions to authenticated, service_role;
