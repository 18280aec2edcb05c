-- Calls that came without a cost, and the prices that the worker finds for them before they are rolled up.
-- Locks: none to apply, it only creates. At run time price_arrivals holds the roll-up's advisory transaction lock for
-- the batches of one page.

create table observability_internal.price_state (
  is_only boolean not null default true,
  priced_at timestamptz,
  late_batches bigint not null default 0,
  repriced_batches bigint not null default 0,
  price_fingerprint text,
  model_digests jsonb not null default '{}',
  catalogue_checked_at timestamptz,
  catalogue_error text,
  catalogue_failing_since timestamptz,
  constraint price_state_pkey primary key (is_only),
  constraint "there is one row" check (is_only),
  constraint "digests are an object" check (jsonb_typeof(model_digests) = 'object')
);

comment on table observability_internal.price_state is
'One row: when the worker last priced arrivals; how many batches were rolled up before it could, and how many of them'
' the automatic repricing has seen; which prices that repricing used last, in all and by model; when the worker last asked'
' for the published catalogue, why it could not have it and since when.';

alter table observability_internal.price_state enable row level security;

grant select, insert, update on table observability_internal.price_state to service_role;

create function observability_internal.with_cost_flags(metadata jsonb, flags jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select case when octet_length(m.changed::text) <= 8192 then m.changed else with_cost_flags.metadata end
  from (
    select nullif(
      (coalesce(with_cost_flags.metadata, '{}') - 'treering_flags') || case
        when jsonb_array_length(f.kept) > 0 then jsonb_build_object('treering_flags', f.kept) else '{}'
      end, '{}'
    ) as changed
    from (
      select coalesce(jsonb_agg(u.flag order by u.place), '[]') as kept
      from (
        select e.flag, min(e.place) as place
        from jsonb_array_elements_text(
          case when jsonb_typeof(with_cost_flags.metadata -> 'treering_flags') = 'array'
            then with_cost_flags.metadata -> 'treering_flags' else '[]' end || coalesce(with_cost_flags.flags, '[]')
        ) with ordinality as e (flag, place)
        where coalesce(with_cost_flags.flags, '[]') ? e.flag
          or not (e.flag like 'cost:%\_unpriced' or e.flag = 'reported_cost:differs')
        group by e.flag
        order by place
        limit 16
      ) as u
    ) as f
  ) as m;
$$;

comment on function observability_internal.with_cost_flags is
'Metadata of a call with these findings of its pricing in place of earlier ones; unchanged where that would be too long.';
revoke execute on function observability_internal.with_cost_flags from public;
grant execute on function observability_internal.with_cost_flags to service_role;

create function observability.get_arrivals(after_batch_id bigint default 0, max_rows integer default 5000) returns json
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_batches bigint[];
  v_min timestamptz;
  v_max timestamptz;
begin
  if after_batch_id is null or max_rows is null or max_rows not between 1 and 10000 then
    raise exception 'max_rows is from 1 to 10,000' using errcode = '22023';
  end if;
  -- Whole batches: one is rolled up when all of its calls have been looked at.
  select array_agg(c.batch_id order by c.batch_id), min(c.min_created_at), max(c.max_created_at)
  into v_batches, v_min, v_max
  from (
    select p.*, sum(p.row_count) over (order by p.batch_id) - p.row_count as rows_before
    from observability_internal.pending_batches as p
    where p.needs_price and p.batch_id > get_arrivals.after_batch_id
  ) as c
  where c.rows_before < get_arrivals.max_rows;
  -- Arrays without names, as text: this is read at tens of thousands of calls a second.
  return json_build_object(
    'batch_ids', coalesce(to_json(v_batches), '[]'),
    'columns', json_build_array(
      'event_id', 'created_at', 'provider', 'model', 'service_tier', 'operation', 'status', 'prompt_tokens',
      'completion_tokens', 'cached_tokens', 'cache_write_tokens', 'reasoning_tokens', 'audio_input_tokens',
      'audio_output_tokens', 'latency_ms', 'usage_details', 'provider_cost', 'request_fees', 'usage_source'
    ),
    'rows', (
      select coalesce(json_agg(json_build_array(
        m.event_id, m.created_at, m.provider, m.model, m.service_tier, m.operation, m.status, m.prompt_tokens,
        m.completion_tokens, m.cached_tokens, m.cache_write_tokens, m.reasoning_tokens, m.audio_input_tokens,
        m.audio_output_tokens, m.latency_ms, m.usage_details, m.provider_cost::text, m.request_fees::text,
        m.usage_source
      )), '[]')
      from observability_internal.ai_usage_metrics as m
      where m.batch_id = any (v_batches) and m.created_at between v_min and v_max and m.cost_source = 'unpriced'
    )
  );
end;
$$;

comment on function observability.get_arrivals is
'The calls that wait for a price, of the next batches after one, about max_rows and at most one batch more: {batch_ids, columns,'
' rows}, a row as an array.';
revoke execute on function observability.get_arrivals from public;
grant execute on function observability.get_arrivals to service_role;

create function observability_internal.write_usages(
  batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz, usages jsonb
) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  with wanted as materialized (
    select w.* from jsonb_to_recordset(usages) as w (
      event_id uuid, prompt_tokens bigint, completion_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
      reasoning_tokens bigint, audio_input_tokens bigint, audio_output_tokens bigint, usage_details jsonb,
      provider_cost numeric, service_tier text, flags jsonb
    )
  )
  update observability_internal.ai_usage_metrics as m
  set prompt_tokens = coalesce(w.prompt_tokens, m.prompt_tokens),
    completion_tokens = coalesce(w.completion_tokens, m.completion_tokens),
    cached_tokens = coalesce(w.cached_tokens, m.cached_tokens),
    cache_write_tokens = coalesce(w.cache_write_tokens, m.cache_write_tokens),
    reasoning_tokens = coalesce(w.reasoning_tokens, m.reasoning_tokens),
    audio_input_tokens = coalesce(w.audio_input_tokens, m.audio_input_tokens),
    audio_output_tokens = coalesce(w.audio_output_tokens, m.audio_output_tokens), usage_details = w.usage_details,
    provider_cost = coalesce(m.provider_cost, w.provider_cost), service_tier = coalesce(m.service_tier, w.service_tier),
    metadata = case when w.flags is null then m.metadata else observability_internal.with_cost_flags(m.metadata, w.flags) end
  from wanted as w
  where m.batch_id = any (write_usages.batch_ids)
    and m.created_at between write_usages.min_created_at and write_usages.max_created_at and m.event_id = w.event_id
    and m.cost_source = 'unpriced';
$$;

comment on function observability_internal.write_usages is 'Puts counts read from usage objects in their place.';
revoke execute on function observability_internal.write_usages from public;
grant execute on function observability_internal.write_usages to service_role;

create function observability.price_arrivals(batch_ids jsonb, prices jsonb, usages jsonb default '[]') returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set lock_timeout = '30s'
set work_mem = '32MB'
set jit = off
as $$
#variable_conflict use_column
declare
  v_batches bigint[];
  v_min timestamptz;
  v_max timestamptz;
  v_priced integer;
begin
  if jsonb_typeof(batch_ids) is distinct from 'array' or jsonb_typeof(prices) is distinct from 'array'
    or jsonb_typeof(usages) is distinct from 'array' then
    raise exception 'batch_ids, prices and usages must be JSON arrays' using errcode = '22023';
  end if;
  -- The lock has a statement of its own: the next statement's snapshot then sees all that the last holder committed. Whoever
  -- comes second finds no batch that still waits, and changes nothing.
  perform pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0));
  with found as (
    update observability_internal.pending_batches as p
    set needs_price = false, needs_usage = false
    where p.needs_price and p.batch_id in (select b.batch_id::bigint from jsonb_array_elements_text(batch_ids) as b (batch_id))
    returning p.batch_id, p.min_created_at, p.max_created_at
  )
  select array_agg(f.batch_id), min(f.min_created_at), max(f.max_created_at) into v_batches, v_min, v_max from found as f;
  if jsonb_array_length(usages) > 0 then
    perform observability_internal.write_usages(v_batches, v_min, v_max, usages);
  end if;
  with wanted as materialized (
    select w.* from jsonb_to_recordset(prices) as w (
      event_id uuid, estimated_cost numeric, cost_source text, price_id text, flags jsonb
    )
  )
  update observability_internal.ai_usage_metrics as m
  set estimated_cost = w.estimated_cost, cost_source = w.cost_source, price_id = w.price_id,
    metadata = case when w.flags is null then m.metadata else observability_internal.with_cost_flags(m.metadata, w.flags) end
  from wanted as w
  where m.batch_id = any (v_batches) and m.created_at between v_min and v_max and m.event_id = w.event_id
    and m.cost_source = 'unpriced';
  get diagnostics v_priced = row_count;
  insert into observability_internal.price_state as s (priced_at) values (now())
  on conflict on constraint price_state_pkey do update set priced_at = excluded.priced_at;
  return jsonb_build_object('priced', v_priced, 'batches', coalesce(cardinality(v_batches), 0));
