-- Rows of the Customers page by tenant, user or tag: sums from the levels by user, days and points of the rows shown.
-- Locks: none; it only creates.

create type observability_internal.entity_view as (
  group_by text,
  order_by text,
  is_ascending boolean,
  search text,
  first_row integer,
  row_limit integer,
  has_points boolean,
  compare_from timestamptz,
  compare_to timestamptz,
  unit text
);

comment on type observability_internal.entity_view is
'What get_entities is asked for: by what, in which order, which rows, compared with what, and the unit of the points.';

create type observability_internal.entity_row as (
  key text,
  requests numeric,
  errors numeric,
  total_tokens numeric,
  uncertain_requests numeric,
  cost numeric,
  previous_cells bigint,
  previous_priced_requests numeric,
  previous_cost numeric,
  active_days bigint,
  first_seen_at timestamptz,
  last_seen_at timestamptz,
  sessions bigint,
  session_cost numeric,
  user_id text,
  last_user_id text,
  tenant_id text,
  last_tenant_id text,
  fallback_cost numeric,
  fallback_requests numeric,
  unpriced_requests numeric
);

comment on type observability_internal.entity_row is
'Sums of a tenant, user, tag value or session; uncertain_requests are unpriced and fallback ones together, and cost is that'
' of the others. Null is not read yet. user_id and last_user_id are the first and the last one of a session by name.';

create function observability_internal.check_entity_filters(filters jsonb) returns observability_internal.entity_view
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_view observability_internal.entity_view;
begin
  if filters is null or jsonb_typeof(filters) <> 'object' then
    raise exception 'filters must be a JSON object' using errcode = '22023';
  end if;
  v_view.group_by := coalesce(filters ->> 'group_by', 'tenant_id');
  v_view.order_by := coalesce(filters ->> 'order', 'cost');
  v_view.is_ascending := coalesce(filters ->> 'direction', 'desc') = 'asc';
  v_view.search := lower(coalesce(filters ->> 'search', ''));
  v_view.has_points := coalesce(filters ->> 'points', 'yes') = 'yes';
  if v_view.group_by not in ('tenant_id', 'user_id', 'session_id') and v_view.group_by !~ '^tags\.[a-z][a-z0-9_]{0,39}$' then
    raise exception 'group_by is tenant_id, user_id, tags.<name> or session_id' using errcode = '22023';
  end if;
  if v_view.order_by <> all (case when v_view.group_by = 'session_id'
    then '{name,cost,requests,cost_per_request,last_seen,duration}'::text[]
    else '{name,cost,requests,cost_per_request,cost_per_session,cost_per_day,change,change_share,last_seen}'::text[] end) then
    raise exception 'order is name, cost, requests, cost_per_request or last_seen; of sessions also duration; of others also '
      'cost_per_session, cost_per_day, change or change_share' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'direction', 'desc') not in ('asc', 'desc') or coalesce(filters ->> 'points', 'yes') not in ('yes', 'no') then
    raise exception 'direction is asc or desc, points yes or no' using errcode = '22023';
  end if;
  if length(v_view.search) > 200 then
    raise exception 'search has at most 200 characters' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'limit', '50') !~ '^[0-9]{1,5}$' or coalesce(filters ->> 'offset', '0') !~ '^[0-9]{1,7}$'
    or coalesce(filters ->> 'limit', '50')::integer not between 1 and 20000 then
    raise exception 'limit is from 1 to 20000 and offset 0 or more' using errcode = '22023';
  end if;
  v_view.row_limit := coalesce(filters ->> 'limit', '50')::integer;
  v_view.first_row := coalesce(filters ->> 'offset', '0')::integer;
  if exists (select from jsonb_object_keys(filters) as k (key) where k.key like 'tags.%') then
    raise exception 'entities are filtered by tags as {"tags": {name: values}}' using errcode = '22023';
  end if;
  return v_view;
end;
$$;

comment on function observability_internal.check_entity_filters is 'What is asked for beside the filters of all pages; refuses (22023) what is none of it.';
revoke execute on function observability_internal.check_entity_filters from public;
grant execute on function observability_internal.check_entity_filters to authenticated, service_role;

create function observability_internal.compared_range(compare text, from_time timestamptz, to_time timestamptz) returns tstzrange
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_from timestamptz;
  v_to timestamptz;
