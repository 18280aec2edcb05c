-- Corrects the cost of calls that are already stored and counted, and keeps what it was before.
-- Locks: none to apply, it only creates. At run time apply_reprice holds the roll-up's advisory lock for a page of at
-- most 5,000 rows.

create table observability_internal.reprice_runs (
  run_id bigint generated always as identity,
  from_time timestamptz not null,
  to_time timestamptz not null,
  filters jsonb not null,
  price_fingerprint text not null,
  requested_by text not null,
  reason text,
  started_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  cursor_created_at timestamptz,
  cursor_event_id uuid,
  rows_read bigint not null default 0,
  rows_corrected bigint not null default 0,
  old_cost numeric not null default 0,
  new_cost numeric not null default 0,
  is_automatic boolean not null generated always as (filters ? 'automatic') stored,
  constraint reprice_runs_pkey primary key (run_id),
  constraint "a run ends after it begins" check (to_time > from_time),
  constraint "a run names who asked for it" check (
    char_length(requested_by) between 1 and 200 and char_length(reason) <= 2000
    and char_length(price_fingerprint) between 1 and 200
  )
);

comment on table observability_internal.reprice_runs is
'Who had which calls priced again, why, with which prices, and how far it came. old_cost and new_cost are sums of the'
' corrected calls.';

create index reprice_runs_started_at_idx on observability_internal.reprice_runs (started_at);

alter table observability_internal.reprice_runs enable row level security;

grant select on table observability_internal.reprice_runs to authenticated;

grant select, insert, update on table observability_internal.reprice_runs to service_role;

create policy "analysts read the runs" on observability_internal.reprice_runs
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.cost_corrections (
  event_id uuid not null,
  run_id bigint not null,
  created_at timestamptz not null,
  corrected_at timestamptz not null default now(),
  old_cost numeric,
  new_cost numeric,
  old_cost_source text not null,
  new_cost_source text not null,
  old_price_id text,
  new_price_id text,
  constraint cost_corrections_pkey primary key (event_id, run_id)
);

comment on table observability_internal.cost_corrections is
'Each correction of a call''s cost: before, after, and the run that made it. created_at is the call''s.';

alter table observability_internal.cost_corrections enable row level security;

grant select on table observability_internal.cost_corrections to authenticated;

grant select, insert, update, delete on table observability_internal.cost_corrections to service_role;

create policy "analysts read the corrections" on observability_internal.cost_corrections
for select to authenticated
using ((select observability_internal.can_read_all()));

create function observability_internal.check_reprice(from_time timestamptz, to_time timestamptz, filters jsonb) returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if from_time is null or to_time is null or not isfinite(from_time) or not isfinite(to_time) or from_time >= to_time then
    raise exception 'the range must begin before it ends' using errcode = '22023';
  end if;
  if filters is null or jsonb_typeof(filters) <> 'object' or exists (
    select from jsonb_object_keys(filters) as k (key) where k.key not in ('provider', 'model', 'include_reported', 'automatic')
  ) then
    raise exception 'filters are provider, model, include_reported and automatic' using errcode = '22023';
  end if;
  if jsonb_typeof(coalesce(filters -> 'include_reported', 'false')) <> 'boolean' then
    raise exception 'include_reported is true or false' using errcode = '22023';
  end if;
  if jsonb_typeof(coalesce(filters -> 'automatic', '[]')) <> 'array' then
    raise exception 'automatic is a list of corrected models, provider/model each' using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_reprice is 'Refuses (22023) a range or filters that cannot be repriced.';
revoke execute on function observability_internal.check_reprice from public;
grant execute on function observability_internal.check_reprice to authenticated, service_role;

