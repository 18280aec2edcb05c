-- Stores batches of events: each event once, a bad one set aside with its reason.
-- Locks: none; it only creates.

-- As pricing.names.leaves_cache_out: a test compares them.
create function observability_internal.whole_input(provider text, model text, prompt_tokens bigint, cache_tokens bigint)
returns bigint
language sql
immutable
security invoker
set search_path = ''
as $$
  select case
    when cache_tokens > coalesce(prompt_tokens, 0) and (
      lower(btrim(provider)) in ('anthropic', 'aws', 'bedrock', 'aws.bedrock') or lower(model) like '%claude%'
    ) then least(coalesce(prompt_tokens, 0) + cache_tokens, 1000000000000)
    else coalesce(prompt_tokens, 0)
  end;
$$;

comment on function observability_internal.whole_input is
'Input tokens with those that its maker counts apart: Anthropic''s input leaves out what the cache read and wrote.';
revoke execute on function observability_internal.whole_input from public;
grant execute on function observability_internal.whole_input to service_role;

create function observability_internal.queue_batch(
  batch_id bigint, kind text, row_count integer, min_created_at timestamptz, max_created_at timestamptz, needs_price boolean,
  needs_usage boolean
) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.pending_batches as p (
    batch_id, kind, row_count, min_created_at, max_created_at, needs_price, needs_usage
  )
  select
    queue_batch.batch_id, queue_batch.kind, queue_batch.row_count, queue_batch.min_created_at, queue_batch.max_created_at,
    queue_batch.needs_price, queue_batch.needs_usage
  where queue_batch.row_count > 0
  on conflict on constraint pending_batches_pkey do update set
    row_count = p.row_count + excluded.row_count,
    needs_price = p.needs_price or excluded.needs_price,
    needs_usage = p.needs_usage or excluded.needs_usage,
    min_created_at = least(p.min_created_at, excluded.min_created_at),
    max_created_at = greatest(p.max_created_at, excluded.max_created_at);
$$;

comment on function observability_internal.queue_batch is 'Hands stored rows to the roll-up; nothing where there are none.';
revoke execute on function observability_internal.queue_batch from public;
grant execute on function observability_internal.queue_batch to service_role;

-- The columns of an event are those of its table, and so are the defaults: a column added there is stored.
create function observability_internal.store_usage(events jsonb, batch_id bigint) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  -- What holds where an event leaves a column out.
  v_blank constant observability_internal.ai_usage_metrics := jsonb_populate_record(
    null::observability_internal.ai_usage_metrics,
    observability_internal.column_defaults('observability_internal.ai_usage_metrics')
    || jsonb_build_object('batch_id', store_usage.batch_id)
  );
  v_count integer;
  v_min timestamptz;
  v_max timestamptz;
  v_needs_price boolean;
  v_needs_usage boolean;
begin
  -- What an event says of the columns that are the database's own is not read.
  with populated as materialized (
    select
      e.value as event, jsonb_populate_record(v_blank, case
        when e.value ?| '{batch_id,received_at}' then e.value - '{batch_id,received_at}'::text[] else e.value
      end) as call
    from jsonb_array_elements(events) as e
  ),
  arrived as materialized (
    select
      p.call, case
        when (p.call).cached_tokens + (p.call).cache_write_tokens > (p.call).prompt_tokens
          then observability_internal.whole_input(
            (p.call).provider, (p.call).model, (p.call).prompt_tokens,
            (p.call).cached_tokens + (p.call).cache_write_tokens
          )
        else (p.call).prompt_tokens
      end as whole_prompt,
      (p.call).estimated_cost is null and coalesce(p.event -> 'cost_source', 'null') = 'null' as is_unjudged,
      case when jsonb_typeof(p.event -> 'usage') = 'object' then p.event -> 'usage' end as usage,
      (p.call).prompt_tokens + (p.call).completion_tokens > 0
      or jsonb_strip_nulls(p.event) ?| '{prompt_tokens,completion_tokens,usage_details,provider_cost}' as is_counted
    from populated as p
  ),
  stored as (
    insert into observability_internal.ai_usage_metrics as m
    select r.*
    from arrived as a
    cross join lateral jsonb_populate_record(
      a.call, case
        when a.whole_prompt > (a.call).prompt_tokens then jsonb_build_object(
          'prompt_tokens', a.whole_prompt,
          'metadata', observability_internal.with_cost_flags((a.call).metadata, '["prompt_tokens:cache_added"]')
        )
        when (a.call).metadata = '{}' then '{"metadata": null}' else '{}'
      end || case
        when a.is_unjudged and a.usage is not null
          then jsonb_build_object('usage_details', jsonb_build_object('reported', a.usage))
        when a.is_unjudged and not a.is_counted and a.whole_prompt = 0 and (a.call).status <> 'error'
          then jsonb_build_object(
            'usage_source', 'heuristic', -- what it used is unknown, not nothing
            'metadata', observability_internal.with_cost_flags((a.call).metadata, '["usage:not_reported"]')
          )
        when (a.call).usage_details = '{}' then '{"usage_details": null}' else '{}'
      end || case when (a.call).tags = '{}' then '{"tags": null}'::jsonb else '{}' end
    ) as r
    on conflict do nothing
    returning m.created_at
  )
  select
    count(*), min(s.created_at), max(s.created_at),
    exists (select from arrived as a where a.is_unjudged),
    exists (select from arrived as a where a.is_unjudged and a.usage is not null)
  into v_count, v_min, v_max, v_needs_price, v_needs_usage
  from stored as s;
  perform observability_internal.queue_batch(store_usage.batch_id, 'usage', v_count, v_min, v_max, v_needs_price, v_needs_usage);
  return v_count;