begin
  if coalesce(compare, 'before') = 'before' then
    return tstzrange(compared_range.from_time - (compared_range.to_time - compared_range.from_time), compared_range.from_time);
  elsif compare = 'none' then
    return null;
  end if;
  begin
    v_from := split_part(compare, '/', 1)::timestamptz;
    v_to := split_part(compare, '/', 2)::timestamptz;
  exception
    when invalid_datetime_format or datetime_field_overflow then
      raise exception 'compare is before, none or FROM/TO' using errcode = '22023';
  end;
  perform observability_internal.check_filters(v_from, v_to, '{}');
  return tstzrange(
    date_bin('15 minutes', v_from, '2000-01-01 00:00:00+00'),
    date_bin('15 minutes', v_to + interval '899.999999 s', '2000-01-01 00:00:00+00')
  );
end;
$$;

comment on function observability_internal.compared_range is
'The range to compare with: the equal length before, two moments as FROM/TO, or null for none; in whole quarters of an hour.';
revoke execute on function observability_internal.compared_range from public;
grant execute on function observability_internal.compared_range to authenticated, service_role;

create function observability_internal.entity_keys(group_by text) returns table (user_key integer, key text)
language sql
stable
security invoker
set search_path = ''
rows 10000
as $$
  select
    u.user_key,
    case entity_keys.group_by
      when 'user_id' then u.user_id when 'tenant_id' then a.tenant_id
      else coalesce(a.tags ->> substr(entity_keys.group_by, 6), '')
    end
  from observability_internal.users as u
  inner join observability_internal.attributions as a using (attribution_id);
$$;

comment on function observability_internal.entity_keys is 'The tenant, user or tag value that each key of a user counts for; the empty text for none.';
revoke execute on function observability_internal.entity_keys from public;
grant execute on function observability_internal.entity_keys to authenticated, service_role;

create function observability_internal.entity_rows(scope observability_internal.read_scope, view observability_internal.entity_view)
returns observability_internal.entity_row[]
language sql
stable
security invoker
set search_path = ''
as $$
  with read as (
    select
      s.user_key, s.requests, s.errors, s.prompt_tokens + s.completion_tokens as total_tokens, s.unpriced_requests, s.cost,
      null::bigint as previous_priced, null::numeric as previous_cost
    from observability_internal.user_sums(scope, (scope).from_time, (scope).to_time) as s
    union all
    select p.user_key, 0, 0, 0, 0, 0, p.priced_requests, p.cost
    from observability_internal.user_costs(scope, (view).compare_from, (view).compare_to) as p
    where (view).compare_from is not null
  ),
  -- First by user: names are text, and there are far fewer of them than of parts.
  by_user as materialized (
    select
      r.user_key, sum(r.requests) as requests, sum(r.errors) as errors, sum(r.total_tokens) as total_tokens,
      sum(r.unpriced_requests) as uncertain_requests, sum(r.cost) as cost, count(r.previous_priced) as previous_cells,
      sum(r.previous_priced) as previous_priced, sum(r.previous_cost) as previous_cost
    from read as r
    group by r.user_key
  )
  select array(
    select row(
      k.key, sum(b.requests), sum(b.errors), sum(b.total_tokens), sum(b.uncertain_requests), sum(b.cost),
      sum(b.previous_cells), coalesce(sum(b.previous_priced), 0), coalesce(sum(b.previous_cost), 0),
      null, null, null, null, null, null, null, null, null, null, null, null
    )::observability_internal.entity_row
    from by_user as b
    inner join observability_internal.entity_keys((view).group_by) as k using (user_key)
    group by k.key
    having sum(b.requests) > 0
  );
$$;

comment on function observability_internal.entity_rows is 'Every tenant, user or tag value with a call in the range, calls without one among them.';
revoke execute on function observability_internal.entity_rows from public;
grant execute on function observability_internal.entity_rows to authenticated, service_role;

create type observability_internal.entity_part as (
  key text,
  start timestamptz,
  last_quarter timestamptz,
  requests numeric,
  cost numeric,
  fallback_cost numeric,
  fallback_requests numeric,
  unpriced_requests numeric
);

comment on type observability_internal.entity_part is 'Sums of an entity within an hour or a day of the viewer''s clock.';

-- The levels by day and week know neither local days nor what was priced as the fallback model: quarters of an hour do.
create function observability_internal.entity_parts(
  scope observability_internal.read_scope, view observability_internal.entity_view, wanted text[]
) returns setof observability_internal.entity_part
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
rows 1000
as $$
declare
  v_group_by constant text := view.group_by;
  v_zone constant text := scope.timezone;
  v_unit constant text := case view.unit when 'hour' then 'hour' else 'day' end;
  v_from constant timestamptz := scope.from_time;
  v_to constant timestamptz := scope.to_time;
  v_dims constant integer[] := scope.dims;
  v_is_raw constant boolean := scope.metadata is not null;
  v_wanted constant text[] := wanted;
  v_keys integer[];
