-- Purpose: the exactly-once increment from raw rows to rollups, driven by pending_batches.
-- Locks: one advisory transaction lock, ROW EXCLUSIVE on the rollups.

create function observability_internal.roll_up_usage(batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_rows bigint;
begin
  insert into observability_internal.dimensions (provider, model, feature, environment, operation, status, error_type)
  select distinct
    m.provider, m.model, coalesce(m.feature, ''), m.environment, m.operation, m.status, coalesce(m.error_type, '')
  from observability.ai_usage_metrics as m
  where m.batch_id = any (batch_ids) and m.created_at between roll_up_usage.min_created_at and roll_up_usage.max_created_at
  except
  select d.provider, d.model, d.feature, d.environment, d.operation, d.status, d.error_type
  from observability_internal.dimensions as d
  on conflict do nothing;

  insert into observability_internal.cost_groups (provider, model, feature, environment)
  select distinct d.provider, d.model, d.feature, d.environment from observability_internal.dimensions as d
  except
  select g.provider, g.model, g.feature, g.environment from observability_internal.cost_groups as g
  on conflict do nothing;

  insert into observability_internal.users (user_id)
  select distinct m.user_id
  from observability.ai_usage_metrics as m
  where m.batch_id = any (batch_ids) and m.created_at between roll_up_usage.min_created_at and roll_up_usage.max_created_at
    and not exists (select from observability_internal.users as u where u.user_id = m.user_id)
  on conflict do nothing;

  with calls as materialized (
    select
      date_trunc('minute', m.created_at) as minute, d.dim_id, g.group_id, u.user_key, m.prompt_tokens,
      m.completion_tokens, m.cached_tokens, m.cache_write_tokens, m.reasoning_tokens, m.audio_input_tokens,
      m.audio_output_tokens, m.estimated_cost, m.cost_source, m.usage_source,
      ceil(ln(case when m.latency_ms < 0.001 then 0.001 else m.latency_ms end) / 0.020000666706669435)::integer as latency_bin,
      ceil(ln(case when m.time_to_first_token_ms < 0.001 then 0.001 else m.time_to_first_token_ms end) / 0.020000666706669435)::integer as first_token_bin
    from observability.ai_usage_metrics as m
    inner join observability_internal.dimensions as d
      on m.provider = d.provider and m.model = d.model and coalesce(m.feature, '') = d.feature
      and m.environment = d.environment and m.operation = d.operation and m.status = d.status
      and coalesce(m.error_type, '') = d.error_type
    inner join observability_internal.cost_groups as g
      on d.provider = g.provider and d.model = g.model and d.feature = g.feature and d.environment = g.environment
    inner join observability_internal.users as u on m.user_id = u.user_id
    where m.batch_id = any (batch_ids)
      and m.created_at between roll_up_usage.min_created_at and roll_up_usage.max_created_at
  ),
  -- One row per call and level; user_key 0 stands for all users together.
  levelled as (
    select 'minute' as level, c.minute as bucket, 0 as user_key, c.* from calls as c
    union all
    select 'hour', date_trunc('hour', c.minute), 0, c.* from calls as c
    union all
    select 'user', date_bin('15 minutes', c.minute, '2000-01-01 00:00:00+00'), c.user_key, c.* from calls as c
  ),
  sums as (
    select
      c.level, c.bucket, c.user_key, c.dim_id, count(*) as requests, sum(c.prompt_tokens) as prompt_tokens,
      sum(c.completion_tokens) as completion_tokens, sum(c.cached_tokens) as cached_tokens,
      sum(c.cache_write_tokens) as cache_write_tokens, sum(c.reasoning_tokens) as reasoning_tokens,
      sum(c.audio_input_tokens) as audio_input_tokens, sum(c.audio_output_tokens) as audio_output_tokens,
      coalesce(sum(c.estimated_cost), 0) as cost,
      coalesce(sum(c.estimated_cost) filter (where c.cost_source = 'fallback'), 0) as fallback_cost,
      coalesce(sum(c.estimated_cost) filter (where c.cost_source = 'provider'), 0) as provider_reported_cost,
      count(*) filter (where c.cost_source = 'unpriced') as unpriced_requests,
      count(*) filter (where c.cost_source = 'fallback') as fallback_requests,
      count(*) filter (where c.usage_source <> 'reported') as estimated_requests
    from levelled as c (level, bucket, user_key, minute, dim_id, group_id, own_user_key)
    group by c.level, c.bucket, c.user_key, c.dim_id
  ),
  bins as (
    select c.level, c.bucket, c.user_key, c.dim_id, measure.name, measure.bin, count(*) as weight
    from levelled as c (level, bucket, user_key, minute, dim_id, group_id, own_user_key)
    cross join lateral (
      values ('latency', c.latency_bin), ('first_token', c.first_token_bin)
    ) as measure (name, bin)
    where measure.bin is not null
    group by c.level, c.bucket, c.user_key, c.dim_id, measure.name, measure.bin
  ),
  histograms as (
    select
      b.level, b.bucket, b.user_key, b.dim_id,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'latency') as latency,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'first_token') as time_to_first_token
    from bins as b
    cross join lateral (values (1, b.bin::real), (2, b.weight::real)) as pair (position, entry)
    group by b.level, b.bucket, b.user_key, b.dim_id
  ),
  merged as materialized (
    select s.*, h.latency, h.time_to_first_token
    from sums as s
    left join histograms as h using (level, bucket, user_key, dim_id)
  ),
  into_minutes as (
    insert into observability_internal.usage_by_minute as r
    select
      m.bucket, m.dim_id, m.requests, m.prompt_tokens, m.completion_tokens, m.cached_tokens, m.cache_write_tokens,
      m.reasoning_tokens, m.audio_input_tokens, m.audio_output_tokens, m.cost, m.fallback_cost,
      m.provider_reported_cost, m.unpriced_requests, m.fallback_requests, m.estimated_requests, m.latency,
      m.time_to_first_token
    from merged as m where m.level = 'minute'
    on conflict (bucket, dim_id) do update set
      requests = r.requests + excluded.requests, prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
      completion_tokens = r.completion_tokens + excluded.completion_tokens,
      cached_tokens = r.cached_tokens + excluded.cached_tokens,
      cache_write_tokens = r.cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = r.reasoning_tokens + excluded.reasoning_tokens,
      audio_input_tokens = r.audio_input_tokens + excluded.audio_input_tokens,
      audio_output_tokens = r.audio_output_tokens + excluded.audio_output_tokens, cost = r.cost + excluded.cost,
      fallback_cost = r.fallback_cost + excluded.fallback_cost,
      provider_reported_cost = r.provider_reported_cost + excluded.provider_reported_cost,
      unpriced_requests = r.unpriced_requests + excluded.unpriced_requests,
      fallback_requests = r.fallback_requests + excluded.fallback_requests,
      estimated_requests = r.estimated_requests + excluded.estimated_requests,
      latency = observability_internal.add_to_histogram(r.latency, excluded.latency),
      time_to_first_token
        = observability_internal.add_to_histogram(r.time_to_first_token, excluded.time_to_first_token)
  ),
  into_hours as (
    insert into observability_internal.usage_by_hour as r
    select
      m.bucket, m.dim_id, m.requests, m.prompt_tokens, m.completion_tokens, m.cached_tokens, m.cache_write_tokens,
      m.reasoning_tokens, m.audio_input_tokens, m.audio_output_tokens, m.cost, m.fallback_cost,
      m.provider_reported_cost, m.unpriced_requests, m.fallback_requests, m.estimated_requests, m.latency,
      m.time_to_first_token
    from merged as m where m.level = 'hour'
    on conflict (bucket, dim_id) do update set
      requests = r.requests + excluded.requests, prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
      completion_tokens = r.completion_tokens + excluded.completion_tokens,
      cached_tokens = r.cached_tokens + excluded.cached_tokens,
      cache_write_tokens = r.cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = r.reasoning_tokens + excluded.reasoning_tokens,
      audio_input_tokens = r.audio_input_tokens + excluded.audio_input_tokens,
      audio_output_tokens = r.audio_output_tokens + excluded.audio_output_tokens, cost = r.cost + excluded.cost,
      fallback_cost = r.fallback_cost + excluded.fallback_cost,
      provider_reported_cost = r.provider_reported_cost + excluded.provider_reported_cost,
      unpriced_requests = r.unpriced_requests + excluded.unpriced_requests,
      fallback_requests = r.fallback_requests + excluded.fallback_requests,
      estimated_requests = r.estimated_requests + excluded.estimated_requests,
      latency = observability_internal.add_to_histogram(r.latency, excluded.latency),
      time_to_first_token
        = observability_internal.add_to_histogram(r.time_to_first_token, excluded.time_to_first_token)
  ),
  into_users as (
    insert into observability_internal.usage_by_user as r
    select
      m.bucket, m.dim_id, m.requests, m.prompt_tokens, m.completion_tokens, m.cached_tokens, m.cache_write_tokens,
      m.reasoning_tokens, m.audio_input_tokens, m.audio_output_tokens, m.cost, m.fallback_cost,
      m.provider_reported_cost, m.unpriced_requests, m.fallback_requests, m.estimated_requests, m.latency,
      m.time_to_first_token, m.user_key
    from merged as m where m.level = 'user'
    on conflict (bucket, user_key, dim_id) do update set
      requests = r.requests + excluded.requests, prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
      completion_tokens = r.completion_tokens + excluded.completion_tokens,
      cached_tokens = r.cached_tokens + excluded.cached_tokens,
      cache_write_tokens = r.cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = r.reasoning_tokens + excluded.reasoning_tokens,
      audio_input_tokens = r.audio_input_tokens + excluded.audio_input_tokens,
      audio_output_tokens = r.audio_output_tokens + excluded.audio_output_tokens, cost = r.cost + excluded.cost,
      fallback_cost = r.fallback_cost + excluded.fallback_cost,
      provider_reported_cost = r.provider_reported_cost + excluded.provider_reported_cost,
      unpriced_requests = r.unpriced_requests + excluded.unpriced_requests,
      fallback_requests = r.fallback_requests + excluded.fallback_requests,
      estimated_requests = r.estimated_requests + excluded.estimated_requests,
      latency = observability_internal.add_to_histogram(r.latency, excluded.latency),
      time_to_first_token
        = observability_internal.add_to_histogram(r.time_to_first_token, excluded.time_to_first_token)
  ),
  new_users as (
    insert into observability_internal.users_by_period as r (period, bucket_start, group_id, user_key)
    select distinct p.period, date_trunc(p.period, c.minute), c.group_id, c.user_key
    from calls as c
    cross join (values ('hour'), ('day'), ('week'), ('month')) as p (period)
    on conflict do nothing
    returning r.period, r.bucket_start, r.group_id
  ),
  into_user_counts as (
    insert into observability_internal.user_counts as r (period, bucket_start, group_id, user_count)
    select n.period, n.bucket_start, n.group_id, count(*) from new_users as n
    group by n.period, n.bucket_start, n.group_id
    on conflict (period, bucket_start, group_id) do update set user_count = r.user_count + excluded.user_count
  )
  select count(*) into v_rows from calls;
  return v_rows;
