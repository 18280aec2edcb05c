-- Purpose: old rollups go by whole months, weeks that reach over the end stay.
-- Locks: as before, the roll-up's advisory lock.

create or replace function observability.prune_rollups(retention_days integer, max_rows integer default 20000) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '120s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_limit timestamptz;
  v_level record;
  v_rows bigint;
  v_total bigint := 0;
begin
  if retention_days is null or retention_days not between 1 and 36500 or max_rows is null or max_rows not between 1 and 1000000 then
    raise exception 'retention_days is from 1 to 36,500 and max_rows from 1 to 1,000,000' using errcode = '22023';
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    return jsonb_build_object('is_busy', true, 'rows', 0);
  end if;
  -- Whole months, so that no month, week or day is left half; and no rollup goes before its raw rows.
  v_limit := least(
    date_trunc('month', now() - make_interval(days => retention_days)),
    (
      select min(to_date(right(c.relname, 6), 'YYYYMM'))::timestamp at time zone 'UTC'
      from pg_catalog.pg_inherits as i
      inner join pg_catalog.pg_class as c on i.inhrelid = c.oid
      where i.inhparent in ('observability.ai_usage_metrics'::regclass, 'observability.performance_metrics'::regclass)
    )
  );
  -- Every level has its rows under `bucket`, the distinct users theirs under `bucket_start`. A week that reaches over the
  -- limit stays, since its last days are still asked for.
  for v_level in
    select
      c.relname as name, a.attname as bucket,
      case
        when c.relname = 'usage_by_user_week' then 'true'
        when exists (
          select from pg_catalog.pg_attribute as l where l.attrelid = c.oid and l.attname = 'level'
        ) then 'o.level = ''week'''
        else 'false'
      end as is_week
    from pg_catalog.pg_class as c
    inner join pg_catalog.pg_attribute as a on c.oid = a.attrelid
    where c.relnamespace = 'observability_internal'::regnamespace and c.relkind = 'r'
      and a.attname in ('bucket', 'bucket_start') and a.atttypid = 'timestamptz'::regtype
    order by c.relname
  loop
    execute format(
      'delete from observability_internal.%I as r where r.ctid = any (array('
      'select o.ctid from observability_internal.%I as o where o.%I < case when %s then $2 else $1 end limit $3))',
      v_level.name, v_level.name, v_level.bucket, v_level.is_week
    ) using v_limit, date_trunc('week', v_limit), max_rows - v_total;
    get diagnostics v_rows = row_count;
    v_total := v_total + v_rows;
    exit when v_total >= max_rows;
  end loop;
  -- What is left of that week is condensed anew, so that all levels hold the same days.
  if v_total > 0 and date_trunc('week', v_limit) < v_limit then
    insert into observability_internal.stale_rollups (level, bucket) values ('week', date_trunc('week', v_limit))
    on conflict do nothing;
  end if;
  return jsonb_build_object('is_busy', false, 'rows', v_total);
end;
$$;