begin
  if v_wanted is not null or scope.user_keys is not null then
    v_keys := array(
      select k.user_key from observability_internal.entity_keys(v_group_by) as k
      where (v_wanted is null or k.key = any (v_wanted)) and (scope.user_keys is null or k.user_key = any (scope.user_keys))
    );
  end if;
  return query
  with cells as (
    select r.bucket, r.user_key, r.requests, r.cost, r.fallback_cost, r.fallback_requests, r.unpriced_requests
    from observability_internal.usage_by_user as r
    where not v_is_raw and r.bucket >= v_from and r.bucket < v_to and (v_keys is null or r.user_key = any (v_keys))
      and (v_dims is null or r.dim_id = any (v_dims))
    union all
    select c.bucket_start, c.user_key, c.requests, c.cost, c.fallback_cost, c.fallback_requests, c.unpriced_requests
    from observability_internal.user_cells(scope, v_from, v_to, false) as c
    where v_is_raw and (v_keys is null or c.user_key = any (v_keys))
  ),
  -- Truncated once a quarter, not once a row.
  starts as materialized (
    select g.quarter, date_trunc(v_unit, g.quarter, v_zone) as start
    from generate_series(v_from, v_to - interval '15 minutes', '15 minutes') as g (quarter)
  )
  select
    k.key, s.start, max(c.bucket), sum(c.requests), sum(c.cost), coalesce(sum(c.fallback_cost), 0),
    coalesce(sum(c.fallback_requests), 0), coalesce(sum(c.unpriced_requests), 0)
  from cells as c
  inner join starts as s on c.bucket = s.quarter
  inner join observability_internal.entity_keys(v_group_by) as k using (user_key)
  group by k.key, s.start
  having sum(c.requests) > 0;
end;
$$;

comment on function observability_internal.entity_parts is
'The days, or hours where the points are hours, of these entities (null: of all) on the clock of the time zone.';
revoke execute on function observability_internal.entity_parts from public;
grant execute on function observability_internal.entity_parts to authenticated, service_role;

create type observability_internal.entity_activity as (
  key text,
  active_days bigint,
  last_seen_at timestamptz,
  fallback_cost numeric,
  fallback_requests numeric,
  unpriced_requests numeric,
  points jsonb
);

comment on type observability_internal.entity_activity is
'Days with a call, the quarter of an hour of the last one, what is not certain, and the cost by point as text (null: unknown).';

create function observability_internal.entity_activities(
  scope observability_internal.read_scope, view observability_internal.entity_view, wanted text[], slots timestamptz[]
) returns setof observability_internal.entity_activity
language sql
stable
security invoker
set search_path = ''
as $$
  with parts as materialized (
    select p.*, date_trunc((view).unit, p.start, (scope).timezone) as slot
    from observability_internal.entity_parts(scope, view, wanted) as p
  ),
  slotted as (
    select
      p.key, p.slot, sum(p.cost) as cost, sum(p.requests) > sum(p.fallback_requests + p.unpriced_requests) as is_known
    from parts as p
    where cardinality(slots) > 0
    group by p.key, p.slot
  ),
  lines as (
    select
      n.key, jsonb_agg(case when s.slot is null then '0' when s.is_known then s.cost::text end order by t.slot) as points
    from (select distinct p.key from parts as p) as n
    cross join unnest(slots) as t (slot)
    left join slotted as s on n.key = s.key and t.slot = s.slot
    group by n.key
  )
  select
    p.key, count(distinct date_trunc('day', p.start, (scope).timezone)), max(p.last_quarter), sum(p.fallback_cost),
    sum(p.fallback_requests), sum(p.unpriced_requests), l.points
  from parts as p
  left join lines as l using (key)
  group by p.key, l.points;
$$;

comment on function observability_internal.entity_activities is
'When these entities (null: all) were active, what of theirs is not certain and, where slots are given, the cost of each.';
revoke execute on function observability_internal.entity_activities from public;
grant execute on function observability_internal.entity_activities to authenticated, service_role;

create function observability_internal.entity_slots(scope observability_internal.read_scope, unit text) returns timestamptz[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    select distinct date_trunc(entity_slots.unit, g.quarter, (scope).timezone) as slot
    from generate_series((scope).from_time, (scope).to_time - interval '15 minutes', '15 minutes') as g (quarter)
    order by slot
  );
$$;

comment on function observability_internal.entity_slots is 'The beginnings of the hours, days or weeks that the points of a range are.';
revoke execute on function observability_internal.entity_slots from public;
grant execute on function observability_internal.entity_slots to authenticated, service_role;