end;
$$;

comment on function observability_internal.roll_up_usage(bigint[], timestamptz, timestamptz) is 'Adds the usage rows of these batches to the rollups; returns how many.';

create function observability_internal.roll_up_performance(
  batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz
) returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_rows bigint;
begin
  insert into observability_internal.route_dimensions (environment, method, route, status_code, error_type)
  select distinct m.environment, m.method, m.route, m.status_code, coalesce(m.error_type, '')
  from observability.performance_metrics as m
  where m.batch_id = any (batch_ids)
    and m.created_at between roll_up_performance.min_created_at and roll_up_performance.max_created_at
  except
  select d.environment, d.method, d.route, d.status_code, d.error_type
  from observability_internal.route_dimensions as d
  on conflict do nothing;

  with requests as materialized (
    select
      date_trunc('minute', m.created_at) as minute, d.route_id, m.sample_weight,
      ceil(ln(case when m.latency_ms < 0.001 then 0.001 else m.latency_ms end) / 0.020000666706669435)::integer as latency_bin,
      ceil(ln(case when m.time_to_first_byte_ms < 0.001 then 0.001 else m.time_to_first_byte_ms end) / 0.020000666706669435)::integer as first_byte_bin
    from observability.performance_metrics as m
    inner join observability_internal.route_dimensions as d
      on m.environment = d.environment and m.method = d.method and m.route = d.route
      and m.status_code = d.status_code and coalesce(m.error_type, '') = d.error_type
    where m.batch_id = any (batch_ids)
      and m.created_at between roll_up_performance.min_created_at and roll_up_performance.max_created_at
  ),
  levelled as (
    select 'minute' as level, r.minute as bucket, r.* from requests as r
    union all
    select 'hour', date_trunc('hour', r.minute), r.* from requests as r
  ),
  sums as (
    select l.level, l.bucket, l.route_id, sum(l.sample_weight) as requests
    from levelled as l
    group by l.level, l.bucket, l.route_id
  ),
  bins as (
    select l.level, l.bucket, l.route_id, measure.name, measure.bin, sum(l.sample_weight) as weight
    from levelled as l
    cross join lateral (values ('latency', l.latency_bin), ('first_byte', l.first_byte_bin)) as measure (name, bin)
    where measure.bin is not null
    group by l.level, l.bucket, l.route_id, measure.name, measure.bin
  ),
  histograms as (
    select
      b.level, b.bucket, b.route_id,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'latency') as latency,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'first_byte') as time_to_first_byte
    from bins as b
    cross join lateral (values (1, b.bin::real), (2, b.weight::real)) as pair (position, entry)
    group by b.level, b.bucket, b.route_id
  ),
  merged as materialized (
    select s.*, h.latency, h.time_to_first_byte from sums as s left join histograms as h using (level, bucket, route_id)
  ),
  into_minutes as (
    insert into observability_internal.performance_by_minute as r
    select m.bucket, m.route_id, m.requests, m.latency, m.time_to_first_byte from merged as m where m.level = 'minute'
    on conflict (bucket, route_id) do update set
      requests = r.requests + excluded.requests,
      latency = observability_internal.add_to_histogram(r.latency, excluded.latency),
      time_to_first_byte
        = observability_internal.add_to_histogram(r.time_to_first_byte, excluded.time_to_first_byte)
  ),
  into_hours as (
    insert into observability_internal.performance_by_hour as r
    select m.bucket, m.route_id, m.requests, m.latency, m.time_to_first_byte from merged as m where m.level = 'hour'
    on conflict (bucket, route_id) do update set
      requests = r.requests + excluded.requests,
      latency = observability_internal.add_to_histogram(r.latency, excluded.latency),
      time_to_first_byte
        = observability_internal.add_to_histogram(r.time_to_first_byte, excluded.time_to_first_byte)
  )
  select count(*) into v_rows from requests;
  return v_rows;
