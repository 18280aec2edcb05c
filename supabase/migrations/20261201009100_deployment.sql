-- What may be wrong with a deployment and shows in no figure: rights changed by hand, months without a partition,
-- channels that only a key can open.
-- Locks: none; it only creates.

create function observability_internal.tables_without_rls() returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    select c.relname::text
    from pg_catalog.pg_class as c
    inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
    where n.nspname in ('observability', 'observability_internal') and c.relkind in ('r', 'p') and not c.relrowsecurity
    order by c.relname
  );
$$;

comment on function observability_internal.tables_without_rls is 'Tables and partitions of ours whose row level security is off: none as migrated.';
revoke execute on function observability_internal.tables_without_rls from public;
grant execute on function observability_internal.tables_without_rls to service_role;

create function observability_internal.open_to_anon() returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  with ours as (
    select n.oid, n.nspname, n.nspacl
    from pg_catalog.pg_namespace as n
    where n.nspname in ('observability', 'observability_internal', 'observability_bi')
  ),
  grants as (
    select 'schema ' || o.nspname as object, a.grantee
    from ours as o
    cross join lateral pg_catalog.aclexplode(o.nspacl) as a
    union
    select o.nspname || '.' || p.proname, a.grantee
    from ours as o
    inner join pg_catalog.pg_proc as p on o.oid = p.pronamespace
    cross join lateral pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) as a
    union
    select o.nspname || '.' || c.relname, a.grantee
    from ours as o
    inner join pg_catalog.pg_class as c on o.oid = c.relnamespace
    cross join lateral pg_catalog.aclexplode(c.relacl) as a
  )
  select array(
    select g.object from grants as g where g.grantee = 0 or g.grantee = to_regrole('anon')::oid order by g.object
  );
$$;

comment on function observability_internal.open_to_anon is 'Whatever of ours was granted to anon or to everybody: nothing as migrated.';
revoke execute on function observability_internal.open_to_anon from public;
grant execute on function observability_internal.open_to_anon to service_role;

create function observability_internal.closed_to_viewers() returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if to_regrole('authenticated') is null then
    return array['role authenticated'];
  end if;
  return array(
    select 'schema ' || n.nspname
    from pg_catalog.pg_namespace as n
    where n.nspname in ('observability', 'observability_internal')
      and not has_schema_privilege('authenticated', n.oid, 'usage')
    union all
    select p.oid::regprocedure::text
    from pg_catalog.pg_proc as p
    inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
    where n.nspname = 'observability' and not has_function_privilege('authenticated', p.oid, 'execute')
      and p.proname in (
        'get_overview', 'get_usage', 'get_costs', 'get_performance', 'get_events', 'get_series', 'get_alerts', 'get_settings'
      )
  );
end;
$$;

comment on function observability_internal.closed_to_viewers is 'What the pages need and authenticated may not use: nothing as migrated.';
revoke execute on function observability_internal.closed_to_viewers from public;
grant execute on function observability_internal.closed_to_viewers to service_role;

create function observability_internal.missing_partitions() returns text[]
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  select array(
    select p.name || '_' || to_char(m.month, 'YYYYMM') as name
    from unnest(array['ai_usage_metrics', 'performance_metrics']) as p (name)
    cross join generate_series(
      date_trunc('month', now()), date_trunc('month', now()) + interval '1 month', interval '1 month'
    ) as m (month)
    where not exists (
      select from pg_catalog.pg_inherits as i
      inner join pg_catalog.pg_class as c on i.inhrelid = c.oid
      where i.inhparent = ('observability_internal.' || p.name)::regclass
        and c.relname = p.name || '_' || to_char(m.month, 'YYYYMM')
    )
    order by name
  );
$$;

comment on function observability_internal.missing_partitions is 'The partitions of this month and the next that do not exist.';
revoke execute on function observability_internal.missing_partitions from public;
grant execute on function observability_internal.missing_partitions to service_role;

-- Security definer: ops may see which channels are sealed without a right on the table of secrets.
create function observability.get_deployment() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '8s'
set timezone = 'UTC'
as $$
declare
  v_access constant text := observability_internal.require_access('{ops,service}');
begin
  return jsonb_build_object(
    'server_time', clock_timestamp(),
    'tables_without_rls', to_jsonb(observability_internal.tables_without_rls()),
    'open_to_anon', to_jsonb(observability_internal.open_to_anon()),
    'closed_to_viewers', to_jsonb(observability_internal.closed_to_viewers()),
    'missing_partitions', to_jsonb(observability_internal.missing_partitions()),
    'sealed_channels', (
      select coalesce(jsonb_agg(c.name order by c.name), '[]')
      from observability_internal.channel_secrets as s
      inner join observability_internal.notification_channels as c on s.channel_id = c.channel_id
      where s.sealed is not null
    ),
    -- Ciphertext, for the service alone: it tells a wrong key from the right one before a message fails.
    'sealed', case
      when v_access = 'service' then (
        select coalesce(jsonb_agg(s.sealed), '[]')
        from observability_internal.channel_secrets as s
        where s.sealed is not null
      )
      else '[]'::jsonb
    end,
    'ops_members', (select count(*) from observability_internal.members as m where m.role = 'ops')
  );
end;
$$;

comment on function observability.get_deployment is
'What may be wrong with a deployment: rights changed by hand, missing partitions, sealed channels. Ops.';
revoke execute on function observability.get_deployment from public;
grant execute on function observability.get_deployment to authenticated, service_role;
