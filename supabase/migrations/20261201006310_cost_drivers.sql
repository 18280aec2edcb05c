-- What made a period dearer or cheaper than the one before: its sums by provider, model and feature, side by side.
-- Locks: none; it only creates.

create function observability.get_cost_drivers(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
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
  v_scope constant observability_internal.read_scope := observability_internal.make_page_scope(
    get_cost_drivers.from_time, get_cost_drivers.to_time, get_cost_drivers.filters
  );
begin
  return (
    with sums as (
      select
        d.provider, d.model, d.feature, s.is_current, sum(s.requests) as requests,
        coalesce(sum(s.requests) filter (where d.status = 'error'), 0) as errors,
        sum(s.unpriced_requests + s.fallback_requests) as uncertain_requests, sum(s.prompt_tokens) as prompt_tokens,
        sum(s.completion_tokens) as completion_tokens, sum(s.cached_tokens) as cached_tokens,
        sum(s.cache_write_tokens) as cache_write_tokens, sum(s.cost)::text as cost
      from unnest((observability_internal.read_usage(v_scope, null)).sums) as s
      inner join observability_internal.dimensions as d using (dim_id)
      group by d.provider, d.model, d.feature, s.is_current
    ),
    cells as (
      select
        coalesce(n.provider, b.provider) as provider, coalesce(n.model, b.model) as model,
        coalesce(n.feature, b.feature) as feature,
        to_jsonb(n) - '{provider,model,feature,is_current}'::text[] as now,
        to_jsonb(b) - '{provider,model,feature,is_current}'::text[] as before
      from (select * from sums where is_current) as n
      full join (select * from sums where not is_current) as b
        on n.provider = b.provider and n.model = b.model and n.feature = b.feature
    )
    select jsonb_build_object(
      'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end,
      'from_time', v_scope.from_time, 'to_time', v_scope.to_time, 'previous_from_time', v_scope.previous_from,
      'timezone', v_scope.timezone,
      'cells', coalesce(jsonb_agg(to_jsonb(c) order by c.provider, c.model, c.feature), '[]')
    )
    from cells as c
  );
end;
$$;

comment on function observability.get_cost_drivers is
'Sums of a range and of the one before by provider, model and feature: {cells: [{provider, model, feature, now, '
'before}]}. Members get their own.';
revoke execute on function observability.get_cost_drivers from public;
grant execute on function observability.get_cost_drivers to authenticated, service_role;
