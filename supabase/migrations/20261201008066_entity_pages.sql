-- The Customers page: tenants, users, tag values or sessions, ordered, searched and cut into pages here.
-- Locks: none; it only creates.

create function observability_internal.range_sums(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns observability_internal.usage_sum[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_sums observability_internal.usage_sum[];
begin
  execute format(
    $sql$
    select array(
      select row(true, c.dim_id, %s)::observability_internal.usage_sum
      from observability_internal.usage_cells($1, $2, $3, false) as c
      group by c.dim_id
    )
    $sql$,
    observability_internal.each_sum('coalesce(sum(c.%1$I), 0)')
  ) into v_sums using scope, range_sums.from_time, range_sums.to_time;
  return v_sums;
end;
$$;

comment on function observability_internal.range_sums is 'Sums of a range by dimensions, independent of those by user.';
revoke execute on function observability_internal.range_sums from public;
grant execute on function observability_internal.range_sums to authenticated, service_role;

create function observability_internal.entity_page(
  entities observability_internal.entity_row[], view observability_internal.entity_view
) returns observability_internal.entity_row[]
language sql
immutable
security invoker
set search_path = ''
as $$
  -- A cost is known where a call has a price of its own; before, also where there was no call.
  with known as (
    select
      e as entity, e.key, e.requests - e.uncertain_requests as priced,
      case when e.requests > e.uncertain_requests then e.cost end as cost,
      case when e.previous_cells = 0 or e.previous_priced_requests > 0 then e.previous_cost end as previous_cost
    from unnest(entities) as e
    where (view).search = '' or strpos(lower(e.key), (view).search) > 0
  )
  select array(
    select k.entity
    from known as k
    order by
      case (view).order_by
        when 'cost' then k.cost
        when 'requests' then (k.entity).requests
        when 'cost_per_request' then k.cost / nullif(k.priced, 0)
        when 'cost_per_session' then (k.entity).session_cost / nullif((k.entity).sessions, 0)
        when 'cost_per_day' then k.cost / nullif((k.entity).active_days, 0)
        when 'change' then k.cost - k.previous_cost
        when 'change_share' then (k.cost - k.previous_cost) / nullif(abs(k.previous_cost), 0)
        when 'last_seen' then extract(epoch from (k.entity).last_seen_at)
        when 'duration' then extract(epoch from (k.entity).last_seen_at - (k.entity).first_seen_at)
      end * case when (view).is_ascending then 1 else -1 end nulls last,
      case when (view).order_by = 'name' and not (view).is_ascending then k.key end collate "C" desc,
      k.key collate "C"
    offset (view).first_row
    limit (view).row_limit
  );
$$;

comment on function observability_internal.entity_page is
'A page of the entities whose name holds the search text, in order; what is not known comes last, equal ones by name.';
revoke execute on function observability_internal.entity_page from public;
grant execute on function observability_internal.entity_page to authenticated, service_role;

create function observability_internal.matched_document(
  entities observability_internal.entity_row[], view observability_internal.entity_view
) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'rows', count(*), 'requests', coalesce(sum(e.requests), 0), 'uncertain_requests', coalesce(sum(e.uncertain_requests), 0),
    'cost', case
      when count(*) = 0 then '0'
      when sum(e.requests) > sum(e.uncertain_requests) then sum(e.cost)::text
    end
  )
  from unnest(entities) as e
  where (view).search = '' or strpos(lower(e.key), (view).search) > 0;
$$;

comment on function observability_internal.matched_document is '{rows, requests, uncertain_requests, cost} of all entities whose name holds the search text.';
revoke execute on function observability_internal.matched_document from public;
grant execute on function observability_internal.matched_document to authenticated, service_role;

create function observability_internal.shown_entities(
  scope observability_internal.read_scope, filters jsonb, view observability_internal.entity_view,
  shown observability_internal.entity_row[], all_requests numeric, slots timestamptz[]
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with activities as materialized (
    select a.*
    from observability_internal.entity_activities(scope, view, array(select s.key from unnest(shown) as s), slots) as a
    where (view).group_by <> 'session_id'
  ),
  counted as materialized (
    select observability_internal.countable_entities(shown, (view).group_by, all_requests) as keys
    where (view).group_by <> 'session_id' and observability_internal.has_raw_calls((scope).from_time, (scope).to_time)
  ),
  sessions as materialized (
    select t.*
    from counted as c
    cross join lateral observability_internal.entity_sessions(scope, filters, (view).group_by, c.keys) as t
    where c.keys <> '{}'
  ),
  lines as materialized (
    select p.*
    from observability_internal.entity_session_points(scope, filters, shown) as p
    where (view).group_by = 'session_id' and (view).has_points
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'key', e.key, 'requests', e.requests, 'errors', e.errors, 'total_tokens', e.total_tokens,
    'cost', case when e.requests > e.uncertain_requests then e.cost::text end,
    'fallback_cost', coalesce(a.fallback_cost, e.fallback_cost, 0)::text,
    'fallback_requests', coalesce(a.fallback_requests, e.fallback_requests, 0),
    'unpriced_requests', coalesce(a.unpriced_requests, e.unpriced_requests, 0),
    'previous_cost', case
      when (view).compare_from is not null and (e.previous_cells = 0 or e.previous_priced_requests > 0) then e.previous_cost::text
    end,
    'active_days', a.active_days, 'first_seen_at', e.first_seen_at, 'last_seen_at', coalesce(a.last_seen_at, e.last_seen_at),
    'sessions', case when e.key = any (c.keys) then coalesce(s.sessions, 0) end,
    'session_cost', case when e.key = any (c.keys) then coalesce(s.session_cost, 0)::text end,
    'user_id', case when e.user_id = e.last_user_id then e.user_id end,
    'tenant_id', case when e.tenant_id = e.last_tenant_id then e.tenant_id end,
    'points', coalesce(a.points, l.points, '[]')
  ) order by e.place), '[]')
  from (
    select u.*, row_number() over () as place from unnest(shown) as u
  ) as e
  left join counted as c on true
  left join activities as a using (key)
  left join sessions as s using (key)
  left join lines as l using (key);
