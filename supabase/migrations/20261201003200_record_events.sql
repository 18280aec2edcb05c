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

create function observability_internal.store_usage(events jsonb, batch_id bigint) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_count integer;
  v_min timestamptz;
  v_max timestamptz;
  v_needs_price boolean;
  v_needs_usage boolean;
begin
  with arrived as materialized (
    select
      e.*, e.estimated_cost is null and e.cost_source is null as is_unjudged,
      observability_internal.whole_input(
        e.provider, e.model, e.prompt_tokens, coalesce(e.cached_tokens, 0) + coalesce(e.cache_write_tokens, 0)
      ) as whole_prompt
    from jsonb_to_recordset(events) as e (
      event_id uuid, created_at timestamptz, user_id text, session_id text, feature text, environment text,
      provider text, model text, operation text, status text, error_type text, finish_reason text, streamed boolean,
      service_tier text, prompt_tokens bigint, completion_tokens bigint, cached_tokens bigint,
      cache_write_tokens bigint, reasoning_tokens bigint, audio_input_tokens bigint, audio_output_tokens bigint,
      max_output_tokens bigint, usage_source text, estimated_cost numeric, cost_source text, price_id text,
      provider_cost numeric, request_fees numeric, latency_ms double precision,
      time_to_first_token_ms double precision, request_group_id text, attempt integer, prompt_hash text,
      prefix_hash text, prefix_tokens bigint, prompt_blocks bytea, response_id text, metadata jsonb,
      usage_details jsonb, usage jsonb
    )
  ),
  stored as (
    insert into observability_internal.ai_usage_metrics as m (
      event_id, created_at, batch_id, user_id, session_id, feature, environment, provider, model, operation, status,
      error_type, finish_reason, streamed, service_tier, prompt_tokens, completion_tokens, cached_tokens,
      cache_write_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, max_output_tokens, usage_source,
      estimated_cost, cost_source, price_id, provider_cost, request_fees, latency_ms, time_to_first_token_ms,
      request_group_id, attempt, prompt_hash, prefix_hash, prefix_tokens, prompt_blocks, response_id, metadata,
      usage_details
    )
    select
      e.event_id, e.created_at, store_usage.batch_id, e.user_id, e.session_id, e.feature,
      coalesce(e.environment, 'production'), coalesce(e.provider, 'openai'), e.model, coalesce(e.operation, 'chat'),
      coalesce(e.status, 'ok'), e.error_type, e.finish_reason, coalesce(e.streamed, false), e.service_tier,
      e.whole_prompt, coalesce(e.completion_tokens, 0), coalesce(e.cached_tokens, 0),
      coalesce(e.cache_write_tokens, 0), coalesce(e.reasoning_tokens, 0), coalesce(e.audio_input_tokens, 0),
      coalesce(e.audio_output_tokens, 0), e.max_output_tokens, coalesce(e.usage_source, 'reported'),
      e.estimated_cost, coalesce(e.cost_source, 'unpriced'), e.price_id, e.provider_cost, e.request_fees, e.latency_ms,
      e.time_to_first_token_ms, e.request_group_id, coalesce(e.attempt, 1), e.prompt_hash, e.prefix_hash,
      least(e.prefix_tokens, e.whole_prompt), e.prompt_blocks, e.response_id,
      case when e.whole_prompt > e.prompt_tokens
        then observability_internal.with_cost_flags(e.metadata, '["prompt_tokens:cache_added"]')
        else nullif(nullif(e.metadata, '{}'), 'null') end,
      case when e.is_unjudged and jsonb_typeof(e.usage) = 'object' then jsonb_build_object('reported', e.usage)
        else nullif(nullif(e.usage_details, '{}'), 'null') end
    from arrived as e
    on conflict do nothing
    returning m.created_at
  )
  select
    count(*), min(s.created_at), max(s.created_at),
    exists (select from arrived as a where a.is_unjudged),
    exists (select from arrived as a where a.is_unjudged and jsonb_typeof(a.usage) = 'object')
  into v_count, v_min, v_max, v_needs_price, v_needs_usage
  from stored as s;
  if v_count > 0 then
    insert into observability_internal.pending_batches as p (
      batch_id, kind, row_count, min_created_at, max_created_at, needs_price, needs_usage
    )
    values (store_usage.batch_id, 'usage', v_count, v_min, v_max, v_needs_price, v_needs_usage)
    on conflict on constraint pending_batches_pkey do update set
      row_count = p.row_count + excluded.row_count,
      needs_price = p.needs_price or excluded.needs_price,
      needs_usage = p.needs_usage or excluded.needs_usage,
      min_created_at = least(p.min_created_at, excluded.min_created_at),
      max_created_at = greatest(p.max_created_at, excluded.max_created_at);
  end if;
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
  v_count integer;
  v_min timestamptz;
  v_max timestamptz;