create function observability.get_rows_to_reprice(
  from_time timestamptz, to_time timestamptz, filters jsonb default '{}', after_created_at timestamptz default null,
  after_event_id uuid default null, max_rows integer default 5000
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set timezone = 'UTC'
set jit = off
as $$
declare
  v_provider constant text[] := observability_internal.filter_values(filters, 'provider');
  v_model constant text[] := observability_internal.filter_values(filters, 'model');
  v_corrected constant text[] := array(select c.name from jsonb_array_elements_text(filters -> 'automatic') as c (name));
  v_waiting constant bigint[] := observability_internal.batches_to_price();
  v_rows jsonb;
  v_count integer;
  v_last_created_at timestamptz;
  v_last_event_id uuid;
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_reprice(
    get_rows_to_reprice.from_time, get_rows_to_reprice.to_time, get_rows_to_reprice.filters
  );
  if max_rows is null or max_rows not between 1 and 5000 then
    raise exception 'max_rows is from 1 to 5,000' using errcode = '22023';
  end if;
  with page as (
    select m.*
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= coalesce(after_created_at, get_rows_to_reprice.from_time)
      and m.created_at < get_rows_to_reprice.to_time
      and (after_event_id is null or (m.created_at, m.event_id) > (after_created_at, after_event_id))
      and (v_provider is null or m.provider = any (v_provider)) and (v_model is null or m.model = any (v_model))
      -- What a provider said it charged stays, unless asked for.
      and (
        coalesce((filters ->> 'include_reported')::boolean, false)
        or (m.cost_source <> 'provider' and m.provider_cost is null)
      )
      -- What waits for its first price gets it elsewhere.
      and m.batch_id <> all (v_waiting)
      -- An automatic run reads what is uncertain, wholly or in part, and calls of models whose prices were corrected.
      and (
        not filters ? 'automatic' or m.cost_source in ('unpriced', 'fallback')
        or m.metadata ->> 'treering_flags' like '%\_unpriced%' or m.provider || '/' || m.model = any (v_corrected)
      )
    order by m.created_at, m.event_id
    limit max_rows
  )
  select
    coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'event_id', p.event_id, 'created_at', p.created_at, 'provider', p.provider, 'model', p.model,
      'service_tier', p.service_tier, 'prompt_tokens', p.prompt_tokens, 'completion_tokens', p.completion_tokens,
      'cached_tokens', nullif(p.cached_tokens, 0), 'cache_write_tokens', nullif(p.cache_write_tokens, 0),
      'reasoning_tokens', nullif(p.reasoning_tokens, 0), 'audio_input_tokens', nullif(p.audio_input_tokens, 0),
      'audio_output_tokens', nullif(p.audio_output_tokens, 0), 'latency_ms', p.latency_ms,
      'status', nullif(p.status, 'ok'), 'usage_source', nullif(p.usage_source, 'reported'),
      'usage_details', p.usage_details, 'request_fees', p.request_fees::text, 'estimated_cost', p.estimated_cost::text,
      'cost_source', p.cost_source, 'price_id', p.price_id
    )) order by p.created_at, p.event_id), '[]'),
    count(*), max(p.created_at)
  into v_rows, v_count, v_last_created_at
  from page as p;
  v_last_event_id := (v_rows -> -1 ->> 'event_id')::uuid;
  return jsonb_build_object(
    'rows', v_rows,
    'next', case when v_count = max_rows
      then jsonb_build_object('created_at', v_last_created_at, 'event_id', v_last_event_id) end
  );
end;
$$;

comment on function observability.get_rows_to_reprice is 'What pricing needs of the calls of a range, oldest first, by keyset pages {rows, next}. Ops only.';
revoke execute on function observability.get_rows_to_reprice from public;
grant execute on function observability.get_rows_to_reprice to authenticated, service_role;

create function observability.get_reprice_runs(row_limit integer default 50) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set timezone = 'UTC'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return (
    select coalesce(jsonb_agg(
      to_jsonb(r) || jsonb_build_object('old_cost', r.old_cost::text, 'new_cost', r.new_cost::text) order by r.run_id desc
    ), '[]')
    from (
      select l.* from observability_internal.reprice_runs as l
      order by l.run_id desc
      limit least(greatest(coalesce(row_limit, 50), 1), 1000)
    ) as r
  );
end;
$$;

comment on function observability.get_reprice_runs is 'The latest runs of corrections, newest first. Analysts and ops.';
revoke execute on function observability.get_reprice_runs from public;
grant execute on function observability.get_reprice_runs to authenticated, service_role;

create function observability.get_cost_corrections(event_id uuid) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set timezone = 'UTC'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return (
    select coalesce(jsonb_agg(
      to_jsonb(c) || jsonb_build_object(
        'old_cost', c.old_cost::text, 'new_cost', c.new_cost::text, 'requested_by', r.requested_by, 'reason', r.reason
      ) order by c.run_id
    ), '[]')
    from observability_internal.cost_corrections as c
    inner join observability_internal.reprice_runs as r using (run_id)
    where c.event_id = get_cost_corrections.event_id
  );
end;
$$;

comment on function observability.get_cost_corrections is
'Every correction of one call''s cost, oldest first: before, after, when, by whom and why. Analysts and ops.';
revoke execute on function observability.get_cost_corrections from public;
grant execute on function observability.get_cost_corrections to authenticated, service_role;

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

comment on function observability.start_reprice is
'Begins a run of corrections, or resumes the same one of the last day that did not finish. Returns {run_id, '
'is_resumed, rows_read, rows_corrected, next}.';
revoke execute on function observability.start_reprice from public;
grant execute on function observability.start_reprice to service_role;

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
    inner join observability_internal.ai_usage_metrics as m on w.event_id = m.event_id and w.created_at = m.created_at
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

comment on function observability_internal.explain_left_out is
'Of changes just applied: which wait for their roll-up, and how many rows are neither as before nor as wanted.';
revoke execute on function observability_internal.explain_left_out from public;
grant execute on function observability_internal.explain_left_out to service_role;

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
  v_differences observability_internal.usage_difference[];