$$;

comment on function observability_internal.shown_entities is 'The rows of a page with what is read for them alone: days, points, sessions and uncertain money.';
revoke execute on function observability_internal.shown_entities from public;
grant execute on function observability_internal.shown_entities to authenticated, service_role;

create function observability_internal.ordered_entities(
  scope observability_internal.read_scope, filters jsonb, view observability_internal.entity_view,
  entities observability_internal.entity_row[], all_requests numeric
) returns observability_internal.entity_row[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if view.order_by in ('cost_per_day', 'last_seen') then
    return array(
      select row(
        e.key, e.requests, e.errors, e.total_tokens, e.uncertain_requests, e.cost, e.previous_cells,
        e.previous_priced_requests, e.previous_cost, a.active_days, e.first_seen_at, a.last_seen_at, e.sessions,
        e.session_cost, e.user_id, e.last_user_id, e.tenant_id, e.last_tenant_id, e.fallback_cost, e.fallback_requests,
        e.unpriced_requests
      )::observability_internal.entity_row
      from unnest(entities) as e
      left join observability_internal.entity_activities(scope, view, null, '{}') as a using (key)
    );
  elsif view.order_by = 'cost_per_session' then
    if all_requests > 500000 or not observability_internal.has_raw_calls(scope.from_time, scope.to_time) then
      raise exception 'sessions are counted in single calls: at most 500,000, none archived' using errcode = '22023';
    end if;
    return array(
      select row(
        e.key, e.requests, e.errors, e.total_tokens, e.uncertain_requests, e.cost, e.previous_cells,
        e.previous_priced_requests, e.previous_cost, e.active_days, e.first_seen_at, e.last_seen_at, s.sessions,
        s.session_cost, e.user_id, e.last_user_id, e.tenant_id, e.last_tenant_id, e.fallback_cost, e.fallback_requests,
        e.unpriced_requests
      )::observability_internal.entity_row
      from unnest(entities) as e
      left join observability_internal.entity_sessions(scope, filters, view.group_by, null) as s using (key)
    );
  end if;
  return entities;
end;
$$;

comment on function observability_internal.ordered_entities is
'The entities with what their order needs and the sums alone do not have; refuses (22023) too many calls.';
revoke execute on function observability_internal.ordered_entities from public;
grant execute on function observability_internal.ordered_entities to authenticated, service_role;

create function observability_internal.entity_head(
  scope observability_internal.read_scope, view observability_internal.entity_view, sums observability_internal.usage_sum[],
  begin_at timestamptz, compared tstzrange
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select observability_internal.page_frame(scope, begin_at) || jsonb_build_object(
    'previous_from', lower(compared), 'previous_to', upper(compared), 'bucket', (view).unit,
    'totals', observability_internal.totals_document(sums, true, '{}'),
    'previous', case when (view).compare_from is not null then observability_internal.totals_document(
      observability_internal.range_sums(scope, (view).compare_from, (view).compare_to), true, '{}'
    ) else '{}' end
  );
$$;

comment on function observability_internal.entity_head is
'What the page shows beside its rows: access, range, freshness, filter options, totals and those of the range compared with.';
revoke execute on function observability_internal.entity_head from public;
grant execute on function observability_internal.entity_head to authenticated, service_role;

create function observability_internal.entity_unit(span interval) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select case when span <= interval '36 hours' then 'hour' when span <= interval '62 days' then 'day' else 'week' end;
$$;

comment on function observability_internal.entity_unit is 'What a point of a row is: at most 60 of them fit a range of 400 days.';
revoke execute on function observability_internal.entity_unit from public;
grant execute on function observability_internal.entity_unit to authenticated, service_role;

create function observability_internal.entity_scope(from_time timestamptz, to_time timestamptz, filters jsonb)
returns observability_internal.read_scope
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(
    entity_scope.from_time, entity_scope.to_time,
    filters - '{group_by,order,direction,search,points,limit,offset,compare,bucket}'::text[]
  );
begin
  -- Users are counted in quarters of an hour: then everything is, so that the rows add up to the total.
  v_scope.from_time := date_bin('15 minutes', v_scope.from_time, '2000-01-01 00:00:00+00');
  v_scope.to_time := date_bin('15 minutes', v_scope.to_time + interval '899.999999 s', '2000-01-01 00:00:00+00');
  return v_scope;
end;
$$;

comment on function observability_internal.entity_scope is 'As make_scope, of whole quarters of an hour.';
revoke execute on function observability_internal.entity_scope from public;
grant execute on function observability_internal.entity_scope to authenticated, service_role;

create function observability.get_entities(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '64MB'
set jit = off
as $$
declare
  -- First, since it checks the caller.
  v_scope observability_internal.read_scope := observability_internal.entity_scope(
    get_entities.from_time, get_entities.to_time, filters
  );
  v_view observability_internal.entity_view := observability_internal.check_entity_filters(filters);
  v_compared tstzrange;
  v_begin timestamptz;
  v_filters jsonb;
  v_sums observability_internal.usage_sum[];
  v_requests numeric;
  v_entities observability_internal.entity_row[];
  v_slots timestamptz[] := array[]::timestamptz[];
begin
  v_filters := case v_scope.access
    when 'member' then filters || jsonb_build_object('user_id', auth.jwt() ->> 'sub')
    when 'tenant' then filters || jsonb_build_object('tenant_id', observability_internal.current_tenant())
    else filters
  end;
  v_begin := observability_internal.first_bucket(v_scope);
  -- Nothing is compared with a time in which data had not begun.
  v_compared := observability_internal.compared_range(filters ->> 'compare', v_scope.from_time, v_scope.to_time);
  if v_view.group_by <> 'session_id' and v_begin <= lower(v_compared) then
    v_view.compare_from := lower(v_compared);
    v_view.compare_to := upper(v_compared);
  end if;
  if v_view.group_by = 'session_id' then
    v_scope.from_time := least(
      observability_internal.raw_calls_begin(v_scope.from_time, v_scope.to_time), v_scope.to_time
    );
  end if;
  v_view.unit := observability_internal.entity_unit(v_scope.to_time - v_scope.from_time);
  v_sums := observability_internal.range_sums(v_scope, v_scope.from_time, v_scope.to_time);
  v_requests := (select coalesce(sum(s.requests), 0) from unnest(v_sums) as s);
  if v_view.group_by <> 'session_id' then
    v_entities := observability_internal.entity_rows(v_scope, v_view);
    v_entities := observability_internal.ordered_entities(v_scope, v_filters, v_view, v_entities, v_requests);
    if v_view.has_points then
      v_slots := observability_internal.entity_slots(v_scope, v_view.unit);
    end if;
  elsif v_requests > 1000000 then
    raise exception 'sessions are read from single calls: at most 1 million' using errcode = '22023';
  else
    v_entities := observability_internal.session_rows(v_scope, v_filters);
  end if;
  return observability_internal.entity_head(v_scope, v_view, v_sums, v_begin, v_compared) || jsonb_build_object(
    'group_by', v_view.group_by, 'matched', observability_internal.matched_document(v_entities, v_view),
    'points_from', to_jsonb(v_slots), 'rows', observability_internal.shown_entities(
      v_scope, v_filters, v_view, observability_internal.entity_page(v_entities, v_view), v_requests, v_slots
    )
  );
end;
$$;

comment on function observability.get_entities is
'The Customers page: one row per tenant, user, tag value (tags.<name>) or session (group_by), with head, totals and'
' {matched: {rows, requests, uncertain_requests, cost}, rows: [{key, cost, fallback_cost, sessions, points, …}]}. Filters'
' also: order, direction (asc, desc), search, limit, offset, compare (before, none or FROM/TO), points (yes, no).';
revoke execute on function observability.get_entities from public;
grant execute on function observability.get_entities to authenticated, service_role;
