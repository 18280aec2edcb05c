-- What is archived and what may be dropped: a month leaves only after its archive has been verified.
-- Locks: none to apply, it only creates. At run time dropping takes SHARE on the partition while its sums are compared,
-- then ACCESS EXCLUSIVE on the table for the detaching, each for at most 200 ms of waiting.

create table observability_internal.archived_months (
  archive_id uuid not null,
  kind text not null,
  month date not null,
  row_count bigint not null,
  dropped_at timestamptz not null default now(),
  is_restored boolean not null default false,
  constraint archived_months_pkey primary key (archive_id),
  constraint "an archived month holds usage or performance" check (kind in ('usage', 'performance')),
  constraint "an archived month begins on its first day" check (extract(day from month) = 1)
);

comment on table observability_internal.archived_months is 'Which runs of the archive have taken rows out of the database; the rows stay in the rollups.';

alter table observability_internal.archived_months enable row level security;

grant select, insert, update, delete on table observability_internal.archived_months to service_role;

create table observability_internal.restored_months (
  kind text not null,
  month date not null,
  is_complete boolean not null default false,
  keep_until timestamptz not null,
  constraint restored_months_pkey primary key (kind, month),
  constraint "a restored month holds usage or performance" check (kind in ('usage', 'performance'))
);

comment on table observability_internal.restored_months is 'Months put back from the archive, which retention leaves alone until keep_until.';

alter table observability_internal.restored_months enable row level security;

grant select, insert, update, delete on table observability_internal.restored_months to service_role;

create function observability_internal.partition_sums(kind text, from_time timestamptz, to_time timestamptz)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_columns text;
  v_sums jsonb;
begin
  -- One figure a column that Parquet readers compute alike: integers everywhere, so no order of addition matters.
  select string_agg(format('%L, jsonb_build_object(''count'', count(m.%I), ''sum'', coalesce((%s)::text, ''0''))', a.attname, a.attname,
    case t.typname
      when 'bool' then format('count(*) filter (where m.%I)', a.attname)
      when 'numeric' then format('trim_scale(sum(m.%I))', a.attname)
      when 'int4' then format('sum(m.%I)', a.attname)
      when 'int8' then format('sum(m.%I)', a.attname)
      when 'float8' then format('sum(floor(m.%I * 1000)::bigint)', a.attname)
      when 'timestamptz' then format('sum(floor(extract(epoch from m.%I) * 1000)::bigint)', a.attname)
      else format('sum(octet_length(m.%I::text))', a.attname)
    end
  ), ', ' order by a.attnum)
  into v_columns
  from pg_catalog.pg_attribute as a
  inner join pg_catalog.pg_type as t on a.atttypid = t.oid
  where a.attrelid = ('observability_internal.' || observability_internal.archive_table(kind))::regclass
    and a.attnum > 0 and not a.attisdropped and a.attname <> 'batch_id';
  execute format(
    'select jsonb_build_object(''rows'', count(*), ''newest_received_at'', max(m.received_at),'
    ' ''columns'', jsonb_build_object(%s)) from observability_internal.%I as m where m.created_at >= %L and m.created_at < %L',
    v_columns, observability_internal.archive_table(kind), from_time, to_time
  ) into v_sums;
  return v_sums;
end;
$$;

comment on function observability_internal.partition_sums is
'Exact sums of every column of a month.';
revoke execute on function observability_internal.partition_sums from public;
grant execute on function observability_internal.partition_sums to service_role;

