-- Forgets a person: the one place that knows everywhere a user id is kept.
-- Locks: none to apply, it only creates. At run time the advisory locks of roll-up and savings for each batch; ROW EXCLUSIVE on the
-- tables written.

create table observability_internal.erasures (
  erasure_id bigint generated always as identity,
  person_salt text not null,
  person_hash text not null,
  event_salt text,
  requested_at timestamptz not null default now(),
  finished_at timestamptz,
  counts jsonb not null default '{}',
  constraint erasures_pkey primary key (erasure_id),
  constraint "the salt of event ids goes when the erasure ends" check ((event_salt is null) = (finished_at is not null))
);

comment on table observability_internal.erasures is
'What was erased and when. The person is a salted SHA-256: it can be compared with an id at hand and tells none.';

alter table observability_internal.erasures enable row level security;

grant select, insert, update on table observability_internal.erasures to service_role;

-- Tenant and tags stay, for what a customer is charged does not change; a tenant that bears the person's own id goes.
create function observability_internal.forgotten_key(user_key integer) returns integer
language sql
volatile
security invoker
set search_path = ''
as $$
  select observability_internal.key_of(
    observability_internal.forgotten_user(), case when a.tenant_id = u.user_id then '' else a.tenant_id end, a.tags
  )
  from observability_internal.users as u
  inner join observability_internal.attributions as a using (attribution_id)
  where u.user_key = forgotten_key.user_key;
$$;

comment on function observability_internal.forgotten_key is 'The key of erased people with the tenant and tags of this key.';
revoke execute on function observability_internal.forgotten_key from public;
grant execute on function observability_internal.forgotten_key to service_role;

