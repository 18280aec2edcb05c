-- Reads a month page by page into the archive, and brings one back.
-- Locks: none to apply, it only creates. At run time restoring takes the roll-up's advisory lock and ROW EXCLUSIVE;
-- reading takes none.

create function observability_internal.read_usage_page(
  month date, after_created_at timestamptz, after_event_id uuid, max_rows integer
) returns setof observability_internal.ai_usage_metrics
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  select m.*
  from observability_internal.ai_usage_metrics as m
  where m.created_at < (date_trunc('month', read_usage_page.month::timestamp) + interval '1 month') at time zone 'UTC'
    and m.created_at >= coalesce(
      read_usage_page.after_created_at, date_trunc('month', read_usage_page.month::timestamp) at time zone 'UTC'
    )
    and (read_usage_page.after_event_id is null
      or (m.created_at, m.event_id) > (read_usage_page.after_created_at, read_usage_page.after_event_id))
  order by m.created_at, m.event_id
  limit read_usage_page.max_rows;
$$;

comment on function observability_internal.read_usage_page is 'The next calls of a month after a key.';
revoke execute on function observability_internal.read_usage_page from public;
grant execute on function observability_internal.read_usage_page to service_role;

create function observability_internal.read_performance_page(
  month date, after_created_at timestamptz, after_event_id uuid, max_rows integer
) returns setof observability_internal.performance_metrics
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  select m.*
  from observability_internal.performance_metrics as m
  where m.created_at < (date_trunc('month', read_performance_page.month::timestamp) + interval '1 month') at time zone 'UTC'
    and m.created_at >= coalesce(
      read_performance_page.after_created_at,
      date_trunc('month', read_performance_page.month::timestamp) at time zone 'UTC'
    )
    and (read_performance_page.after_event_id is null
      or (m.created_at, m.event_id) > (read_performance_page.after_created_at, read_performance_page.after_event_id))
  order by m.created_at, m.event_id
  limit read_performance_page.max_rows;
$$;

comment on function observability_internal.read_performance_page is 'The next requests of a month after a key.';
revoke execute on function observability_internal.read_performance_page from public;
grant execute on function observability_internal.read_performance_page to service_role;

