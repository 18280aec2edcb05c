-- The running month in one reading: today, the month so far, its days and those of the half year before, and the budgets.
-- Locks: none; it only creates.

create function observability_internal.spent_since(unit text, filters jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(
    date_trunc(unit, now(), coalesce(filters ->> 'timezone', 'UTC')), now() + interval '1 minute',
    observability_internal.without_metadata(filters) || '{"bucket": "day"}'
  );
begin
  if observability_internal.asks_metadata(filters) then
    return jsonb_build_object('from_time', v_scope.from_time, 'requests', null, 'total_tokens', null, 'cost', null, 'fallback_cost', null);
  end if;
  if v_scope.user_keys is not null then
    v_scope.previous_from := v_scope.from_time;
    v_scope.cells := observability_internal.own_cells(v_scope);
  end if;
  return (
    select jsonb_build_object(
      'from_time', v_scope.from_time, 'requests', coalesce(sum(c.requests), 0),
      'total_tokens', coalesce(sum(c.prompt_tokens + c.completion_tokens), 0),
      'cost', case
        when coalesce(sum(c.requests), 0) = 0 then '0'
        when sum(c.requests) > sum(c.unpriced_requests + c.fallback_requests) then sum(c.cost)::text
      end,
      'fallback_cost', coalesce(sum(c.fallback_cost), 0)::text
    )
    from observability_internal.usage_cells(v_scope, v_scope.from_time, v_scope.to_time, false) as c
  );
end;
$$;

comment on function observability_internal.spent_since is 'Requests, tokens and cost since the local day or month began; null under a filter by metadata.';
revoke execute on function observability_internal.spent_since from public;
grant execute on function observability_internal.spent_since to authenticated, service_role;

create function observability_internal.calendar_points(scope observability_internal.read_scope)
returns setof observability_internal.usage_point
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if not scope.by_user then
    return query select * from unnest(observability_internal.read_points(scope, null));
    return;
  end if;
  return query
  select
    c.bucket_start, null::text, sum(c.requests), 0::numeric, sum(c.prompt_tokens), sum(c.completion_tokens), sum(c.cached_tokens),
    sum(c.reasoning_tokens), sum(c.cost), sum(c.unpriced_requests + c.fallback_requests)
  from observability_internal.usage_cells(scope, scope.from_time, scope.to_time, true) as c
  group by c.bucket_start;
end;
$$;

comment on function observability_internal.calendar_points is 'Points by bucket of all that a scope leaves, errors aside.';
revoke execute on function observability_internal.calendar_points from public;
grant execute on function observability_internal.calendar_points to authenticated, service_role;

create function observability.get_month(filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set jit = off
as $$
#variable_conflict use_column
declare
  v_timezone constant text := coalesce(filters ->> 'timezone', 'UTC');
  v_scope observability_internal.read_scope;
begin
  -- Checked before a date is cut in a time zone that may not exist.
  perform observability_internal.check_filters(now() - interval '1 day', now(), filters);
  v_scope := observability_internal.make_scope(
    (date_trunc('month', now() at time zone v_timezone) - interval '6 months') at time zone v_timezone, now() + interval '1 minute',
    observability_internal.without_metadata(filters) || '{"bucket": "day"}'
  );
  return jsonb_build_object(
    'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end, 'timezone', v_timezone,
    'generated_at', now(), 'today', observability_internal.spent_since('day', filters),
    'month', observability_internal.spent_since('month', filters),
    'series', case when observability_internal.asks_metadata(filters) then '[]' else (
      select coalesce(jsonb_agg(jsonb_build_object(
        'bucket_start', p.bucket_start, 'requests', p.requests,
        'cost', case when p.requests > p.unpriced_requests then p.cost::text end
      ) order by p.bucket_start), '[]')
      from observability_internal.calendar_points(v_scope) as p
    ) end,
    'budgets', (
      select coalesce(jsonb_agg(observability_internal.describe_budget(b) || jsonb_build_object(
        'spent', observability_internal.spent_since(b.period, b.scope || jsonb_build_object('timezone', b.timezone)) -> 'cost'
      ) order by b.name), '[]')
      from observability_internal.budgets as b
      where b.is_enabled and v_scope.access not in ('member', 'tenant')
    )
  );
end;
$$;

comment on function observability.get_month is
'The running month: {access, timezone, generated_at, today, month, series (by day, from half a year before), budgets (with what'
' each has spent in its period)}. Figures are null under a filter by metadata.';
revoke execute on function observability.get_month from public;
grant execute on function observability.get_month to authenticated, service_role;

create function observability.get_hours(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(
    from_time, to_time, (filters - 'group_by') || '{"bucket": "day"}'
  );
begin
  v_scope.bucket := 'hour';
  v_scope.cuts := observability_internal.bucket_cuts(v_scope.from_time, v_scope.to_time, 'hour', v_scope.timezone);
  return (
    select jsonb_build_object('hours', coalesce(jsonb_agg(jsonb_build_object(
      'weekday', h.weekday, 'hour', h.hour, 'requests', h.requests,
      'cost', case when h.requests > h.unpriced_requests then h.cost::text end
    ) order by h.weekday, h.hour), '[]'))
    from (
      select
        extract(isodow from l.local) as weekday, extract(hour from l.local) as hour,
        sum(p.requests) as requests, sum(p.unpriced_requests) as unpriced_requests, sum(p.cost) as cost
      from observability_internal.calendar_points(v_scope) as p
      -- By its end: where clocks move by half an hour, as on Lord Howe Island, an hour seems to begin in the one before.
      cross join lateral (select (p.bucket_start + interval '59 minutes') at time zone v_scope.timezone as local) as l
      group by 1, 2
    ) as h
  );
end;
$$;

comment on function observability.get_hours is
'Calls and cost by weekday (1 is Monday) and hour of the filters'' time zone: {hours: [{weekday, hour, requests, cost}]}.';
revoke execute on function observability.get_hours from public;
grant execute on function observability.get_hours to authenticated, service_role;