-- The one place that writes differences of usage into a level by user: `direction` 1 adds the cells, -1 takes them away.
create function observability_internal.add_user_cells(
  cells observability_internal.usage_by_user[], user_key integer, direction integer
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_rows integer;
begin
  if direction < 0 then
    execute format(
      $sql$
      update observability_internal.usage_by_user as r set
        %s,
        latency = observability_internal.subtract_histogram(r.latency, c.latency),
        time_to_first_token = observability_internal.subtract_histogram(r.time_to_first_token, c.time_to_first_token)
      from unnest($1) as c
      where r.user_key = $2 and r.bucket = c.bucket and r.dim_id = c.dim_id
      $sql$,
      observability_internal.each_sum(
        '%1$I = r.%1$I - c.%1$I', '%1$I = nullif(coalesce(r.%1$I, 0) - coalesce(c.%1$I, 0), 0)'
      )
    ) using cells, add_user_cells.user_key;
    get diagnostics v_rows = row_count;
    if v_rows <> cardinality(cells) then
      raise exception 'the rollup by user lacks rows of these calls; nothing was changed' using errcode = '55000';
    end if;
    return;
  end if;
  execute format(
    $sql$
    insert into observability_internal.usage_by_user as r (bucket, dim_id, user_key, %1$s, latency, time_to_first_token)
    select c.bucket, c.dim_id, $2, %1$s, c.latency, c.time_to_first_token
    from unnest($1) as c
    order by c.bucket, c.dim_id
    on conflict on constraint usage_by_user_pkey do update set
      %2$s,
      latency = observability_internal.merge_histogram(r.latency || excluded.latency),
      time_to_first_token = observability_internal.merge_histogram(r.time_to_first_token || excluded.time_to_first_token)
    $sql$,
    observability_internal.each_sum('%1$I'), observability_internal.each_sum(
      '%1$I = r.%1$I + excluded.%1$I', '%1$I = coalesce(r.%1$I + excluded.%1$I, r.%1$I, excluded.%1$I)'
    )
  ) using cells, add_user_cells.user_key;
end;
$$;

comment on function observability_internal.add_user_cells is 'Adds cells to a user''s rollup, or takes them away.';
revoke execute on function observability_internal.add_user_cells from public;
grant execute on function observability_internal.add_user_cells to service_role;

create function observability_internal.usage_cells_of(
  event_ids uuid[], min_created_at timestamptz, max_created_at timestamptz
) returns observability_internal.usage_by_user[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_cells observability_internal.usage_by_user[];
begin
  execute format(
    $sql$
    select array_agg(row(c.*)::observability_internal.usage_by_user)
    from (
      select
        m.quarter, m.dim_id, %s, array_agg(m.latency) filter (where m.latency is not null),
        array_agg(m.time_to_first_token) filter (where m.time_to_first_token is not null), m.user_key
      from observability_internal.counted_calls as m
      where m.event_id = any ($1) and m.created_at between $2 and $3
      group by m.quarter, m.dim_id, m.user_key
    ) as c
    $sql$,
    observability_internal.each_sum('sum(m.%1$I)::%2$s')
  ) into v_cells using event_ids, usage_cells_of.min_created_at, usage_cells_of.max_created_at;
  return v_cells;
end;
$$;

comment on function observability_internal.usage_cells_of is 'What these calls are in the rollup by user.';
revoke execute on function observability_internal.usage_cells_of from public;
grant execute on function observability_internal.usage_cells_of to service_role;

create function observability_internal.forget_usage(user_id text, event_salt text, max_rows integer) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_ids uuid[];
  v_days date[];
  v_min timestamptz;
  v_max timestamptz;
  v_cells observability_internal.usage_by_user[];
  v_tenant text;
  v_tags jsonb;
  v_from integer;
  v_to integer;
begin
  -- The calls of one tenant and tags at a time: they have one key each before and after.
  select coalesce(m.tenant_id, ''), coalesce(m.tags, '{}') into v_tenant, v_tags
  from observability_internal.ai_usage_metrics as m
  where m.user_id = forget_usage.user_id
    and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
  order by m.created_at
  limit 1;
  if v_tenant is null then
    return 0;
  end if;
  v_from := observability_internal.key_of(forget_usage.user_id, v_tenant, v_tags);
  v_to := observability_internal.forgotten_key(v_from);
  -- A day that is being judged is marked afterwards.
  perform pg_advisory_xact_lock(hashtextextended('treering.judge_savings', 0));
  -- What is left is the call itself, at the precision of a minute. The new id is the same here and in the archive, so that a
  -- restore finds the row; the salt that leads from the old id to it is deleted at the end. Rollups by minute, hour and quarter of an hour agree.
  with taken as (
    select m.event_id, m.created_at, m.model, m.operation, m.prompt_hash
    from observability_internal.ai_usage_metrics as m
    where m.user_id = forget_usage.user_id and coalesce(m.tenant_id, '') = v_tenant and coalesce(m.tags, '{}') = v_tags
      and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
    order by m.created_at
    limit max_rows
    for update
  ),
  unembedded as (
    delete from observability_internal.embedded_texts as e
    using taken as t
    where t.operation = 'embeddings' and e.text_key = hashtextextended(t.prompt_hash, hashtext(t.model))
  ),
  changed as (
    update observability_internal.ai_usage_metrics as m set
      event_id = md5(event_salt || m.event_id)::uuid, created_at = date_trunc('minute', m.created_at),
      received_at = date_trunc('minute', m.received_at), user_id = observability_internal.forgotten_user(),
      tenant_id = nullif(m.tenant_id, forget_usage.user_id), session_id = null, request_group_id = null,
      prompt_hash = null, prefix_hash = null, prompt_blocks = null, response_id = null, metadata = null
    from taken as t
    where m.event_id = t.event_id and m.created_at = t.created_at
    returning m.event_id, m.created_at
  )
  select array_agg(c.event_id), array_agg(distinct c.created_at::date), min(c.created_at), max(c.created_at)
  into v_ids, v_days, v_min, v_max
  from changed as c;
  -- What could be saved was told by what is erased now: such a day is judged again.
  update observability_internal.saving_facts as f set example_event_id = md5(event_salt || f.example_event_id)::uuid
  where f.day = any (v_days) and md5(event_salt || f.example_event_id)::uuid = any (v_ids);
  update observability_internal.saving_days as d set calls = -1 where d.day = any (v_days);
  v_cells := observability_internal.usage_cells_of(v_ids, v_min, v_max);
  perform observability_internal.add_user_cells(v_cells, v_from, -1);
  perform observability_internal.add_user_cells(v_cells, v_to, 1);
  delete from observability_internal.usage_by_user as r
  where r.user_key = v_from and r.requests = 0 and r.bucket >= v_min - interval '15 minutes' and r.bucket <= v_max;
  return cardinality(v_ids);
end;
$$;

comment on function observability_internal.forget_usage is
'Makes a batch of a person''s counted calls nobody''s, with the rollup''s difference; returns how many.';
revoke execute on function observability_internal.forget_usage from public;
grant execute on function observability_internal.forget_usage to service_role;

create function observability_internal.forget_performance(user_id text, event_salt text, max_rows integer) returns integer
language sql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  with taken as (
    select m.event_id, m.created_at
    from observability_internal.performance_metrics as m
    where m.user_id = forget_performance.user_id
      and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
    order by m.created_at
    limit max_rows
    for update
  ),
  changed as (
    update observability_internal.performance_metrics as m set
      event_id = md5(event_salt || m.event_id)::uuid, created_at = date_trunc('minute', m.created_at),
      received_at = date_trunc('minute', m.received_at), user_id = null, metadata = null
    from taken as t
    where m.event_id = t.event_id and m.created_at = t.created_at
    returning 1
  )
  select count(*)::integer from changed;
$$;

comment on function observability_internal.forget_performance is
'Makes a batch of a person''s counted requests nobody''s; returns how many. No rollup of requests knows people.';
revoke execute on function observability_internal.forget_performance from public;
grant execute on function observability_internal.forget_performance to service_role;

create function observability_internal.forget_rollups(user_id text, max_rows integer) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_cells observability_internal.usage_by_user[];
  v_from integer;
  v_to integer;
begin
  select u.user_key into v_from
  from observability_internal.users as u
  where u.user_id = forget_rollups.user_id
    and exists (select from observability_internal.usage_by_user as r where r.user_key = u.user_key)
  limit 1;
  v_to := observability_internal.forgotten_key(v_from);
  with moved as (
    delete from observability_internal.usage_by_user as r
    where r.ctid = any (array(
      select o.ctid from observability_internal.usage_by_user as o where o.user_key = v_from limit max_rows
    ))
    returning r.*
  )
  select array_agg(row(m.*)::observability_internal.usage_by_user) into v_cells from moved as m;
  if v_cells is null then
    return 0;
  end if;
  perform observability_internal.add_user_cells(v_cells, v_to, 1);
  return cardinality(v_cells);
end;
$$;

comment on function observability_internal.forget_rollups is
'Moves a batch of what the rollups still hold of a person, months without raw rows, to the shared key; returns how '
'many.';
revoke execute on function observability_internal.forget_rollups from public;
grant execute on function observability_internal.forget_rollups to service_role;

create function observability_internal.move_user_levels(from_key integer, to_key integer) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_days integer;
  v_weeks integer;
begin
  -- The condensed rows move as they are, so that user_counts keeps its numbers: how many people there were stays true. The
  -- shared key may then have several places in a row, which readers add up.
  update observability_internal.usage_by_user_day as r
  set user_keys = array_replace(r.user_keys, from_key, to_key)
  where from_key = any (r.user_keys);
  get diagnostics v_days = row_count;
  update observability_internal.usage_by_user_week as r
  set user_keys = array_replace(r.user_keys, from_key, to_key)
  where from_key = any (r.user_keys);
  get diagnostics v_weeks = row_count;
  return v_days + v_weeks;
end;
$$;

comment on function observability_internal.move_user_levels is 'Moves the days and weeks of one user to another key; returns how many rows.';
revoke execute on function observability_internal.move_user_levels from public;
grant execute on function observability_internal.move_user_levels to service_role;

create function observability_internal.open_erasure(user_id text) returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_id bigint;
  v_salt text;
begin
  select e.erasure_id into v_id
  from observability_internal.erasures as e
  where e.finished_at is null
    and e.person_hash = encode(sha256(convert_to(e.person_salt || open_erasure.user_id, 'UTF8')), 'hex')
  limit 1;
  if v_id is null then
    v_salt := gen_random_uuid()::text;
    insert into observability_internal.erasures (person_salt, person_hash, event_salt)
    values (v_salt, encode(sha256(convert_to(v_salt || open_erasure.user_id, 'UTF8')), 'hex'), gen_random_uuid()::text)
    returning erasure_id into v_id;
  end if;
  return v_id;
end;
$$;

comment on function observability_internal.open_erasure is 'The record of an erasure that is not finished, made where there is none.';
revoke execute on function observability_internal.open_erasure from public;
grant execute on function observability_internal.open_erasure to service_role;

create function observability_internal.add_erased(erasure_id bigint, counts jsonb) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  update observability_internal.erasures as e set counts = e.counts || coalesce((
    select jsonb_object_agg(c.key, coalesce((e.counts ->> c.key)::bigint, 0) + c.value::bigint)
    from jsonb_each_text(add_erased.counts) as c
  ), '{}')
  where e.erasure_id = add_erased.erasure_id;
$$;

comment on function observability_internal.add_erased is 'Adds to the record of an erasure.';
revoke execute on function observability_internal.add_erased from public;
grant execute on function observability_internal.add_erased to service_role;

create function observability.forget_user(user_id text, max_rows integer default 5000) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set jit = off
as $$
#variable_conflict use_column
declare
  v_usage integer := 0;
  v_performance integer := 0;
  v_rollups integer := 0;
  v_names integer := 0;
  v_waiting bigint;
  v_keys integer[];
  v_erasure_id bigint;
  v_salt text;
begin
  if coalesce(forget_user.user_id, '') in ('', observability_internal.forgotten_user()) or max_rows is null or max_rows not between 1 and 5000 then
    raise exception 'a user id is needed, and max_rows from 1 to 5,000' using errcode = '22023';
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    return jsonb_build_object('is_busy', true, 'is_done', false);
  end if;
  v_erasure_id := observability_internal.open_erasure(forget_user.user_id);
  select e.event_salt into v_salt from observability_internal.erasures as e where e.erasure_id = v_erasure_id;
  v_keys := array(select u.user_key from observability_internal.users as u where u.user_id = forget_user.user_id);
  delete from observability_internal.latency_by_user as r where r.user_key = any (v_keys);
  v_usage := observability_internal.forget_usage(forget_user.user_id, v_salt, max_rows);
  if v_usage = 0 then
    v_performance := observability_internal.forget_performance(forget_user.user_id, v_salt, max_rows);
  end if;
  if v_usage + v_performance = 0 then
    v_rollups := observability_internal.forget_rollups(forget_user.user_id, max_rows);
  end if;
  v_waiting := (select count(*) from observability_internal.ai_usage_metrics as m where m.user_id = forget_user.user_id)
    + (select count(*) from observability_internal.performance_metrics as m where m.user_id = forget_user.user_id);
  if v_usage + v_performance + v_rollups + v_waiting = 0 then
    perform observability_internal.move_user_levels(k.user_key, observability_internal.forgotten_key(k.user_key))
    from unnest(v_keys) as k (user_key);
    delete from observability_internal.users as u where u.user_key = any (v_keys);
    delete from observability_internal.attributions as a
    where a.tenant_id = forget_user.user_id
      and not exists (select from observability_internal.users as u where u.attribution_id = a.attribution_id);
    v_names := observability_internal.forget_names(forget_user.user_id);
  end if;
  perform observability_internal.add_erased(v_erasure_id, jsonb_build_object(
    'usage_rows', v_usage, 'performance_rows', v_performance, 'rollup_rows', v_rollups, 'other_rows', v_names
  ));
  return jsonb_build_object(
    'is_busy', false, 'usage_rows', v_usage, 'performance_rows', v_performance, 'rollup_rows', v_rollups,
    'other_rows', v_names, 'waiting_rows', v_waiting, 'event_salt', v_salt, 'is_done', v_usage + v_performance + v_rollups + v_waiting = 0
  );
end;
$$;

comment on function observability.forget_user is 'Erases a batch of a person''s traces; again until is_done. Rows that wait for the roll-up are waiting_rows.';
revoke execute on function observability.forget_user from public;
grant execute on function observability.forget_user to service_role;

create function observability.finish_erasure(user_id text, counts jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_id constant bigint := observability_internal.open_erasure(finish_erasure.user_id);
begin
  perform observability_internal.add_erased(v_id, finish_erasure.counts);
  update observability_internal.erasures as e set finished_at = now(), event_salt = null where e.erasure_id = v_id;
end;
$$;

comment on function observability.finish_erasure is 'Ends the record of an erasure with what was rewritten in the archive.';
revoke execute on function observability.finish_erasure from public;
grant execute on function observability.finish_erasure to service_role;