end;
$$;

comment on function observability.price_arrivals is
'Gives calls of batches that still wait their prices [{event_id, estimated_cost, cost_source, price_id, flags}] and the counts'
' read from usage objects [{event_id, prompt_tokens, …}], and hands the batches to the roll-up, in one transaction. Returns'
' {priced, batches}.';
revoke execute on function observability.price_arrivals from public;
grant execute on function observability.price_arrivals to service_role;

-- Security definer: ops price calls again and have no right on the queue.
create function observability_internal.batches_to_price() returns bigint[]
language sql
stable
security definer
set search_path = ''
as $$
  select case when observability_internal.access_level() in ('ops', 'service') then array(
    select p.batch_id from observability_internal.pending_batches as p where p.needs_price
  ) else '{}' end;
$$;

comment on function observability_internal.batches_to_price is 'Batches whose calls wait for their first price; none for members and analysts.';
revoke execute on function observability_internal.batches_to_price from public;
grant execute on function observability_internal.batches_to_price to authenticated, service_role;

create function observability_internal.price_deadline() returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when exists (select from observability_internal.price_state as s where s.priced_at > now() - interval '60 seconds')
      then '-infinity'
    else now() - interval '60 seconds'
  end;
$$;

comment on function observability_internal.price_deadline is
'Batches enqueued before this are rolled up even where they wait for prices: none while the worker prices, else those'
' that have waited a minute. The automatic repricing makes up for it.';
revoke execute on function observability_internal.price_deadline from public;
grant execute on function observability_internal.price_deadline to service_role;