end;
$$;

comment on function observability_internal.store_usage is 'Stores usage events under one batch id; all or nothing.';
revoke execute on function observability_internal.store_usage from public;
grant execute on function observability_internal.store_usage to service_role;

create function observability_internal.store_performance(events jsonb, batch_id bigint) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_blank constant observability_internal.performance_metrics := jsonb_populate_record(
    null::observability_internal.performance_metrics,
    observability_internal.column_defaults('observability_internal.performance_metrics')
    || jsonb_build_object('batch_id', store_performance.batch_id)
  );
  v_count integer;
  v_min timestamptz;
  v_max timestamptz;
begin
  with stored as (
    insert into observability_internal.performance_metrics as m
    select r.*
    from jsonb_array_elements(events) as e
    cross join lateral jsonb_populate_record(
      v_blank, e.value - '{batch_id,received_at}'::text[]
      || case when e.value -> 'metadata' = '{}' then '{"metadata": null}'::jsonb else '{}' end
    ) as r
    on conflict do nothing
    returning m.created_at
  )
  select count(*), min(s.created_at), max(s.created_at) into v_count, v_min, v_max from stored as s;
  perform observability_internal.queue_batch(store_performance.batch_id, 'performance', v_count, v_min, v_max, false, false);
  return v_count;
end;
$$;

comment on function observability_internal.store_performance is 'Stores performance events under one batch id; all or nothing.';
revoke execute on function observability_internal.store_performance from public;
grant execute on function observability_internal.store_performance to service_role;

create function observability_internal.store_batch(kind text, events jsonb, batch_id bigint) returns integer
language sql
volatile
security invoker
set search_path = ''
as $$
  select case kind
    when 'usage' then observability_internal.store_usage(events, batch_id)
    else observability_internal.store_performance(events, batch_id)
  end;
$$;

comment on function observability_internal.store_batch is 'Stores events of a kind: usage or performance.';
revoke execute on function observability_internal.store_batch from public;
grant execute on function observability_internal.store_batch to service_role;

