-- Views for tools of business intelligence, with a promise of stability: see docs/bi.md.
-- Locks: none; it only creates.

create schema observability_bi;

comment on schema observability_bi is
'Treering: read-only views for BI tools, version 1. Columns are never renamed, removed or retyped; new ones come last.';

-- What a database user of a BI tool is granted; nobody logs in as it. Roles belong to the whole server: another database
-- may have made it, or may be making it at this moment.
do $role$
begin
  if to_regrole('treering_bi') is null then
    create role treering_bi nologin;
  end if;
exception
  when duplicate_object or unique_violation then
    null;
end
$role$;

grant usage on schema observability_bi to treering_bi, authenticated, service_role;

grant usage on schema observability_internal to treering_bi;

-- The views have their caller's rights: these rollups and names are all that the role reads.
grant select on table
observability_internal.dimensions, observability_internal.users, observability_internal.attributions,
observability_internal.stale_rollups, observability_internal.packed_minutes, observability_internal.unpacked_minutes,
observability_internal.usage_by_minute, observability_internal.usage_by_hour, observability_internal.usage_by_day,
observability_internal.usage_by_user, observability_internal.provider_costs
to treering_bi;

grant execute on function
observability_internal.minutes_within, observability_internal.each_sum
to treering_bi;

create policy "BI tools read the dimensions" on observability_internal.dimensions
for select to treering_bi
using (true);

create policy "BI tools read the users" on observability_internal.users
for select to treering_bi
using (true);

create policy "BI tools read the tenants" on observability_internal.attributions
for select to treering_bi
using (true);

create policy "BI tools read what waits to be condensed" on observability_internal.stale_rollups
for select to treering_bi
using (true);

create policy "BI tools read the minutes" on observability_internal.usage_by_minute
for select to treering_bi
using (true);

create policy "BI tools read the packed minutes" on observability_internal.packed_minutes
for select to treering_bi
using (true);

create policy "BI tools read the hours" on observability_internal.usage_by_hour
for select to treering_bi
using (true);

create policy "BI tools read the days" on observability_internal.usage_by_day
for select to treering_bi
using (true);

create policy "BI tools read the rollup of users" on observability_internal.usage_by_user
for select to treering_bi
using (true);

create policy "BI tools read the bills" on observability_internal.provider_costs
for select to treering_bi
using (true);

grant execute on function observability_internal.stale_buckets to treering_bi;

-- Members and tenants cannot read the rollups of all people: their own rows come from the rollup by user.
create function observability_internal.reads_own_rows() returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select pg_catalog.current_setting('role', true) = 'authenticated' and observability_internal.access_level() in ('member', 'tenant');
$$;

comment on function observability_internal.reads_own_rows is 'Whether the caller is a member or a tenant, who sees their own calls.';
revoke execute on function observability_internal.reads_own_rows from public;
grant execute on function observability_internal.reads_own_rows to authenticated, service_role, treering_bi;

grant execute on function observability_internal.access_level to treering_bi;

-- Security definer would hide the caller from row level security: the views have their caller's rights.
do $views$
declare
  -- One list for all views: name of the column, what makes it of a rollup's row.
  v_figures constant text := $list$
    r.requests as calls, r.requests - coalesce(r.fallback_requests, 0) - coalesce(r.unpriced_requests, 0) as certain_calls,
    case
      when r.requests > coalesce(r.fallback_requests, 0) + coalesce(r.unpriced_requests, 0) then r.cost
    end as certain_cost_usd,
    coalesce(r.provider_reported_cost, 0) as provider_reported_cost_usd,
    coalesce(r.fallback_requests, 0) as fallback_calls, coalesce(r.fallback_cost, 0) as fallback_cost_usd,
    coalesce(r.unpriced_requests, 0) as unpriced_calls, coalesce(r.estimated_requests, 0) as estimated_token_calls,
    r.prompt_tokens, coalesce(r.cached_tokens, 0) as cached_prompt_tokens,
    coalesce(r.cache_write_tokens, 0) as cache_write_tokens, r.completion_tokens,
    coalesce(r.reasoning_tokens, 0) as reasoning_tokens
  $list$;
  v_names constant text := $list$
    d.provider, d.model, nullif(d.feature, '') as feature, d.environment, d.operation, d.status,
    nullif(d.error_type, '') as error_type
  $list$;
  v_level text;
begin
  foreach v_level in array array['hour', 'day'] loop
    execute format(
      $sql$
      create view observability_bi.usage_by_%1$s with (security_invoker = true) as
      select r.bucket as %1$s_start, %2$s, %3$s
      from observability_internal.usage_by_%1$s as r
      inner join observability_internal.dimensions as d using (dim_id)
      where not exists (
        select from observability_internal.stale_buckets(%1$L) as s (bucket) where s.bucket = r.bucket
      )
      union all
      select date_trunc(%1$L, r.bucket, 'UTC') as %1$s_start, %2$s, %3$s
      from observability_internal.stale_buckets(%1$L) as s (bucket)
      cross join lateral observability_internal.minutes_within(s.bucket, s.bucket + interval '1 %1$s') as r
      inner join observability_internal.dimensions as d using (dim_id)
      union all
      select date_trunc(%1$L, r.bucket, 'UTC') as %1$s_start, %2$s, %3$s
      from observability_internal.usage_by_user as r
      inner join observability_internal.dimensions as d using (dim_id)
      where (select observability_internal.reads_own_rows())
      $sql$,
      v_level, v_names, v_figures
    );
  end loop;
  execute format(
    $sql$
    create view observability_bi.usage_by_user with (security_invoker = true) as
    select r.bucket as quarter_hour_start, u.user_id, nullif(a.tenant_id, '') as tenant_id, %1$s, %2$s
    from observability_internal.usage_by_user as r
    inner join observability_internal.users as u using (user_key)
    inner join observability_internal.attributions as a using (attribution_id)
    inner join observability_internal.dimensions as d using (dim_id)
    $sql$,
    v_names, v_figures
  );
end
$views$;

comment on view observability_bi.usage_by_hour is
'Calls by UTC hour, provider, model, feature, environment, operation, status and error type; add rows up.';

comment on view observability_bi.usage_by_day is 'The same by UTC day.';

comment on view observability_bi.usage_by_user is
'The same by user, tenant and quarter of an hour, so that a local day or month is exact in every time zone.';

create view observability_bi.bills with (security_invoker = true) as
select c.day, c.provider, c.source, c.line_item, c.amount, c.currency, c.fetched_at
from observability_internal.provider_costs as c
where c.kind = 'cost';

comment on view observability_bi.bills is 'Lines of the providers'' bills by UTC day. Analysts and BI tools.';

create view observability_bi.contract with (security_invoker = true) as
select
  1 as version, c.table_name::text as view_name, c.column_name::text as column_name, c.ordinal_position::integer as place,
  c.data_type::text as data_type
from information_schema.columns as c
where c.table_schema = 'observability_bi' and c.table_name <> 'contract';

comment on view observability_bi.contract is 'The version of the promise, and the columns that it is about.';

grant select on table
observability_bi.usage_by_hour, observability_bi.usage_by_day, observability_bi.usage_by_user, observability_bi.bills,
observability_bi.contract
to treering_bi, authenticated, service_role;