create function observability.summarize_partition(
  kind text, month date, first_day integer default 1, last_day integer default 31
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set jit = off
as $$
declare
  v_start constant timestamp := date_trunc('month', month::timestamp);
  v_end constant timestamp := v_start + interval '1 month';
begin
  if first_day is null or last_day is null or not (1 <= first_day and first_day <= last_day and last_day <= 31) then
    raise exception 'first_day and last_day are from 1 to 31' using errcode = '22023';
  end if;
  return observability_internal.partition_sums(
    kind, least(v_start + make_interval(days => first_day - 1), v_end) at time zone 'UTC',
    least(v_start + make_interval(days => last_day), v_end) at time zone 'UTC'
  );
end;
$$;

comment on function observability.summarize_partition is
'Rows, newest arrival and sums of every column of some days (all) of one month: {rows, newest_received_at, columns}.'
' What several calls find of different days adds up.';
revoke execute on function observability.summarize_partition from public;
grant execute on function observability.summarize_partition to service_role;

-- The index by arrival says at once whether a month has late rows; where it has none, a scan would read all of it.
create function observability.list_partitions(retention_days integer) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set enable_seqscan = off
set jit = off
set timezone = 'UTC'
as $$
declare
  v_found jsonb := jsonb_build_array();
  v_partition record;
  v_is_late boolean;
  v_limit timestamptz;
begin
  if retention_days is null or retention_days not between 1 and 36500 then
    raise exception 'retention_days is from 1 to 36,500' using errcode = '22023';
  end if;
  v_limit := now() - make_interval(days => retention_days);
  for v_partition in
    select
      kinds.kind, kinds.parent, c.reltuples,
      to_date(right(c.relname, 6), 'YYYYMM')::timestamp at time zone 'UTC' as from_time,
      (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month') at time zone 'UTC' as to_time
    from (values ('usage', 'ai_usage_metrics'), ('performance', 'performance_metrics')) as kinds (kind, parent)
    inner join pg_catalog.pg_inherits as i on i.inhparent = ('observability_internal.' || kinds.parent)::regclass
    inner join pg_catalog.pg_class as c on i.inhrelid = c.oid
    order by from_time, kinds.kind desc
  loop
    v_is_late := false;
    if v_partition.to_time <= v_limit then
      execute format(
        'select exists (select from observability_internal.%I as m where m.created_at >= $1 and m.created_at < $2 and m.received_at > $3)',
        v_partition.parent
      ) into v_is_late using v_partition.from_time, v_partition.to_time, v_limit;
    end if;
    v_found := v_found || jsonb_build_object(
      'kind', v_partition.kind, 'month', v_partition.from_time::date,
      'rows_estimate', greatest(v_partition.reltuples, 0)::bigint,
      'state', case
        when v_partition.to_time > v_limit then 'recent'
        when v_is_late then 'late rows'
        when exists (
          select from observability_internal.restored_months as r
          where r.kind = v_partition.kind and r.month = v_partition.from_time::date and not r.is_complete
        ) then 'restoring'
        when exists (
          select from observability_internal.restored_months as r
          where r.kind = v_partition.kind and r.month = v_partition.from_time::date and r.keep_until > now()
        ) then 'restored'
        when exists (
          select from observability_internal.pending_batches as p
          where p.kind = v_partition.kind and p.min_created_at < v_partition.to_time
            and p.max_created_at >= v_partition.from_time
        ) then 'pending'
        else 'due'
      end
    );
  end loop;
  return v_found;
end;
$$;

comment on function observability.list_partitions is
'Each month in the database as {kind, month, rows_estimate, state}; state is recent, late rows, restoring, restored, '
'pending or due.';
revoke execute on function observability.list_partitions from public;
grant execute on function observability.list_partitions to service_role;

create function observability.list_archived_months() returns jsonb
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(to_jsonb(a) order by a.month, a.kind, a.dropped_at), '[]')
  from observability_internal.archived_months as a;
$$;

comment on function observability.list_archived_months is
'What the archive has taken out of this database: [{archive_id, kind, month, row_count, dropped_at, is_restored}].';
revoke execute on function observability.list_archived_months from public;
grant execute on function observability.list_archived_months to service_role;

create function observability.prune_rollups(retention_days integer, max_rows integer default 20000) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_limit timestamptz;
  v_level record;
  v_rows bigint;
  v_total bigint := 0;
begin
  if retention_days is null or retention_days not between 1 and 36500 or max_rows is null or max_rows not between 1 and 200000 then
    raise exception 'retention_days is from 1 to 36,500 and max_rows from 1 to 200,000' using errcode = '22023';
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
      where i.inhparent in ('observability_internal.ai_usage_metrics'::regclass, 'observability_internal.performance_metrics'::regclass)
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
  -- What is left of that week is condensed again, so that all levels hold the same days.
  if v_total > 0 and date_trunc('week', v_limit) < v_limit then
    insert into observability_internal.stale_rollups (level, bucket) values ('week', date_trunc('week', v_limit))
    on conflict do nothing;
  end if;
  return jsonb_build_object('is_busy', false, 'rows', v_total);
end;
$$;

comment on function observability.prune_rollups is
'Deletes at most max_rows rollup rows of whole months past their retention. Returns {is_busy, rows}; again while rows'
' = max_rows.';
revoke execute on function observability.prune_rollups from public;
grant execute on function observability.prune_rollups to service_role;
