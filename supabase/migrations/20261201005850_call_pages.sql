-- The page of single calls: newest first, or those that cost most, took longest or used most tokens.
-- Locks: none; it only creates.

-- The dearest calls are few: an index of these alone answers the question for months of calls at little cost.
create index ai_usage_metrics_dear_idx on observability_internal.ai_usage_metrics (estimated_cost desc, event_id desc)
where estimated_cost >= 0.05;

-- Calls without a known cost are in no range of costs: beside such a range it is told how many they are.
create index ai_usage_metrics_unpriced_idx on observability_internal.ai_usage_metrics (created_at)
where estimated_cost is null;

create function observability_internal.check_limits(filters jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_figure text;
begin
  foreach v_figure in array '{cost,latency_ms,tokens}'::text[] loop
    if exists (
      select from unnest(array[filters ->> ('min_' || v_figure), filters ->> ('max_' || v_figure)]) as l (typed)
      where l.typed !~ '^[0-9]{1,12}(\.[0-9]{1,12})?$' or (v_figure = 'tokens' and l.typed like '%.%')
    ) then
      raise exception 'min_% and max_% are numbers of zero or more%', v_figure, v_figure,
        case when v_figure = 'tokens' then ', whole ones' else '' end using errcode = '22023';
    end if;
    if (filters ->> ('min_' || v_figure))::numeric > (filters ->> ('max_' || v_figure))::numeric then
      raise exception 'min_% is above max_%: no call can be in between', v_figure, v_figure using errcode = '22023';
    end if;
  end loop;
end;
$$;

comment on function observability_internal.check_limits is
'Refuses (22023) limits of cost, latency and tokens that are no numbers, or a lower one above the upper one.';
revoke execute on function observability_internal.check_limits from public;
grant execute on function observability_internal.check_limits to authenticated, service_role;

create function observability_internal.check_call_filters(from_time timestamptz, to_time timestamptz, filters jsonb)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.check_filters(
    check_call_filters.from_time, check_call_filters.to_time,
    filters - '{error_type,session_id,order,min_cost,min_latency_ms,min_tokens,max_cost,max_latency_ms,max_tokens}'::text[]
    #- '{not,error_type}' #- '{not,session_id}'
  );
  perform observability_internal.check_tag_filter(filters);
  perform observability_internal.check_metadata(check_call_filters.from_time, check_call_filters.to_time, filters);
  perform observability_internal.check_limits(filters);
  if coalesce(filters ->> 'order', 'newest') not in ('newest', 'cost', 'latency', 'tokens') then
    raise exception 'order is newest, cost, latency or tokens' using errcode = '22023';
  end if;
  if filters ->> 'cursor' !~ '^[^|]+\|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' or (
    coalesce(filters ->> 'order', 'newest') <> 'newest' and filters ->> 'cursor' !~ '^-?[0-9.e+-]{1,60}\|'
  ) then
    raise exception 'the cursor is not one that get_events returned' using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_call_filters is 'Refuses (22023) what get_events does not take: filters, order, limits of a figure, cursor.';
revoke execute on function observability_internal.check_call_filters from public;
grant execute on function observability_internal.check_call_filters to authenticated, service_role;

create function observability_internal.ranked_calls(
  from_time timestamptz, to_time timestamptz, filters jsonb, last_value text, last_id uuid, max_calls integer
) returns setof observability_internal.ai_usage_metrics
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
declare
  v_figure constant text := case filters ->> 'order'
    when 'cost' then 'm.estimated_cost' when 'latency' then 'm.latency_ms' else '(m.prompt_tokens + m.completion_tokens)'
  end;
  v_users constant text[] := observability_internal.filter_values(filters, 'user_id');
  v_query constant text := format($query$
    select m.*
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= $1 and m.created_at < $2 and %1$s is not null and ($3 is null or m.user_id = any ($3)) and %2$s and %3$s
    order by %1$s desc, m.event_id desc
    limit $4
  $query$, v_figure, observability_internal.call_predicate(filters),
    case when last_id is null then 'true' else format('(%s, m.event_id) < (%L, %L::uuid)', v_figure, last_value, last_id) end);
  v_dear observability_internal.ai_usage_metrics[];
begin
  if filters ->> 'order' = 'cost' then
    execute format('select array(select c from (%s) as c)', replace(v_query, 'm.estimated_cost is not null', 'm.estimated_cost >= 0.05'))
    into v_dear
    using ranked_calls.from_time, ranked_calls.to_time, v_users, max_calls;
    if cardinality(v_dear) = max_calls then
      return query select c.* from unnest(v_dear) as c;
      return;
    end if;
  end if;
  return query execute v_query using ranked_calls.from_time, ranked_calls.to_time, v_users, max_calls;
end;
$$;

comment on function observability_internal.ranked_calls is
'The calls that cost most, took longest or used most tokens (filters: order), after a place; those without the figure are'
' left out.';
revoke execute on function observability_internal.ranked_calls from public;
grant execute on function observability_internal.ranked_calls to authenticated, service_role;

create function observability_internal.call_place(call observability_internal.ai_usage_metrics, order_by text) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select case order_by
    when 'cost' then (call).estimated_cost::text when 'latency' then (call).latency_ms::text
    when 'tokens' then ((call).prompt_tokens + (call).completion_tokens)::text
    else to_char((call).created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  end || '|' || (call).event_id;
$$;

comment on function observability_internal.call_place is 'The cursor that continues after a call.';
revoke execute on function observability_internal.call_place from public;
grant execute on function observability_internal.call_place to authenticated, service_role;

-- Unpriced calls may be many and hardly any of them match: of so many as can be looked through in a moment.
create function observability_internal.count_without_cost(from_time timestamptz, to_time timestamptz, filters jsonb) returns integer
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_users constant text[] := observability_internal.filter_values(filters, 'user_id');
  v_looked bigint;
  v_found bigint;
begin
  if not filters ?| '{min_cost,max_cost}' then
    return null;
  end if;
  execute format($query$
    select count(*), count(*) filter (where ($3 is null or m.user_id = any ($3)) and %s)
    from (
      select u.*
      from observability_internal.ai_usage_metrics as u
      where u.created_at >= $1 and u.created_at < $2 and u.estimated_cost is null
      limit 100000
    ) as m
  $query$, observability_internal.call_predicate(filters - '{min_cost,max_cost}'::text[]))
  into v_looked, v_found
  using count_without_cost.from_time, count_without_cost.to_time, v_users;
  return case when v_looked < 100000 then v_found end;
end;
$$;

comment on function observability_internal.count_without_cost is
'How many calls a range of costs leaves out because their cost is unknown; null without one, and beyond 100,000 unpriced calls.';
revoke execute on function observability_internal.count_without_cost from public;
grant execute on function observability_internal.count_without_cost to authenticated, service_role;

create function observability.get_events(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
  v_filters jsonb;
  v_cursor text[];
  v_limit integer;
  v_order text;
  v_calls observability_internal.ai_usage_metrics[];
  v_events jsonb;
  v_next text;
begin
  perform observability_internal.check_call_filters(from_time, to_time, filters);
  v_limit := coalesce(filters ->> 'limit', '100')::integer;
  v_order := coalesce(filters ->> 'order', 'newest');
  v_cursor := string_to_array(filters ->> 'cursor', '|');
  v_filters := case v_access
    when 'member' then filters || jsonb_build_object('user_id', auth.jwt() ->> 'sub')
    when 'tenant' then filters || jsonb_build_object('tenant_id', observability_internal.current_tenant())
    else filters
  end;
  if v_order = 'newest' then
    v_calls := array(
      select c
      from observability_internal.find_calls(
        get_events.from_time, least(get_events.to_time, v_cursor[1]::timestamptz),
        case when v_cursor[1]::timestamptz < get_events.to_time then v_cursor[2]::uuid else '00000000-0000-0000-0000-000000000000' end,
        v_filters, v_limit + 1
      ) as c
      order by c.created_at desc, c.event_id desc
    );
  else
    v_calls := array(
      select c
      from observability_internal.ranked_calls(
        get_events.from_time, get_events.to_time, v_filters, v_cursor[1], v_cursor[2]::uuid, v_limit + 1
      ) as c
    );
  end if;
  select coalesce(jsonb_agg((to_jsonb(c) - '{batch_id,ordinality}'::text[]) || jsonb_build_object(
    'estimated_cost', c.estimated_cost::text, 'provider_cost', c.provider_cost::text, 'request_fees', c.request_fees::text
  ) order by c.ordinality), '[]')
  into v_events
  from unnest(v_calls[:v_limit]) with ordinality as c;
  if cardinality(v_calls) > v_limit then
    v_next := observability_internal.call_place(v_calls[v_limit], v_order);
  end if;
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end, 'events', v_events, 'next_cursor', v_next,
    'newest_event_at', case
      when cardinality(v_calls) = 0 then observability_internal.newest_call_at(v_access)
    end,
    'without_cost', case
      when v_cursor is null then observability_internal.count_without_cost(get_events.from_time, get_events.to_time, v_filters)
    end,
    'options', (
      select jsonb_build_object(
        'models', coalesce(jsonb_agg(distinct d.model), '[]'), 'providers', coalesce(jsonb_agg(distinct d.provider), '[]'),
        'features', coalesce(jsonb_agg(distinct d.feature), '[]'),
        'environments', coalesce(jsonb_agg(distinct d.environment), '[]'),
        'operations', coalesce(jsonb_agg(distinct d.operation), '[]'),
        'error_types', coalesce(jsonb_agg(distinct d.error_type) filter (where d.error_type <> ''), '[]')
      ) || observability_internal.attribution_options()
      from observability_internal.dimensions as d
    ),
    'has_demo_data', exists (select from observability_internal.dimensions as d where d.environment = 'demo')
  );
end;
$$;

comment on function observability.get_events is
'Raw calls by keyset pages: {access, events, next_cursor, newest_event_at (where there are none), without_cost (calls that a'
' range of costs leaves out), options, has_demo_data}; filters also error_type, session_id, min_ and max_ of cost, latency_ms'
' and tokens, and order: newest (the default), cost, latency or tokens, the largest first; limit 1 to 1000.';
revoke execute on function observability.get_events from public;
grant execute on function observability.get_events to authenticated, service_role;