create function observability_internal.describe_rejected(event jsonb) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when jsonb_typeof(event) = 'object' then coalesce((
      select jsonb_object_agg(
        f.key, case jsonb_typeof(f.value) when 'string' then to_jsonb(left(f.value #>> '{}', 200)) else f.value end
      )
      from jsonb_each(event) as f
      where jsonb_typeof(f.value) in ('string', 'number', 'boolean', 'null') and f.key in (
        select a.attname
        from pg_catalog.pg_attribute as a
        where a.attrelid in (
          'observability_internal.ai_usage_metrics'::regclass, 'observability_internal.performance_metrics'::regclass
        )
        and a.attnum > 0 and not a.attisdropped and a.atttypid <> 'jsonb'::regtype
      )
    ), '{}')
    else jsonb_build_object('json_type', jsonb_typeof(event))
  end;
$$;

comment on function observability_internal.describe_rejected is
'What is kept of a rejected event: the fields that are columns, shortened, but no JSON such as metadata.';
revoke execute on function observability_internal.describe_rejected from public;
grant execute on function observability_internal.describe_rejected to service_role;

create function observability_internal.without_nulls(events jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select jsonb_agg(
    case
      when jsonb_typeof(e.value) = 'object' then (
        select coalesce(jsonb_object_agg(f.key, f.value), '{}') from jsonb_each(e.value) as f where f.value <> 'null'
      )
      else e.value
    end
    order by e.position
  )
  from jsonb_array_elements(events) with ordinality as e (value, position);
$$;

comment on function observability_internal.without_nulls is
'The events without the fields that are null; what lies within a field stays as it is.';
revoke execute on function observability_internal.without_nulls from public;
grant execute on function observability_internal.without_nulls to service_role;

create function observability_internal.record_events(kind text, events jsonb) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_events jsonb := events;
  v_batch_id bigint;
  v_event jsonb;
  v_constraint text;
  v_problem text;
  v_solved text[] := array[]::text[];
  v_stored integer := 0;
begin
  if events is null or jsonb_typeof(events) <> 'array' then
    raise exception 'events must be a JSON array' using errcode = '22023';
  end if;
  if jsonb_array_length(events) > 10000 then
    raise exception 'at most 10,000 events a call' using errcode = '22023';
  end if;
  v_batch_id := nextval('observability_internal.batch_ids');
  -- The common case is one statement. Two problems of a whole batch are solved and the statement is tried again: a row of
  -- a month without a partition raises a check violation without a constraint's name, and a null stands in the way of a
  -- column's default.
  loop
    begin
      return observability_internal.store_batch(record_events.kind, v_events, v_batch_id);
    exception
      when not_null_violation then
        v_problem := 'null';
      when check_violation then
        get stacked diagnostics v_constraint = constraint_name;
        v_problem := case when v_constraint = '' then 'partition' end;
      when data_exception or integrity_constraint_violation then
        v_problem := null;
    end;
    exit when v_problem is null or v_problem = any (v_solved);
    v_solved := v_solved || v_problem;
    if v_problem = 'null' then
      v_events := observability_internal.without_nulls(v_events);
    else
      begin
        perform observability_internal.ensure_partitions_for(record_events.kind, v_events);
      exception
        when data_exception then
          exit;
      end;
    end if;
  end loop;
  for v_event in select e.value from jsonb_array_elements(events) as e loop
    v_stored := v_stored + observability_internal.record_one(record_events.kind, v_event, v_batch_id);
  end loop;
  return v_stored;
end;
$$;

comment on function observability_internal.record_events is 'Stores a batch; where that fails, each event on its own, and the bad ones go to rejected_events.';
revoke execute on function observability_internal.record_events from public;
grant execute on function observability_internal.record_events to service_role;

create function observability_internal.record_one(kind text, event jsonb, batch_id bigint) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_reason text;
begin
  perform observability_internal.ensure_partitions_for(record_one.kind, jsonb_build_array(event));
  return observability_internal.store_batch(
    record_one.kind, observability_internal.without_nulls(jsonb_build_array(event)), record_one.batch_id
  );
exception
  when data_exception or integrity_constraint_violation then
    get stacked diagnostics v_reason = message_text;
    insert into observability_internal.rejected_events (kind, sqlstate, reason, event)
    values (record_one.kind, sqlstate, left(v_reason, 200), observability_internal.describe_rejected(event));
    return 0;
end;
$$;

comment on function observability_internal.record_one is 'Stores one event or keeps it, with the reason, in rejected_events.';
revoke execute on function observability_internal.record_one from public;
grant execute on function observability_internal.record_one to service_role;

create function observability_internal.with_key_environment(events jsonb) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when auth.jwt() ->> 'treering_environment' is null or jsonb_typeof(events) is distinct from 'array' then events
    else (
      select coalesce(jsonb_agg(
        case
          when jsonb_typeof(e.value) = 'object'
            then e.value || jsonb_build_object('environment', auth.jwt() ->> 'treering_environment')
          else e.value
        end
        order by e.position
      ), '[]')
      from jsonb_array_elements(events) with ordinality as e (value, position)
    )
  end;
$$;

comment on function observability_internal.with_key_environment is
'The events in the environment that the caller''s key is fixed to; unchanged where the key is fixed to none.';
revoke execute on function observability_internal.with_key_environment from public;
grant execute on function observability_internal.with_key_environment to service_role;

-- Security definer, as record_performance: treering_writer may insert through these two functions, and has no right of
-- its own on anything behind them.
create function observability.record_usage(events jsonb) returns integer
language sql
volatile
security definer
set search_path = ''
set statement_timeout = '60s'
set jit = off
as $$
  select observability_internal.record_events('usage', observability_internal.with_key_environment(events));
$$;

comment on function observability.record_usage is
'Stores LLM calls (a JSON array of at most 10,000); returns how many are new. A repeated event_id stores nothing. A call without'
' estimated_cost and cost_source is priced by the worker; instead of counts it may have `usage`, its provider''s own object.';
revoke execute on function observability.record_usage from public;
grant execute on function observability.record_usage to service_role, treering_writer;

create function observability.record_performance(events jsonb) returns integer
language sql
volatile
security definer
set search_path = ''
set statement_timeout = '60s'
set jit = off
as $$
  select observability_internal.record_events('performance', observability_internal.with_key_environment(events));
$$;

comment on function observability.record_performance is
'Stores HTTP requests (a JSON array of at most 10,000); returns how many are new. A repeated event_id stores nothing.';
revoke execute on function observability.record_performance from public;
grant execute on function observability.record_performance to service_role, treering_writer;

-- Security definer: no caller may read the queue. Its length is shown to callers who may see all rows.
create function observability_internal.pending_rows() returns bigint
language sql
stable
security definer
set search_path = ''
as $$
  select case when observability_internal.access_level() in ('analyst', 'ops', 'service')
    then coalesce((select sum(p.row_count) from observability_internal.pending_batches as p), 0) else 0 end;
$$;

comment on function observability_internal.pending_rows is 'Rows stored but not yet rolled up; 0 for members.';
revoke execute on function observability_internal.pending_rows from public;
grant execute on function observability_internal.pending_rows to authenticated, service_role;
