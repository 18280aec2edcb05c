-- Purpose: repricing: corrections of raw rows, their audit and the rollups, in one transaction a page.
-- Locks: apply_reprice holds the roll-up's advisory lock for a page of at most 5,000 rows.

create function observability.start_reprice(
  from_time timestamptz, to_time timestamptz, filters jsonb, price_fingerprint text, requested_by text,
  reason text default null
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_run observability_internal.reprice_runs;
  v_is_resumed boolean;
begin
  perform observability_internal.check_reprice(start_reprice.from_time, start_reprice.to_time, start_reprice.filters);
  -- The same prices over the same calls give the same answer: a run that was cut off goes on where it ended.
  select r.* into v_run
  from observability_internal.reprice_runs as r
  where r.finished_at is null and r.updated_at > now() - interval '1 day' and r.from_time = start_reprice.from_time
    and r.to_time = start_reprice.to_time and r.filters = start_reprice.filters
    and r.price_fingerprint = start_reprice.price_fingerprint
  order by r.run_id desc
  limit 1;
  v_is_resumed := found;
  if not v_is_resumed then
    insert into observability_internal.reprice_runs as r (
      from_time, to_time, filters, price_fingerprint, requested_by, reason
    )
    values (
      start_reprice.from_time, start_reprice.to_time, start_reprice.filters, start_reprice.price_fingerprint,
      start_reprice.requested_by, start_reprice.reason
    )
    returning r.* into v_run;
  end if;
  return jsonb_build_object(
    'run_id', v_run.run_id, 'is_resumed', v_is_resumed, 'rows_read', v_run.rows_read,
    'rows_corrected', v_run.rows_corrected, 'next', case when v_run.cursor_event_id is not null
      then jsonb_build_object('created_at', v_run.cursor_created_at, 'event_id', v_run.cursor_event_id) end
  );
end;
$$;

comment on function observability.start_reprice(timestamptz, timestamptz, jsonb, text, text, text) is 'Begins a run of corrections, or resumes the same one of the last day that did not finish. Returns {run_id, is_resumed, rows_read, rows_corrected, next}.';

create function observability_internal.explain_left_out(
  changes jsonb, corrected integer, min_created_at timestamptz, max_created_at timestamptz
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_pending jsonb;
  v_settled bigint;
begin
  if corrected = jsonb_array_length(changes) then
    return '{"pending": [], "conflicts": 0}'::jsonb;
  end if;
  with standing as (
    select
      w.event_id,
      m.estimated_cost is not distinct from w.new_cost and m.cost_source = w.new_cost_source
      and m.price_id is not distinct from w.new_price_id as is_settled,
      exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id) as is_pending
    from jsonb_to_recordset(changes) as w (
      event_id uuid, created_at timestamptz, new_cost numeric, new_cost_source text, new_price_id text
    )
    inner join observability.ai_usage_metrics as m on w.event_id = m.event_id and w.created_at = m.created_at
    where m.created_at between explain_left_out.min_created_at and explain_left_out.max_created_at
  )
  select
    coalesce(jsonb_agg(s.event_id) filter (where s.is_pending and not s.is_settled), '[]'),
    count(*) filter (where s.is_settled)
  into v_pending, v_settled
  from standing as s;
  return jsonb_build_object(
    'pending', v_pending,
    'conflicts', jsonb_array_length(changes) - v_settled - jsonb_array_length(v_pending)
  );
end;
$$;

comment on function observability_internal.explain_left_out(jsonb, integer, timestamptz, timestamptz) is 'Of changes just applied: which wait for their roll-up, and how many rows are neither as before nor as wanted.';

create function observability_internal.correct_costs(run_id bigint, changes jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_min timestamptz;
  v_max timestamptz;
  v_result jsonb;
begin
  select min(c.created_at), max(c.created_at) into v_min, v_max
  from jsonb_to_recordset(changes) as c (created_at timestamptz);
  with wanted as materialized (
    select c.*
    from jsonb_to_recordset(changes) as c (
      event_id uuid, created_at timestamptz, old_cost numeric, new_cost numeric, old_cost_source text,
      new_cost_source text, old_price_id text, new_price_id text
    )
  ),
  -- A row that has changed since it was read is left for another run, as is one that is not counted yet.
  corrected as (
    update observability.ai_usage_metrics as m
    set estimated_cost = w.new_cost, cost_source = w.new_cost_source, price_id = w.new_price_id
    from wanted as w
    where m.event_id = w.event_id and m.created_at = w.created_at and m.created_at between v_min and v_max
      and m.estimated_cost is not distinct from w.old_cost and m.cost_source = w.old_cost_source
      and m.price_id is not distinct from w.old_price_id
      and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
    returning
      m.event_id, m.created_at, m.user_id, m.provider, m.model, coalesce(m.feature, '') as feature, m.environment,
      m.operation, m.status, coalesce(m.error_type, '') as error_type, w.old_cost, w.new_cost, w.old_cost_source,
      w.new_cost_source, w.old_price_id, w.new_price_id
  ),
  audited as (
    insert into observability_internal.cost_corrections (
      event_id, run_id, created_at, old_cost, new_cost, old_cost_source, new_cost_source, old_price_id, new_price_id
    )
    select
      c.event_id, correct_costs.run_id, c.created_at, c.old_cost, c.new_cost, c.old_cost_source, c.new_cost_source,
      c.old_price_id, c.new_price_id
    from corrected as c
    on conflict on constraint cost_corrections_pkey do update set
      new_cost = excluded.new_cost, new_cost_source = excluded.new_cost_source, new_price_id = excluded.new_price_id
  ),
  differences as materialized (
    select
      date_trunc('minute', c.created_at) as minute, d.dim_id, u.user_key,
      coalesce(c.new_cost, 0) - coalesce(c.old_cost, 0) as cost,
      case when c.new_cost_source = 'fallback' then c.new_cost else 0 end
      - case when c.old_cost_source = 'fallback' then c.old_cost else 0 end as fallback_cost,
      case when c.new_cost_source = 'provider' then c.new_cost else 0 end
      - case when c.old_cost_source = 'provider' then c.old_cost else 0 end as provider_reported_cost,
      (c.new_cost_source = 'unpriced')::integer - (c.old_cost_source = 'unpriced')::integer as unpriced_requests,
      (c.new_cost_source = 'fallback')::integer - (c.old_cost_source = 'fallback')::integer as fallback_requests
    from corrected as c
    left join observability_internal.dimensions as d
      using (provider, model, feature, environment, operation, status, error_type)
    left join observability_internal.users as u using (user_id)
  ),
  levelled as (
    select 'minute' as level, f.minute as bucket, 0 as user_key, f.* from differences as f
    union all
    select 'hour', date_trunc('hour', f.minute), 0, f.* from differences as f
    union all
    select 'user', date_bin('15 minutes', f.minute, '2000-01-01 00:00:00+00'), f.user_key, f.* from differences as f
  ),
  sums as materialized (
    select
      l.level, l.bucket, l.user_key, l.dim_id, sum(l.cost) as cost, sum(l.fallback_cost) as fallback_cost,
      sum(l.provider_reported_cost) as provider_reported_cost, sum(l.unpriced_requests) as unpriced_requests,
      sum(l.fallback_requests) as fallback_requests
    from levelled as l (
      level, bucket, user_key, minute, dim_id, own_user_key, cost, fallback_cost, provider_reported_cost,
      unpriced_requests, fallback_requests
    )
    group by l.level, l.bucket, l.user_key, l.dim_id
  ),
  in_minutes as (
    update observability_internal.usage_by_minute as r
    set cost = r.cost + s.cost, fallback_cost = r.fallback_cost + s.fallback_cost,
      provider_reported_cost = r.provider_reported_cost + s.provider_reported_cost,
      unpriced_requests = r.unpriced_requests + s.unpriced_requests,
      fallback_requests = r.fallback_requests + s.fallback_requests
    from sums as s
    where s.level = 'minute' and r.bucket = s.bucket and r.dim_id = s.dim_id
    returning 1
  ),
  in_hours as (
    update observability_internal.usage_by_hour as r
    set cost = r.cost + s.cost, fallback_cost = r.fallback_cost + s.fallback_cost,
      provider_reported_cost = r.provider_reported_cost + s.provider_reported_cost,
      unpriced_requests = r.unpriced_requests + s.unpriced_requests,
      fallback_requests = r.fallback_requests + s.fallback_requests
    from sums as s
    where s.level = 'hour' and r.bucket = s.bucket and r.dim_id = s.dim_id
    returning 1
  ),
  in_users as (
    update observability_internal.usage_by_user as r
    set cost = r.cost + s.cost, fallback_cost = r.fallback_cost + s.fallback_cost,
      provider_reported_cost = r.provider_reported_cost + s.provider_reported_cost,
      unpriced_requests = r.unpriced_requests + s.unpriced_requests,
      fallback_requests = r.fallback_requests + s.fallback_requests
    from sums as s
    where s.level = 'user' and r.bucket = s.bucket and r.user_key = s.user_key and r.dim_id = s.dim_id
    returning 1
  )
  select jsonb_build_object(
    'corrected', (select count(*) from corrected),
    'old_cost', (select coalesce(sum(c.old_cost), 0)::text from corrected as c),
    'new_cost', (select coalesce(sum(c.new_cost), 0)::text from corrected as c),
    'missing', (select count(*) from sums)
      - (select count(*) from in_minutes) - (select count(*) from in_hours) - (select count(*) from in_users)
  ) into v_result;
  if (v_result ->> 'missing')::bigint <> 0 then
    raise exception 'the rollups lack % rows of the calls to correct; nothing was changed', v_result ->> 'missing'
      using errcode = '55000';
  end if;
  return v_result || observability_internal.explain_left_out(
    changes, (v_result ->> 'corrected')::integer, v_min, v_max
  );
end;
$$;

comment on function observability_internal.correct_costs(bigint, jsonb) is 'Corrects raw rows, writes the audit and moves the rollups by the difference, in one statement. Its caller holds the roll-up''s lock.';

create function observability.apply_reprice(run_id bigint, changes jsonb, progress jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set lock_timeout = '30s'
set work_mem = '32MB'
set jit = off
as $$
declare
  v_result jsonb := '{"corrected": 0, "old_cost": "0", "new_cost": "0", "pending": [], "conflicts": 0}'::jsonb;
  v_locked_at timestamptz;
begin
  if changes is null or jsonb_typeof(changes) <> 'array' or jsonb_array_length(changes) > 5000 then
    raise exception 'changes must be a JSON array of at most 5,000' using errcode = '22023';
  end if;
  if jsonb_array_length(changes) > 0 then
    -- The lock has a statement of its own: the next statement's snapshot then sees all that the last holder committed.
    perform pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0));
    v_locked_at := clock_timestamp();
    v_result := observability_internal.correct_costs(apply_reprice.run_id, changes);
  end if;
  update observability_internal.reprice_runs as r
  set updated_at = now(), rows_corrected = r.rows_corrected + (v_result ->> 'corrected')::bigint,
    old_cost = r.old_cost + (v_result ->> 'old_cost')::numeric,
    new_cost = r.new_cost + (v_result ->> 'new_cost')::numeric
  where r.run_id = apply_reprice.run_id;
  if not found then
    raise exception 'there is no run %', apply_reprice.run_id using errcode = '22023';
  end if;
  -- The page is done when none of its rows waits for its roll-up.
  if v_result -> 'pending' = '[]' then
    update observability_internal.reprice_runs as r
    set rows_read = r.rows_read + coalesce((progress ->> 'rows')::bigint, 0),
      cursor_created_at = coalesce((progress -> 'next' ->> 'created_at')::timestamptz, r.cursor_created_at),
      cursor_event_id = coalesce((progress -> 'next' ->> 'event_id')::uuid, r.cursor_event_id),
      finished_at = case when (progress ->> 'is_last')::boolean then now() end
    where r.run_id = apply_reprice.run_id;
  end if;
  return v_result || jsonb_build_object(
    'locked_ms', coalesce(extract(epoch from clock_timestamp() - v_locked_at) * 1000, 0)
  );
end;
$$;

comment on function observability.apply_reprice(bigint, jsonb, jsonb) is 'Corrects at most 5,000 calls [{event_id, created_at, old_…, new_…}] with audit and rollups in one transaction. Returns {corrected, old_cost, new_cost, pending, conflicts, locked_ms}.';

grant execute on function observability.start_reprice(timestamptz, timestamptz, jsonb, text, text, text) to service_role;

grant execute on function observability_internal.explain_left_out(jsonb, integer, timestamptz, timestamptz) to service_role;

grant execute on function observability_internal.correct_costs(bigint, jsonb) to service_role;

grant execute on function observability.apply_reprice(bigint, jsonb, jsonb) to service_role;
