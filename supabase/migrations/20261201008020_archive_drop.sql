-- Drops a month that is in the archive, if no row of it has changed since the archive began to read it.
-- Locks: none to apply, it only creates. At run time watching takes SHARE ROW EXCLUSIVE on the month for a moment, dropping
-- SHARE on the month and then ACCESS EXCLUSIVE on the table, each waiting at most 200 ms.

create table observability_internal.watched_months (
  kind text not null,
  month date not null,
  watch_id uuid not null,
  is_changed boolean not null default false,
  constraint watched_months_pkey primary key (kind, month),
  constraint "a month holds usage or performance" check (kind in ('usage', 'performance'))
);

comment on table observability_internal.watched_months is
'Months that are being archived, and whether a row of them has changed since. A trigger on the month''s partition keeps it.';

alter table observability_internal.watched_months enable row level security;

-- Security definer: whoever changes a row has no right of their own on the note.
create function observability_internal.note_change() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  -- An older snapshot would not see the note.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception '% is being archived and changes in read committed transactions only', tg_table_name using errcode = '40001';
  end if;
  update observability_internal.watched_months as w set is_changed = true
  where w.kind = tg_argv[0] and w.month = tg_argv[1]::date and not w.is_changed;
  return null;
end;
$$;

comment on function observability_internal.note_change is 'Notes that a row of a watched month was inserted, updated or deleted.';
revoke execute on function observability_internal.note_change from public;

-- Security definer: service_role writes rows but does not own the partitions.
create function observability.watch_partition(kind text, month date) returns uuid
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '200ms'
set timezone = 'UTC'
as $$
#variable_conflict use_variable
declare
  v_month constant date := date_trunc('month', month::timestamp)::date;
  v_name constant text := observability_internal.archive_table(kind) || '_' || to_char(v_month, 'YYYYMM');
  v_watch_id constant uuid := gen_random_uuid();
begin
  if to_regclass(format('observability_internal.%I', v_name)) is null then
    raise exception 'there is no month %', v_name using errcode = '55000';
  end if;
  -- Waits for those who are changing the month now; whoever comes later finds the trigger and the note.
  execute format('lock table observability_internal.%I in share row exclusive mode', v_name);
  execute format(
    'create or replace trigger note_change after insert or update or delete on observability_internal.%I'
    ' for each row execute function observability_internal.note_change(%L, %L)',
    v_name, kind, v_month
  );
  insert into observability_internal.watched_months as w (kind, month, watch_id)
  values (kind, v_month, v_watch_id)
  on conflict on constraint watched_months_pkey do update set watch_id = excluded.watch_id, is_changed = false;
  return v_watch_id;
end;
$$;

comment on function observability.watch_partition is
'Notes from here on whether a row of the month changes. Returns what drop_archived_partition asks for.';
revoke execute on function observability.watch_partition from public;
grant execute on function observability.watch_partition to service_role;

-- Security definer: service_role writes rows but does not own the partitions.
create function observability.drop_archived_partition(
  kind text, month date, retention_days integer, archive_id uuid, watch_id uuid, row_count bigint
) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '200ms'
set statement_timeout = '60s'
set jit = off
set timezone = 'UTC'
as $$
#variable_conflict use_variable
declare
  v_parent constant text := observability_internal.archive_table(kind);
  v_start constant timestamptz := date_trunc('month', month::timestamp) at time zone 'UTC';
  v_end constant timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') at time zone 'UTC';
  v_name constant text := v_parent || '_' || to_char(v_start, 'YYYYMM');
  v_limit constant timestamptz := now() - make_interval(days => retention_days);
  v_is_recent boolean;
begin
  if retention_days is null or retention_days < 1 or archive_id is null or watch_id is null or row_count is null then
    raise exception 'a partition goes with its retention, its archive, its watch and its rows' using errcode = '22023';
  end if;
  if to_regclass(format('observability_internal.%I', v_name)) is null then
    return false;
  end if;
  if v_end > v_limit then
    raise exception '% is not past its retention', v_name using errcode = '55000';
  end if;
  if exists (
    select from observability_internal.restored_months as r
    where r.kind = drop_archived_partition.kind and r.month = v_start::date and (not r.is_complete or r.keep_until > now())
  ) then
    raise exception '% was put back and is kept', v_name using errcode = '55000';
  end if;
  -- No writer from here on. The next statements' snapshots see all that those before committed.
  execute format('lock table observability_internal.%I in share mode', v_name);
  if exists (
    select from observability_internal.pending_batches as p
    where p.kind = drop_archived_partition.kind and p.min_created_at < v_end and p.max_created_at >= v_start
  ) then
    raise exception 'rows of % are not in the rollups yet', v_name using errcode = '55000';
  end if;
  execute format('select exists (select from observability_internal.%I as m where m.received_at > $1)', v_name)
  into v_is_recent using v_limit;
  if v_is_recent then
    raise exception 'rows of % arrived within the retention', v_name using errcode = '55000';
  end if;
  if not exists (
    select from observability_internal.watched_months as w
    where w.kind = drop_archived_partition.kind and w.month = v_start::date
      and w.watch_id = drop_archived_partition.watch_id and not w.is_changed
  ) then
    raise exception '% has changed since it was archived', v_name using errcode = '55000';
  end if;
  delete from observability_internal.archived_months as a
  where a.kind = drop_archived_partition.kind and a.month = v_start::date and a.is_restored;
  delete from observability_internal.restored_months as r
  where r.kind = drop_archived_partition.kind and r.month = v_start::date;
  delete from observability_internal.watched_months as w
  where w.kind = drop_archived_partition.kind and w.month = v_start::date;
  if row_count > 0 then
    insert into observability_internal.archived_months (archive_id, kind, month, row_count)
    values (archive_id, kind, v_start::date, row_count);
  end if;
  execute format('alter table observability_internal.%I detach partition observability_internal.%I', v_parent, v_name);
  execute format('drop table observability_internal.%I', v_name);
  return true;
end;
$$;

comment on function observability.drop_archived_partition is
'Detaches and drops a month of which no row has changed since the watch began; refuses otherwise. False when there is no'
' such month.';
revoke execute on function observability.drop_archived_partition from public;
grant execute on function observability.drop_archived_partition to service_role;