create function observability.read_archive_page(
  kind text, month date, after_created_at timestamptz default null, after_event_id uuid default null, max_rows integer default 5000
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set jit = off
set timezone = 'UTC'
as $$
declare
  -- What a program in between could round leaves as text.
  v_texts constant text[] := observability_internal.columns_of_type(
    ('observability_internal.' || observability_internal.archive_table(kind))::regclass, '{numeric,jsonb}'
  );
begin
  if max_rows is null or max_rows not between 1 and 20000 then
    raise exception 'max_rows is from 1 to 20,000' using errcode = '22023';
  end if;
  return (
    select coalesce(jsonb_agg(
      p.event - 'batch_id' || (select jsonb_object_agg(t.name, p.event ->> t.name) from unnest(v_texts) as t (name))
      order by p.created_at, p.event_id
    ), '[]')
    from (
      select u.created_at, u.event_id, to_jsonb(u) as event
      from observability_internal.read_usage_page(month, after_created_at, after_event_id, max_rows) as u
      where kind = 'usage'
      union all
      select r.created_at, r.event_id, to_jsonb(r)
      from observability_internal.read_performance_page(month, after_created_at, after_event_id, max_rows) as r
      where kind = 'performance'
    ) as p
  );
end;
$$;

comment on function observability.read_archive_page is 'The next rows of a month after a key as a JSON array; money and JSON as text.';
revoke execute on function observability.read_archive_page from public;
grant execute on function observability.read_archive_page to service_role;

create function observability.begin_restore(kind text, month date, keep_days integer, archive_ids jsonb, is_counted boolean default true)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_month constant date := date_trunc('month', begin_restore.month::timestamp)::date;
begin
  if keep_days is null or keep_days not between 0 and 36500 then
    raise exception 'keep_days is from 0 to 36,500' using errcode = '22023';
  end if;
  if is_counted and exists (
    select from jsonb_array_elements_text(archive_ids) as i (archive_id)
    where not exists (
      select from observability_internal.archived_months as a where a.archive_id = i.archive_id::uuid
    )
  ) then
    raise exception 'the rows were not archived from this database, so its rollups do not hold them'
      using errcode = '55000', hint = 'Restore them with --count to add them to the rollups.';
  end if;
  perform observability_internal.ensure_partition(observability_internal.archive_table(begin_restore.kind), v_month);
  insert into observability_internal.restored_months as r (kind, month, keep_until)
  values (begin_restore.kind, v_month, now() + make_interval(days => keep_days))
  on conflict (kind, month) do update set is_complete = false, keep_until = greatest(r.keep_until, excluded.keep_until);
end;
$$;

comment on function observability.begin_restore is 'Makes room for a month that comes back and keeps retention away from it.';
revoke execute on function observability.begin_restore from public;
grant execute on function observability.begin_restore to service_role;

create function observability.restore_rows(kind text, month date, events jsonb, is_counted boolean default true) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set lock_timeout = '5s'
set jit = off
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_month constant date := date_trunc('month', restore_rows.month::timestamp)::date;
  v_table constant regclass := ('observability_internal.' || observability_internal.archive_table(kind))::regclass;
  -- JSON comes as text, so that no program in between rounds a number in it.
  v_json constant text[] := observability_internal.columns_of_type(v_table, '{jsonb}');
  v_blank jsonb;
  v_batch_id bigint;
  v_count integer;
  v_min timestamptz;
  v_max timestamptz;
begin
  if events is null or jsonb_typeof(events) <> 'array' or jsonb_array_length(events) > 5000 then
    raise exception 'events must be a JSON array of at most 5,000' using errcode = '22023';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0));
  if not exists (
    select from observability_internal.restored_months as r
    where r.kind = restore_rows.kind and r.month = v_month and not r.is_complete
  ) then
    raise exception 'no restore of this month was begun' using errcode = '55000';
  end if;
  -- A batch id that is new and never waits in pending_batches: the rows are in the rollups already.
  v_batch_id := nextval('observability_internal.batch_ids');
  -- What an older archive does not have gets the column's default.
  v_blank := observability_internal.column_defaults(v_table) || jsonb_build_object('batch_id', v_batch_id);
  if restore_rows.kind = 'usage' then
    with stored as (
      insert into observability_internal.ai_usage_metrics as m
      select r.*
      from jsonb_array_elements(events) as e
      cross join lateral jsonb_populate_record(
        jsonb_populate_record(null::observability_internal.ai_usage_metrics, v_blank), jsonb_strip_nulls(e.value)
        || (select jsonb_object_agg(t.name, (e.value ->> t.name)::jsonb) from unnest(v_json) as t (name))
      ) as r
      on conflict do nothing
      returning m.created_at
    )
    select count(*), min(s.created_at), max(s.created_at) into v_count, v_min, v_max from stored as s;
  else
    with stored as (
      insert into observability_internal.performance_metrics as m
      select r.*
      from jsonb_array_elements(events) as e
      cross join lateral jsonb_populate_record(
        jsonb_populate_record(null::observability_internal.performance_metrics, v_blank), jsonb_strip_nulls(e.value)
        || (select jsonb_object_agg(t.name, (e.value ->> t.name)::jsonb) from unnest(v_json) as t (name))
      ) as r
      on conflict do nothing
      returning m.created_at
    )
    select count(*), min(s.created_at), max(s.created_at) into v_count, v_min, v_max from stored as s;
  end if;
  if v_min < v_month::timestamp at time zone 'UTC' or v_max >= (v_month + interval '1 month') at time zone 'UTC' then
    raise exception 'a row belongs to another month' using errcode = '22023';
  end if;
  if not is_counted and v_count > 0 then
    insert into observability_internal.pending_batches (batch_id, kind, row_count, min_created_at, max_created_at)
    values (v_batch_id, restore_rows.kind, v_count, v_min, v_max);
  end if;
  return v_count;
end;
$$;

comment on function observability.restore_rows is
'Puts archived rows back, each once; by default as already counted in the rollups. Returns how many were missing.';
revoke execute on function observability.restore_rows from public;
grant execute on function observability.restore_rows to service_role;

create function observability.finish_restore(kind text, month date, archive_ids jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  update observability_internal.archived_months as a set is_restored = true
  where a.archive_id in (select i.archive_id::uuid from jsonb_array_elements_text(archive_ids) as i (archive_id));
  insert into observability_internal.archived_months (archive_id, kind, month, row_count, is_restored)
  select i.archive_id::uuid, finish_restore.kind, date_trunc('month', finish_restore.month::timestamp)::date, 0, true
  from jsonb_array_elements_text(archive_ids) as i (archive_id)
  on conflict do nothing;
  update observability_internal.restored_months as r set is_complete = true
  where r.kind = finish_restore.kind and r.month = date_trunc('month', finish_restore.month::timestamp)::date;
end;
$$;

comment on function observability.finish_restore is 'Ends a restore: when retention takes the month again, it replaces these archives.';
revoke execute on function observability.finish_restore from public;
grant execute on function observability.finish_restore to service_role;