begin
  select min(c.created_at), max(c.created_at) into v_min, v_max from jsonb_to_recordset(changes) as c (created_at timestamptz);
  with wanted as materialized (
    select c.* from jsonb_to_recordset(changes) as c (
      event_id uuid, created_at timestamptz, old_cost numeric, new_cost numeric, old_cost_source text, new_cost_source text,
      old_price_id text, new_price_id text, new_flags jsonb
    )
  ),
  -- A row that has changed since it was read is left for another run, as is one that is not counted yet.
  corrected as (
    update observability_internal.ai_usage_metrics as m
    set estimated_cost = w.new_cost, cost_source = w.new_cost_source, price_id = w.new_price_id,
      metadata = case when w.new_flags is not null or m.metadata ? 'treering_flags'
        then observability_internal.with_cost_flags(m.metadata, w.new_flags) else m.metadata end
    from wanted as w
    where m.event_id = w.event_id and m.created_at = w.created_at and m.created_at between v_min and v_max and m.cost_source = w.old_cost_source
      and m.estimated_cost is not distinct from w.old_cost and m.price_id is not distinct from w.old_price_id
      and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
    returning
      m.event_id, m.created_at, m.user_id, coalesce(m.tenant_id, '') as tenant_id, coalesce(m.tags, '{}') as tags, m.provider, m.model,
      coalesce(m.feature, '') as feature, m.environment, m.operation, m.status, coalesce(m.error_type, '') as error_type,
      w.old_cost, w.new_cost, w.old_cost_source, w.new_cost_source, w.old_price_id, w.new_price_id
  ),
  audited as (
    insert into observability_internal.cost_corrections (
      event_id, run_id, created_at, old_cost, new_cost, old_cost_source, new_cost_source, old_price_id, new_price_id
    )
    select
      c.event_id, correct_costs.run_id, c.created_at, c.old_cost, c.new_cost, c.old_cost_source, c.new_cost_source, c.old_price_id, c.new_price_id
    from corrected as c
    on conflict on constraint cost_corrections_pkey do update set
      new_cost = excluded.new_cost, new_cost_source = excluded.new_cost_source, new_price_id = excluded.new_price_id
  ),
  differences as materialized (
    select
      date_trunc('minute', c.created_at) as created_at, d.dim_id, u.user_key,
      case when c.new_cost_source = 'fallback' then 0 else coalesce(c.new_cost, 0) end
      - case when c.old_cost_source = 'fallback' then 0 else coalesce(c.old_cost, 0) end as cost,
      case c.new_cost_source when 'fallback' then c.new_cost else 0 end - case c.old_cost_source when 'fallback' then c.old_cost else 0 end as fallback_cost,
      case when c.new_cost_source = 'provider' then c.new_cost else 0 end
      - case when c.old_cost_source = 'provider' then c.old_cost else 0 end as provider_reported_cost,
      (c.new_cost_source = 'unpriced')::integer - (c.old_cost_source = 'unpriced')::integer as unpriced_requests,
      (c.new_cost_source = 'fallback')::integer - (c.old_cost_source = 'fallback')::integer as fallback_requests
    from corrected as c
    left join observability_internal.dimensions as d using (provider, model, feature, environment, operation, status, error_type)
    left join observability_internal.attributions as a using (tenant_id, tags)
    left join observability_internal.users as u using (user_id, attribution_id)
  )
  select
    jsonb_build_object(
      'corrected', (select count(*) from corrected),
      'old_cost', (select coalesce(sum(c.old_cost), 0)::text from corrected as c),
      'new_cost', (select coalesce(sum(c.new_cost), 0)::text from corrected as c)
    ),
    array(
      select jsonb_populate_record(null::observability_internal.usage_difference, to_jsonb(s))
      from (
        select
          d.created_at, d.dim_id, d.user_key, sum(d.cost) as cost, sum(d.fallback_cost) as fallback_cost,
          sum(d.provider_reported_cost) as provider_reported_cost, sum(d.unpriced_requests) as unpriced_requests, sum(d.fallback_requests) as fallback_requests
        from differences as d group by d.created_at, d.dim_id, d.user_key
      ) as s
    )
  into v_result, v_differences;
  perform observability_internal.add_usage_difference(v_differences);
  return v_result || observability_internal.explain_left_out(changes, (v_result ->> 'corrected')::integer, v_min, v_max);
end;
$$;

comment on function observability_internal.correct_costs is
'Corrects raw rows, writes the audit and moves the rollups by the difference. Its caller holds the roll-up''s lock.';
revoke execute on function observability_internal.correct_costs from public;
grant execute on function observability_internal.correct_costs to service_role;

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

comment on function observability.apply_reprice is
'Corrects at most 5,000 calls [{event_id, created_at, old_…, new_…}] with audit and rollups in one transaction. '
'Returns {corrected, old_cost, new_cost, pending, conflicts, locked_ms}.';
revoke execute on function observability.apply_reprice from public;
grant execute on function observability.apply_reprice to service_role;
