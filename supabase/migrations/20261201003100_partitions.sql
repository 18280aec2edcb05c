-- Monthly partitions, made ahead by the worker and on demand for rows of a month that has none yet.
-- Locks: none to apply, it only creates. At run time attaching takes SHARE UPDATE EXCLUSIVE on the parent: reads and
-- writes go on.

create function observability_internal.archive_table(kind text) returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  if kind is null or kind not in ('usage', 'performance') then
    raise exception 'kind is usage or performance' using errcode = '22023';
  end if;
  return case kind when 'usage' then 'ai_usage_metrics' else 'performance_metrics' end;
end;
$$;

comment on function observability_internal.archive_table is 'The table of a kind of rows: usage or performance.';
revoke execute on function observability_internal.archive_table from public;
grant execute on function observability_internal.archive_table to service_role;

-- Security definer: service_role may write rows but does not own the tables that it may cause to exist.
create function observability_internal.ensure_partition(parent text, month date) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '5s'
set timezone = 'UTC'
as $$
declare
  v_start constant timestamptz := date_trunc('month', ensure_partition.month::timestamp) at time zone 'UTC';
  v_end constant timestamptz := (date_trunc('month', ensure_partition.month::timestamp) + interval '1 month') at time zone 'UTC';
  v_name constant text := parent || '_' || to_char(v_start at time zone 'UTC', 'YYYYMM');
  v_existing constant text := format('observability_internal.%I', v_name);
begin
  if parent not in ('ai_usage_metrics', 'performance_metrics') then
    raise exception 'no partitions for %', parent using errcode = '22023';
  end if;
  if v_start < '2015-01-01 00:00:00+00' or v_start > now() + interval '13 months' then
    raise exception 'no partition for %: outside 2015 to a year ahead', to_char(v_start, 'YYYY-MM')
      using errcode = '22008';
  end if;
  if to_regclass(v_existing) is not null then
    return false;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('treering.partition.' || v_name, 0));
  -- Read from the catalogue: waiting for the lock does not refresh what to_regclass remembers as missing.
  if exists (
    select from pg_catalog.pg_class as c
    where c.relnamespace = 'observability_internal'::regnamespace and c.relname = v_name
  ) then
    return false;
  end if;
  -- A table of its own first, then attached: creating it in place would lock the parent against writes.
  execute format(
    'create table observability_internal.%I (like observability_internal.%I including all, constraint %I check (created_at >= %L and created_at < %L))',
    v_name, parent, v_name || '_range', v_start, v_end
  );
  execute format('alter table observability_internal.%I enable row level security', v_name);
  execute format(
    'alter table observability_internal.%I attach partition observability_internal.%I for values from (%L) to (%L)',
    parent, v_name, v_start, v_end
  );
  execute format('alter table observability_internal.%I drop constraint %I', v_name, v_name || '_range');
  return true;
end;
$$;

comment on function observability_internal.ensure_partition is 'Makes the partition of one month; true when it was missing.';
revoke execute on function observability_internal.ensure_partition from public;
grant execute on function observability_internal.ensure_partition to service_role;

create function observability.ensure_partitions(months_ahead integer default 2) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_made integer := 0;
  v_parent text;
  v_month date;
begin
  if months_ahead is null or months_ahead not between 0 and 12 then
    raise exception 'months_ahead is from 0 to 12' using errcode = '22023';
  end if;
  foreach v_parent in array array['ai_usage_metrics', 'performance_metrics'] loop
    for v_month in
      select (date_trunc('month', now() at time zone 'UTC') + make_interval(months => n))::date
      from generate_series(0, months_ahead) as n
    loop
      v_made := v_made + observability_internal.ensure_partition(v_parent, v_month)::integer;
    end loop;
  end loop;
  return v_made;
end;
$$;

comment on function observability.ensure_partitions is 'Makes this month''s partition and those ahead; returns how many were missing.';
revoke execute on function observability.ensure_partitions from public;
grant execute on function observability.ensure_partitions to service_role;

create function observability_internal.ensure_partitions_for(kind text, events jsonb) returns void
language sql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  select observability_internal.ensure_partition(
    case kind when 'usage' then 'ai_usage_metrics' else 'performance_metrics' end,
    months.month
  )
  from (
    select distinct date_trunc('month', e.created_at)::date as month
    from jsonb_to_recordset(events) as e (created_at timestamptz)
    where e.created_at between '2015-01-01 00:00:00+00' and now() + interval '24 hours'
  ) as months
  order by months.month;
$$;

comment on function observability_internal.ensure_partitions_for is 'Makes the partitions that these events need.';
revoke execute on function observability_internal.ensure_partitions_for from public;
grant execute on function observability_internal.ensure_partitions_for to service_role;