begin
  with stored as (
    insert into observability_internal.performance_metrics as m (
      event_id, created_at, batch_id, environment, route, method, status_code, error_type, user_id, latency_ms,
      time_to_first_byte_ms, sample_weight, metadata
    )
    select
      e.event_id, e.created_at, store_performance.batch_id, coalesce(e.environment, 'production'), e.route, e.method,
      e.status_code, e.error_type, e.user_id, e.latency_ms, e.time_to_first_byte_ms, coalesce(e.sample_weight, 1),
      nullif(nullif(e.metadata, '{}'), 'null')
    from jsonb_to_recordset(events) as e (
      event_id uuid, created_at timestamptz, environment text, route text, method text, status_code integer,
      error_type text, user_id text, latency_ms double precision, time_to_first_byte_ms double precision,
      sample_weight double precision, metadata jsonb
    )
    on conflict do nothing
    returning m.created_at
  )
  select count(*), min(s.created_at), max(s.created_at) into v_count, v_min, v_max from stored as s;
  if v_count > 0 then
    insert into observability_internal.pending_batches as p (batch_id, kind, row_count, min_created_at, max_created_at)
    values (store_performance.batch_id, 'performance', v_count, v_min, v_max)
    on conflict on constraint pending_batches_pkey do update set
      row_count = p.row_count + excluded.row_count,
      min_created_at = least(p.min_created_at, excluded.min_created_at),
      max_created_at = greatest(p.max_created_at, excluded.max_created_at);
  end if;
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
immutable
security invoker
set search_path = ''
as $$
  select case
    when jsonb_typeof(event) = 'object' then coalesce((
      select jsonb_object_agg(
        f.key, case jsonb_typeof(f.value) when 'string' then to_jsonb(left(f.value #>> '{}', 200)) else f.value end
      )
      from jsonb_each(event) as f
      where f.key = any (array[
        'event_id', 'created_at', 'user_id', 'session_id', 'feature', 'environment', 'provider', 'model', 'operation',
        'status', 'error_type', 'finish_reason', 'streamed', 'service_tier', 'prompt_tokens', 'completion_tokens',
        'cached_tokens', 'cache_write_tokens', 'reasoning_tokens', 'audio_input_tokens', 'audio_output_tokens',
        'max_output_tokens', 'usage_source', 'estimated_cost', 'cost_source', 'price_id', 'provider_cost',
        'request_fees', 'latency_ms', 'time_to_first_token_ms', 'request_group_id', 'attempt', 'route', 'method',
        'status_code', 'time_to_first_byte_ms', 'sample_weight'
      ]) and jsonb_typeof(f.value) in ('string', 'number', 'boolean', 'null')
    ), '{}')
    else jsonb_build_object('json_type', jsonb_typeof(event))
  end;
$$;

comment on function observability_internal.describe_rejected is 'What is kept of a rejected event: known fields, shortened, no metadata.';
revoke execute on function observability_internal.describe_rejected from public;
grant execute on function observability_internal.describe_rejected to service_role;

create function observability_internal.record_events(kind text, events jsonb) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_batch_id bigint;
  v_stored integer := 0;
  v_event jsonb;
  v_missing_partition text;
  v_is_done boolean := false;
begin
  if events is null or jsonb_typeof(events) <> 'array' then
    raise exception 'events must be a JSON array' using errcode = '22023';
  end if;
  if jsonb_array_length(events) > 10000 then
    raise exception 'at most 10,000 events a call' using errcode = '22023';
  end if;
  v_batch_id := nextval('observability_internal.batch_ids');
  -- The common case is one statement. A row of a month without a partition raises a check violation without a
  -- constraint's name: then the months are made and the statement is tried again.
  for v_try in 1..2 loop
    begin
      v_stored := observability_internal.store_batch(record_events.kind, events, v_batch_id);
      v_is_done := true;
      exit;
    exception
      when check_violation then
        get stacked diagnostics v_missing_partition = constraint_name;
        exit when v_missing_partition <> '' or v_try = 2;
      when data_exception or integrity_constraint_violation then
        exit;
    end;
    begin
      perform observability_internal.ensure_partitions_for(record_events.kind, events);
    exception
      when data_exception then
        exit;
    end;
  end loop;
  if v_is_done then
    return v_stored;
  end if;
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
  return observability_internal.store_batch(record_one.kind, jsonb_build_array(event), record_one.batch_id);
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
