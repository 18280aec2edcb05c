-- Purpose: fees of tools and requests by model, which the Costs page shows as a part of what was spent.

-- Fees stand in raw rows alone, and few rows have one: the partial index finds them. As in the reconciliation, a fee is
-- at most what its call cost. Null where the archive has taken some of the calls: then nobody knows.
create function observability_internal.model_fees(scope observability_internal.read_scope) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if not observability_internal.has_raw_calls(scope.from_time, scope.to_time) then
    return null;
  end if;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('provider', f.provider, 'model', f.model, 'fees', f.fees::text)), '[]')
    from (
      select m.provider, m.model, sum(least(m.request_fees, m.estimated_cost)) as fees
      from observability_internal.ai_usage_metrics as m
      inner join observability_internal.dimensions as d
        on m.provider = d.provider and m.model = d.model and coalesce(m.feature, '') = d.feature
        and m.environment = d.environment and m.operation = d.operation and m.status = d.status
        and coalesce(m.error_type, '') = d.error_type
      inner join observability_internal.attributions as a
        on coalesce(m.tenant_id, '') = a.tenant_id and coalesce(m.tags, '{}') = a.tags
      inner join observability_internal.users as u on m.user_id = u.user_id and a.attribution_id = u.attribution_id
      where (m.request_fees is not null or m.estimated_cost < 0) and m.request_fees > 0 and m.estimated_cost > 0
        and m.cost_source in ('priced', 'provider')
        and m.created_at >= scope.from_time and m.created_at < scope.to_time
        and (scope.user_keys is null or u.user_key = any (scope.user_keys))
        and (scope.dims is null or d.dim_id = any (scope.dims))
        and (scope.metadata is null or m.metadata @> scope.metadata)
      group by m.provider, m.model
    ) as f
  );
end;
$$;

comment on function observability_internal.model_fees is
'Fees inside the certain cost by provider and model; null where calls of the range are archived.';
revoke execute on function observability_internal.model_fees from public;
grant execute on function observability_internal.model_fees to authenticated, service_role;
