-- Purpose: repricing: what was corrected, by whom and why; the calls to price again, by keyset.
-- Locks: none on existing objects.

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
  constraint reprice_runs_pkey primary key (run_id),
  constraint "a run ends after it begins" check (to_time > from_time),
  constraint "a run names who asked for it" check (
    char_length(requested_by) between 1 and 200 and char_length(reason) <= 2000
    and char_length(price_fingerprint) between 1 and 200
  )
);

comment on table observability_internal.reprice_runs is 'Who had which calls priced again, why, with which prices, and how far it came. old_cost and new_cost are sums of the corrected calls.';

create index reprice_runs_started_at_idx on observability_internal.reprice_runs (started_at);

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

comment on table observability_internal.cost_corrections is 'Each correction of a call''s cost: before, after, and the run that made it. created_at is the call''s.';

alter table observability_internal.reprice_runs enable row level security;

alter table observability_internal.cost_corrections enable row level security;

grant select, insert, update on table observability_internal.reprice_runs to service_role;

grant select, insert, update, delete on table observability_internal.cost_corrections to service_role;

grant select on table observability_internal.reprice_runs, observability_internal.cost_corrections to authenticated;

create policy "analysts read the runs" on observability_internal.reprice_runs
for select to authenticated
using ((select observability_internal.can_read_all()));

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
    select from jsonb_object_keys(filters) as k (key) where k.key not in ('provider', 'model', 'include_reported')
  ) then
    raise exception 'filters are provider, model and include_reported' using errcode = '22023';
  end if;
  if jsonb_typeof(coalesce(filters -> 'include_reported', 'false')) <> 'boolean' then
    raise exception 'include_reported is true or false' using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_reprice(timestamptz, timestamptz, jsonb) is 'Refuses (22023) a range or filters that cannot be repriced.';

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
    from observability.ai_usage_metrics as m
    where m.created_at >= coalesce(after_created_at, get_rows_to_reprice.from_time)
      and m.created_at < get_rows_to_reprice.to_time
      and (after_event_id is null or (m.created_at, m.event_id) > (after_created_at, after_event_id))
      and (v_provider is null or m.provider = any (v_provider)) and (v_model is null or m.model = any (v_model))
      -- What a provider said it charged stays, unless asked for.
      and (
        coalesce((filters ->> 'include_reported')::boolean, false)
        or (m.cost_source <> 'provider' and m.provider_cost is null)
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
      'request_fees', p.request_fees::text, 'estimated_cost', p.estimated_cost::text, 'cost_source', p.cost_source,
      'price_id', p.price_id
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

comment on function observability.get_rows_to_reprice(timestamptz, timestamptz, jsonb, timestamptz, uuid, integer) is 'What pricing needs of the calls of a range, oldest first, by keyset pages {rows, next}. Ops only.';

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

comment on function observability.get_reprice_runs(integer) is 'The latest runs of corrections, newest first. Analysts and ops.';

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

comment on function observability.get_cost_corrections(uuid) is 'Every correction of one call''s cost, oldest first: before, after, when, by whom and why. Analysts and ops.';

grant execute on function observability_internal.check_reprice(timestamptz, timestamptz, jsonb) to authenticated, service_role;

grant execute on function observability.get_rows_to_reprice(timestamptz, timestamptz, jsonb, timestamptz, uuid, integer) to authenticated, service_role;

grant execute on function observability.get_reprice_runs(integer) to authenticated, service_role;

grant execute on function observability.get_cost_corrections(uuid) to authenticated, service_role;
