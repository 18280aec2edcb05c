-- Costs by day and by dimension, for backends and commands.
-- Locks: none; it only creates.

create function observability.get_daily_cost(
  user_id text default null, from_time timestamptz default null, to_time timestamptz default null,
  timezone text default 'UTC', tenant_id text default null
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_tenant_id constant text := coalesce(get_daily_cost.tenant_id, observability_internal.current_tenant());
  v_user_id constant text := coalesce(get_daily_cost.user_id, case when v_tenant_id is null then auth.jwt() ->> 'sub' end);
  v_zone constant text := coalesce(get_daily_cost.timezone, 'UTC');
  v_to timestamptz := get_daily_cost.to_time;
  v_from timestamptz := get_daily_cost.from_time;
  v_scope observability_internal.read_scope;
begin
  perform observability_internal.require_access('{member,tenant,analyst,ops,service}');
  if v_user_id is null and v_tenant_id is null then
    raise exception 'user_id or tenant_id is needed' using errcode = '22023';
  end if;
  perform observability_internal.check_filters(
    now() - interval '1 day', now(), jsonb_build_object('timezone', v_zone)
  );
  v_to := coalesce(v_to, (date_trunc('day', now() at time zone v_zone) + interval '1 day') at time zone v_zone);
  v_from := coalesce(v_from, (date_trunc('day', v_to at time zone v_zone) - interval '30 days') at time zone v_zone);
  v_scope := observability_internal.make_scope(
    v_from, v_to,
    jsonb_build_object('user_id', v_user_id, 'tenant_id', v_tenant_id, 'timezone', v_zone, 'bucket', 'day')
  );
  return (
    with by_day as (
      select
        c.bucket_start, sum(c.requests) as requests, sum(c.prompt_tokens) as prompt_tokens,
        sum(c.completion_tokens) as completion_tokens, sum(c.cost) as cost, sum(c.fallback_cost) as fallback_cost,
        sum(c.unpriced_requests) as unpriced_requests, sum(c.unpriced_requests + c.fallback_requests) as uncertain_requests
      from observability_internal.usage_cells(v_scope, v_scope.from_time, v_scope.to_time, true) as c
      group by c.bucket_start
    )
    select jsonb_build_object(
      'user_id', v_user_id, 'tenant_id', v_tenant_id, 'from_time', v_scope.from_time, 'to_time', v_scope.to_time, 'timezone', v_zone,
      'requests', coalesce(sum(d.requests), 0),
      'cost', case when sum(d.requests) > sum(d.uncertain_requests) then sum(d.cost)::text end,
      'fallback_cost', coalesce(sum(d.fallback_cost), 0)::text,
      'unpriced_requests', coalesce(sum(d.unpriced_requests), 0),
      'days', coalesce(jsonb_agg(jsonb_build_object(
        'day', (d.bucket_start at time zone v_zone)::date, 'requests', d.requests, 'prompt_tokens', d.prompt_tokens,
        'completion_tokens', d.completion_tokens, 'total_tokens', d.prompt_tokens + d.completion_tokens,
        'cost', case when d.requests > d.uncertain_requests then d.cost::text end,
        'fallback_cost', d.fallback_cost::text, 'unpriced_requests', d.unpriced_requests
      ) order by d.bucket_start), '[]')
    )
    from by_day as d
  );
end;
$$;

comment on function observability.get_daily_cost is
'A user''s or a tenant''s cost by day of a time zone, by default the last 30 days and the caller: {user_id, tenant_id, cost, '
'requests, days: [{day, cost, …}]}. Others'' costs for analysts and ops.';
revoke execute on function observability.get_daily_cost from public;
grant execute on function observability.get_daily_cost to authenticated, service_role;

create function observability.get_cost_breakdown(
  from_time timestamptz, to_time timestamptz, group_by text default 'model', filters jsonb default '{}'
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_scope observability_internal.read_scope;
  v_sums observability_internal.usage_sum[];
begin
  v_scope := observability_internal.make_scope(
    get_cost_breakdown.from_time, get_cost_breakdown.to_time,
    get_cost_breakdown.filters || jsonb_build_object('group_by', coalesce(get_cost_breakdown.group_by, 'model'))
  );
  -- Users are counted in quarters of an hour: then everything is, so that the rows add up to the total.
  if observability_internal.is_attributed(v_scope.group_by) then
    v_scope.from_time := date_bin('15 minutes', v_scope.from_time, '2000-01-01 00:00:00+00');
    v_scope.to_time := date_bin('15 minutes', v_scope.to_time + interval '15 minutes' - interval '1 microsecond', '2000-01-01 00:00:00+00');
    v_scope.previous_from := v_scope.from_time - (v_scope.to_time - v_scope.from_time);
  end if;
  v_sums := (observability_internal.read_usage(v_scope, null)).sums;
  return jsonb_build_object(
    'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end,
    'from_time', v_scope.from_time, 'to_time', v_scope.to_time, 'timezone', v_scope.timezone,
    'group_by', v_scope.group_by,
    'totals', observability_internal.totals_document(
      v_sums, true, observability_internal.latency_totals(v_scope, v_scope.from_time, v_scope.to_time)
    ),
    'rows', case
      when v_scope.group_by = 'user_id' then observability_internal.user_figures(v_scope, observability_internal.compare_users(v_scope)) -> 'rows'
      when observability_internal.is_attributed(v_scope.group_by)
        then observability_internal.attributed_figures(
          v_scope, array[v_scope.group_by], observability_internal.compare_users(v_scope)
        ) -> v_scope.group_by
      else coalesce(
        observability_internal.usage_breakdown(v_sums, array[v_scope.group_by], v_scope.row_limit, false) -> v_scope.group_by, '[]'
      )
    end
  );
end;
$$;

comment on function observability.get_cost_breakdown is
'Cost of a range by model, feature, provider, environment, operation, status, user_id, tenant_id or tags.<name>: {totals, '
'rows: [{key, cost, …}]}, costliest first, the rest as one row.';
revoke execute on function observability.get_cost_breakdown from public;
grant execute on function observability.get_cost_breakdown to authenticated, service_role;