end;
$$;

comment on function observability_internal.roll_up_performance(bigint[], timestamptz, timestamptz) is 'Adds the performance rows of these batches to the rollups; returns how many.';

create function observability.roll_up(max_rows integer default 50000) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '120s'
set work_mem = '64MB'
set jit = off
as $$
declare
  v_usage bigint[];
  v_performance bigint[];
  v_usage_min timestamptz;
  v_usage_max timestamptz;
  v_performance_min timestamptz;
  v_performance_max timestamptz;
  v_usage_rows bigint := 0;
  v_performance_rows bigint := 0;
begin
  if max_rows is null or max_rows not between 1 and 1000000 then
    raise exception 'max_rows is from 1 to 1,000,000' using errcode = '22023';
  end if;
  -- The lock has a statement of its own: the next statement's snapshot then sees all that the last holder committed.
  if not pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    return jsonb_build_object(
      'is_busy', true, 'batches', 0, 'usage_rows', 0, 'performance_rows', 0,
      'pending_batches', (select count(*) from observability_internal.pending_batches)
    );
  end if;
  with counted as (
    select p.batch_id, sum(p.row_count) over (order by p.batch_id) - p.row_count as rows_before
    from observability_internal.pending_batches as p
  ),
  taken as (
    delete from observability_internal.pending_batches as p
    using counted as c
    where p.batch_id = c.batch_id and c.rows_before < max_rows
    returning p.batch_id, p.kind, p.min_created_at, p.max_created_at
  )
  select
    array_agg(t.batch_id) filter (where t.kind = 'usage'),
    min(t.min_created_at) filter (where t.kind = 'usage'),
    max(t.max_created_at) filter (where t.kind = 'usage'),
    array_agg(t.batch_id) filter (where t.kind = 'performance'),
    min(t.min_created_at) filter (where t.kind = 'performance'),
    max(t.max_created_at) filter (where t.kind = 'performance')
  into v_usage, v_usage_min, v_usage_max, v_performance, v_performance_min, v_performance_max
  from taken as t;
  if v_usage is not null then
    v_usage_rows := observability_internal.roll_up_usage(v_usage, v_usage_min, v_usage_max);
  end if;
  if v_performance is not null then
    v_performance_rows := observability_internal.roll_up_performance(v_performance, v_performance_min, v_performance_max);
  end if;
  return jsonb_build_object(
    'is_busy', false,
    'batches', coalesce(cardinality(v_usage), 0) + coalesce(cardinality(v_performance), 0),
    'usage_rows', v_usage_rows, 'performance_rows', v_performance_rows,
    'pending_batches', (select count(*) from observability_internal.pending_batches)
  );
end;
$$;

comment on function observability.roll_up(integer) is 'Adds waiting batches, about max_rows rows, to the rollups, each row once. Returns {is_busy, batches, usage_rows, performance_rows, pending_batches}.';

grant execute on function observability_internal.roll_up_usage(bigint[], timestamptz, timestamptz) to service_role;

grant execute on function observability_internal.roll_up_performance(bigint[], timestamptz, timestamptz) to service_role;

grant execute on function observability.roll_up(integer) to service_role;
